"""Measure how well image descriptors predict expression, and what they cost.

``python benchmarks/bench_features.py samplesheet.csv`` takes a samplesheet of the pipeline. Every section whose image
shows texture is described by several descriptors. For each, the benchmark reports R² of the first components of
expression in held-out tissue. For sections with ``truth``, it also reports the balanced accuracy of the regions.

``--domains`` instead finds the domains of labelled sections with and without the image. ``--cost`` times 4,000 spots
and 33,856 bins of 2 um, and measures the memory of a 40,000 x 40,000 pyramid, all simulated. Results go to
``bench_features.json`` and ``bench_features.md`` in ``--output-dir``. Labels serve only for the scores.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

from mmsrl import _keys
from mmsrl._errors import InputError
from mmsrl.features.api import image_features
from mmsrl.features.tiles import PITCH_UM, SCALES, TEXTURE_PX, Ruler
from mmsrl.heldout import RIDGES, spatial_blocks
from mmsrl.ingest.api import read_h5ad, read_spaceranger
from mmsrl.qc.api import quality_control

FLOOR, NETWORK = "texture", "efficientnet_lite0"
DEFAULT = f"{NETWORK}+{FLOOR}"
OTHER_SCALES = ((1.0,), (2.0,), (3.0,), (0.5, 1.0, 2.0), (1.0, 2.0, 3.0))
LEAST_SPOTS = 10
"""Least labelled spots of a region that counts for the accuracy. Smaller regions lie in a few blocks of tissue."""

BOOTSTRAPS = 1000

KEYS = {"compared": ("sample", "variant", "pitches"), "domains": ("sample",), "costs": ("what",)}
"""Keys that identify a result in each part of the report. A new measurement replaces the previous one."""

COSTS = ("network", "default", "bins", "pyramid")
PYRAMID_PX = 40_000


def variants(sizes: bool) -> Iterator[tuple[str, str, tuple[float, ...], str]]:
    """Yield the compared variants: name, descriptors, tile sizes in pitches, stain normalisation."""
    for backbone in (FLOOR, NETWORK, DEFAULT):
        yield backbone, backbone, SCALES, "none"
    yield f"{DEFAULT}, Reinhard", DEFAULT, SCALES, "reinhard"
    for scales in OTHER_SCALES if sizes else ():
        yield DEFAULT, DEFAULT, scales, "none"


def read_section(row: dict[str, str], folder: Path) -> ad.AnnData:
    if row.get("h5ad"):
        adata = read_h5ad(folder / row["h5ad"], row["sample"]).adata
    else:
        bins = int(row["bin_size"]) if row.get("bin_size") else None
        adata = read_spaceranger(folder / row["spaceranger_dir"], row["sample"], bin_size=bins).adata
    return quality_control(adata).adata


def regions_of(row: dict[str, str], folder: Path, adata: ad.AnnData) -> pd.Series | None:
    """Return the label of every spot, empty for unlabelled spots and for regions that are too small."""
    if not row.get("truth"):
        return None
    table = pd.read_csv(folder / row["truth"], dtype=str).set_index("barcode")["label"].dropna()
    labels = table.reindex(adata.obs_names).fillna("")
    return labels.where(labels.map(labels.value_counts()) >= LEAST_SPOTS, "")


def balanced_accuracy(values: np.ndarray, labels: pd.Series, in_pitches: np.ndarray) -> tuple[float, float]:
    """Classify spots by ridge regression, with cross-validation over blocks of tissue.

    Returns
    -------
    Mean recall over regions, and its standard error by a bootstrap over blocks.
    """
    from sklearn.linear_model import RidgeClassifierCV
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.model_selection import GroupKFold, cross_val_predict

    known = (labels != "").to_numpy()
    blocks = spatial_blocks([in_pitches])[known]
    model = RidgeClassifierCV(RIDGES, class_weight="balanced")
    folds = GroupKFold(min(10, len(np.unique(blocks))))
    predicted = cross_val_predict(model, values[known], labels[known], groups=blocks, cv=folds)
    spots_of_block = [np.flatnonzero(blocks == block) for block in np.unique(blocks)]
    rng = np.random.default_rng(0)
    bootstrap: list[float] = []
    truth = labels[known].to_numpy()
    while len(bootstrap) < BOOTSTRAPS:
        drawn = np.concatenate([spots_of_block[b] for b in rng.integers(len(spots_of_block), size=len(spots_of_block))])
        if len(np.unique(truth[drawn])) == len(np.unique(truth)):
            bootstrap.append(balanced_accuracy_score(truth[drawn], predicted[drawn]))
    return float(balanced_accuracy_score(truth, predicted)), float(np.std(bootstrap))


def compare(row: dict[str, str], folder: Path, cache: Path, device: str, sizes: bool) -> Iterator[dict[str, Any]]:
    """Compute every variant of image features of a section, and score each."""
    adata = read_section(row, folder)
    about = adata.uns[_keys.UNS]
    labels = regions_of(row, folder, adata)
    image = folder / row["image"] if row.get("image") else None
    ruler = Ruler(about[_keys.PITCH_PX], about[_keys.PITCH_UM])
    in_pitches = np.asarray(adata.obsm[_keys.SPATIAL]) / ruler.pitch_px
    for name, backbone, scales, stain in variants(sizes):
        sides = ",".join(f"{scale * ruler.base:g}" for scale in scales)
        found = image_features(
            adata, image, backbone=backbone, tile_um=sides, stain_normalisation=stain, cache=cache, device=device
        )
        if found.facts["descriptor"] != backbone:  # the image is too coarse for texture
            print(f"{row['sample']}: {found.messages[0]['text']}", flush=True)
            return
        scores = np.asarray(found.features.obsm[_keys.IMAGE])
        yield {
            "sample": row["sample"],
            "variant": name,
            "pitches": list(scales),
            "spots": adata.n_obs,
            "um_per_px": found.facts["image"]["um_per_px"],
            "r2": found.facts["expression"]["r2"],
            "r2_by_component": np.asarray(found.facts["expression"]["r2_by_component"]).tolist(),
            "balanced_accuracy": None if labels is None else balanced_accuracy(scores, labels, in_pitches),
            "regions": None if labels is None else int(labels[labels != ""].nunique()),
        }


def domains_with_and_without(row: dict[str, str], folder: Path, device: str) -> dict[str, Any]:
    """Score the domains of a labelled section with and without its image."""
    from sklearn.metrics import adjusted_rand_score

    from mmsrl.tl import domains

    adata = read_section(row, folder)
    image = folder / row["image"] if row.get("image") else None
    found = image_features(adata, image, device=device)
    truth = pd.read_csv(folder / row["truth"], dtype=str).set_index("barcode")["label"].reindex(adata.obs_names)
    known = truth.notna().to_numpy()
    scores = {"sample": row["sample"], "descriptor": found.facts["descriptor"]}
    for variant in ("without", "with"):
        if variant == "with":
            adata.obsm[_keys.IMAGE] = np.asarray(found.features.obsm[_keys.IMAGE])
        domains(adata, int(row["n_domains"]), device=device, show_progress=False)
        scores[variant] = float(adjusted_rand_score(truth[known], adata.obs[_keys.DOMAIN][known]))
    return scores


def generated(n_side: int, pitch_px: float, pitch_um: float, side_px: int) -> ad.AnnData:
    """Simulate a square section with 5 UMI per spot in 18,000 genes, and a noise image of ``side_px`` pixels."""
    rng = np.random.default_rng(0)
    row, column = (index.ravel() for index in np.indices((n_side, n_side)))
    places = np.column_stack([column, row]) * pitch_px + (side_px - (n_side - 1) * pitch_px) / 2
    n = len(places)
    counts = sp.coo_matrix((np.ones(5 * n, np.float32), (np.repeat(np.arange(n), 5), rng.integers(0, 18_000, 5 * n))))
    coarse = rng.integers(90, 250, (side_px // 8 + 1, side_px // 8 + 1, 3), dtype=np.uint8)
    image = np.kron(coarse, np.ones((8, 8, 1), np.uint8))[:side_px, :side_px]
    return ad.AnnData(
        counts.tocsr(),
        obs=pd.DataFrame(index=[f"{number}" for number in range(n)]),
        obsm={_keys.SPATIAL: places},
        uns={
            _keys.UNS: {_keys.SAMPLE: "s", _keys.PITCH_PX: pitch_px, _keys.PITCH_UM: pitch_um},
            _keys.UNS_SPATIAL: {"s": {"images": {"hires": image}, "scalefactors": {"tissue_hires_scalef": 1.0}}},
        },
    )


def write_pyramid(path: Path, side: int, tile: int = 512) -> None:
    """Write a JPEG-compressed pyramid of a square image, tile by tile."""
    import tifffile

    rng = np.random.default_rng(0)
    coarse = rng.integers(90, 250, (8, tile // 8, tile // 8, 3), dtype=np.uint8)
    pool = [np.kron(one, np.ones((8, 8, 1), np.uint8)) for one in coarse]
    levels = int(np.log2(side / 2_000))
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        for level in range(levels + 1):
            size = side >> level
            count = (-(-size // tile)) ** 2
            tiff.write(
                (pool[number % len(pool)] for number in range(count)),
                shape=(size, size, 3),
                dtype=np.uint8,
                tile=(tile, tile),
                photometric="rgb",
                compression="jpeg",
                subifds=levels if level == 0 else None,
                subfiletype=1 if level else 0,
            )


def cost(what: str, device: str) -> dict[str, Any]:
    """Measure time and peak memory of one case in this process."""
    image = None
    folder = tempfile.TemporaryDirectory()
    options: dict[str, Any] = {"backbone": DEFAULT}
    if what == "network":  # 4,000 tiles of 224 px through the network alone
        adata, options = generated(63, 56.0, 25.0, 4_000), {"backbone": NETWORK, "tile_um": "100"}
    elif what == "default":
        adata = generated(63, 100.0, 100.0, 6_600)
    elif what == "bins":
        adata = generated(184, 7.3, 2.0, 1_500)
    else:
        adata = generated(20, 1_900.0, 475.0, 1_000)
        adata.obsm[_keys.SPATIAL] += (PYRAMID_PX - 1_000) / 2
        adata.uns[_keys.UNS_SPATIAL]["s"]["images"].clear()
        image = Path(folder.name) / "pyramid.tif"
        write_pyramid(image, PYRAMID_PX)
    wall, cpu = time.perf_counter(), time.process_time()
    result = image_features(adata, image, device=device, **options)
    cost_row = {
        "what": what,
        "spots": adata.n_obs,
        "tiles": sum(part["places"] for part in result.facts["tiles"] if part["descriptor"] == NETWORK),
        "px": result.facts["tiles"][0]["px"],
        "wall_s": time.perf_counter() - wall,
        "cpu_s": time.process_time() - cpu,
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }
    folder.cleanup()
    return cost_row


def tables(report: dict[str, Any]) -> str:
    lines = [f"- {key}: {value}" for key, value in report["machine"].items()]
    rows = report.get("compared", [])
    samples = list(dict.fromkeys(row["sample"] for row in rows))
    if rows:
        labelled = [s for s in samples if any(r["sample"] == s and r["regions"] for r in rows)]
        heads = ["descriptor", "tiles (pitches)", *(f"R² {s}" for s in samples)]
        heads += [f"balanced accuracy {s}" for s in labelled]
        lines += ["", f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
        for name, scales in dict.fromkeys((row["variant"], tuple(row["pitches"])) for row in rows):
            by_sample = {r["sample"]: r for r in rows if (r["variant"], tuple(r["pitches"])) == (name, scales)}
            cells = [name, ", ".join(f"{scale:g}" for scale in scales)]
            cells += [f"{by_sample[s]['r2']:.3f}" if s in by_sample else "" for s in samples]
            cells += [
                "{:.3f} ± {:.3f}".format(*by_sample[s]["balanced_accuracy"]) if s in by_sample else "" for s in labelled
            ]
            lines.append(f"| {' | '.join(cells)} |")
    if report.get("domains"):
        lines += ["", "| ARI | descriptor | without image | with image |", "|---|---|---|---|"]
        for row in report["domains"]:
            cells = [row["sample"], row["descriptor"], f"{row['without']:.3f}", f"{row['with']:.3f}"]
            lines.append(f"| {' | '.join(cells)} |")
    if report.get("costs"):
        lines += [
            "",
            "| | spots | tiles through the network | wall s | CPU s | peak GiB |",
            "|---|---|---|---|---|---|",
        ]
        for row in report["costs"]:
            lines.append(
                f"| {row['what']} | {row['spots']:,} | {row['tiles']:,} | {row['wall_s']:.0f} | {row['cpu_s']:.0f} | "
                f"{row['peak_gib']:.1f} |"
            )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("samplesheet", type=Path, nargs="?")
    parser.add_argument("--samples", nargs="+", help="samples of the samplesheet; default: all")
    parser.add_argument(
        "--cost", nargs="*", choices=COSTS, help=f"measure the cost of {', '.join(COSTS)}; without values: all"
    )
    parser.add_argument("--sizes", action="store_true", help="also compare other tile sizes")
    parser.add_argument(
        "--domains", action="store_true", help="score domains of labelled sections with and without image"
    )
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--output-dir", type=Path, default=Path("."))
    parser.add_argument("--measure", choices=COSTS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(cost(arguments.measure, arguments.device)))
        return
    arguments.output_dir.mkdir(parents=True, exist_ok=True)
    path = arguments.output_dir / "bench_features.json"
    report: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    report["machine"] = {
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, OMP_NUM_THREADS {os.environ.get('OMP_NUM_THREADS')}",
        "texture": f"up to {PITCH_UM / TEXTURE_PX:g} um per pixel",
    }
    rows = list(csv.DictReader(arguments.samplesheet.open())) if arguments.samplesheet else []
    rows = [row for row in rows if not arguments.samples or row["sample"] in arguments.samples]
    for part, results in measurements(rows, arguments):
        report.setdefault(part, [])
        key = KEYS[part]
        report[part] = [r for r in report[part] if any(r[name] != results[name] for name in key)] + [results]
        path.write_text(json.dumps(report, indent=2) + "\n")
        (arguments.output_dir / "bench_features.md").write_text(tables(report))
    print(tables(report))


def measurements(rows: list[dict[str, str]], arguments: argparse.Namespace) -> Iterator[tuple[str, dict[str, Any]]]:
    """Run the requested measurements, and yield each result with its part of the report."""
    for row in rows:
        folder = arguments.samplesheet.parent
        try:
            if not arguments.domains:
                for result in compare(row, folder, arguments.output_dir / "cache", arguments.device, arguments.sizes):
                    yield "compared", result
            elif row.get("truth") and row.get("n_domains"):
                yield "domains", domains_with_and_without(row, folder, arguments.device)
        except InputError as error:
            raise SystemExit(f"{row['sample']}: {error}") from error
    for what in COSTS if arguments.cost == [] else arguments.cost or ():
        command = [sys.executable, __file__, "--measure", what, "--device", arguments.device]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        yield "costs", json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
