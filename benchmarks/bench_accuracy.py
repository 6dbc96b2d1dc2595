"""Score every labelled section of a samplesheet with every method, over seeds, in one configuration for all data.

    make bench-accuracy                                   the two sections in assets/demo, all that takes seconds a seed
    make bench-accuracy ARGS='--input sheet.csv --slow-seeds 10 --device cuda'    and the published models
    make bench-accuracy ARGS='--seeds 10 --trials'        and what was tried on the way to the default

Sections of one group are scored each on its own, and jointly. What was computed is kept in the output folder and not
computed again: runs may be interrupted, done in pieces (``--only``), and go on from those of another machine or day
(``--start-from``; ``benchmarks/trained`` holds seeds of the published models that took hours). Labels are read here to
score, and by nothing that is scored, but for the column that says so.
"""

from __future__ import annotations

import argparse
import csv
import functools
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from accuracy_rows import N_TOP_GENES, Row, rows
from accuracy_table import write_report
from accuracy_trials import trials
from threadpoolctl import threadpool_limits

from mmsrl.domains import average
from mmsrl.domains.neighbourhood import CONFIDENCE_SPOTS, confidence, neighbourhood, refinement, vote
from mmsrl.domains.number import LABELINGS, choose_number
from mmsrl.domains.readouts import reduce
from mmsrl.evaluate.metrics import agreement, chaos, confusion, match, pas, spatial_silhouette
from mmsrl.evaluate.truth import read_truth
from mmsrl.train.api import stack
from mmsrl.train.files import read_sections
from mmsrl.train.unit import Unit

Array = npt.NDArray[Any]
MEMBERS = 12
"""Seeds of one consensus run of rows that take seconds; slow rows have half of their seeds in a run."""

ENSEMBLES = (1, 5, 12, 20)

CONFIDENT_OF = (1, 7, 19, CONFIDENCE_SPOTS, 61)
"""Spots of a neighbourhood that confidence could be the mean of."""


class Data:
    """A unit with its labels; ``unit`` has all its spots, and ``stacked`` them with as many genes as a row wants."""

    def __init__(self, name: str, unit: Unit, labels: dict[str, pd.Series[str]], n_domains: int) -> None:
        self.name, self.unit, self.n_domains = name, unit, n_domains
        self.stacked: Callable[[int], Unit] = lambda n_top_genes: unit
        self.section = np.array(unit.samples)[unit.section]
        self.places = np.concatenate(unit.coordinates)
        self.around = neighbourhood(self.places, self.section)
        self.far_around = {spots: neighbourhood(self.places, self.section, spots) for spots in CONFIDENT_OF}
        barcodes = np.array(unit.barcodes)
        self.truth = np.full(len(barcodes), "", dtype=object)
        for sample, known in labels.items():
            here = self.section == sample
            self.truth[here] = pd.Series(barcodes[here]).map(known).fillna("").to_numpy()

    def codes(self, known: Array) -> Array:
        """Return the labels of some spots as numbers."""
        return np.unique(self.truth[known].astype(str), return_inverse=True)[1]

    def score(self, labels: Array) -> dict[str, dict[str, float]]:
        """Return all scores by section; spots without a label count only for those that need none."""
        result = {}
        for sample in self.unit.samples:
            here = self.section == sample
            known = here & (self.truth != "")
            places, groups = self.places[here], labels[here]
            result[sample] = agreement(self.codes(known), labels[known]) | {
                "PAS": pas(groups, places),
                "CHAOS": chaos(groups, places),
                "ASW": spatial_silhouette(groups, places),
            }
        return result

    def ari(self, labels: Array) -> float:
        """Return the adjusted Rand index, mean of the sections."""
        found = []
        for sample in self.unit.samples:
            known = (self.section == sample) & (self.truth != "")
            found.append(agreement(self.codes(known), labels[known])["ARI"])
        return float(np.mean(found))

    def errors(self, labels: Array) -> Array:
        """Return which labelled spots are in a domain that is not matched to their label."""
        known = self.truth != ""
        codes = self.codes(known)
        groups, k = labels[known], int(labels.max()) + 1
        pairs = dict(match(confusion(codes, groups, int(codes.max()) + 1, k)))
        return np.array([pairs.get(int(group), -1) for group in groups]) != codes


def prepare(row: dict[str, str], sheet: Path, folder: Path) -> tuple[Path, Path]:
    """Bring a section into the form that training reads, by the pipeline's own commands."""
    sample, out = row["sample"], folder / "sections"
    out.mkdir(parents=True, exist_ok=True)
    counts, features = out / f"{sample}.qc.h5ad", out / f"{sample}.features.h5ad"
    if not features.exists():
        kind = "spaceranger_dir" if row.get("spaceranger_dir") else "h5ad"
        image = ["--image", sheet.parent / row["image"]] if row.get("image") else []
        common = ["--id", sample, "--output-dir", out]
        for command in (
            ["mmsrl-ingest", f"--{kind.replace('_', '-')}", sheet.parent / row[kind], *common],
            ["mmsrl-qc", "--counts", out / f"{sample}.ingest.h5ad", *common],
            ["mmsrl-features", "--counts", counts, *image, *common],
        ):
            subprocess.run([Path(sys.executable).with_name(str(command[0])), *command[1:]], check=True)
    return counts, features


def labels_of(rows: list[dict[str, str]], sheet: Path) -> dict[str, pd.Series[str]]:
    """Return the labels of each row's sample."""
    return {row["sample"]: read_truth(sheet.parent / row["truth"], sample=row["sample"]) for row in rows}


def read_units(sheet: Path, folder: Path) -> list[Data]:
    """Return every labelled section on its own, and the groups of the samplesheet."""
    with sheet.open(newline="", encoding="utf-8-sig") as lines:
        listed = [row for row in csv.DictReader(lines) if row.get("truth")]
    units = {row["sample"]: [row] for row in listed}
    for row in listed:
        if row.get("group"):
            units.setdefault(row["group"], []).append(row)
    result = []
    for name, members in units.items():
        files = [prepare(row, sheet, folder) for row in members]
        stacked = functools.cache(functools.partial(stack, read_sections([f[0] for f in files], [f[1] for f in files])))
        data = Data(name, stacked(N_TOP_GENES), labels_of(members, sheet), int(members[0]["n_domains"]))
        data.stacked = stacked
        result.append(data)
    return result


def compute(data: Data, row: Row, seed: int, folder: Path) -> None:
    """Embed, read out and score one seed of a row, unless that was done."""
    place = folder / "rows" / data.name / row.folder
    done = place / f"{seed}.json"
    if done.exists():
        return
    place.mkdir(parents=True, exist_ok=True)
    fixed = place / "embedding.npy"
    began = time.perf_counter()
    snapshots: dict[int, Array] = {}
    if not row.random and fixed.exists():
        embedding = np.load(fixed)
    elif row.slow:
        embedding = row.embed(data.stacked(row.n_top_genes), seed, snapshots)
    else:
        embedding = row.embed(data.stacked(row.n_top_genes), seed)
    if not row.random:
        np.save(fixed, embedding)
    with threadpool_limits(1):
        posterior = row.read(embedding, data.n_domains, seed)
        oracle = {epoch: data.ari(row.read(z, data.n_domains, seed).argmax(axis=1)) for epoch, z in snapshots.items()}
    kept = {"posterior": posterior.astype(np.float16)} | ({"points": reduce(embedding)} if row.number else {})
    np.savez_compressed(place / f"{seed}.npz", **kept)
    result = {"scores": data.score(posterior.argmax(axis=1)), "seconds": time.perf_counter() - began, "oracle": oracle}
    done.write_text(json.dumps(result) + "\n")
    print(f"{data.name}: {row.name}, seed {seed}: {result['seconds']:.0f} s", flush=True)


def gather(data: Data, row: Row, folder: Path) -> dict[str, Any] | None:
    """Return what the seeds of a row came to, single and in consensus."""
    place = folder / "rows" / data.name / row.folder
    files = sorted(place.glob("*.json"), key=lambda path: int(path.stem))
    if not files:
        return None
    single = [json.loads(path.read_text()) for path in files]
    posteriors = [np.load(path.with_suffix(".npz"))["posterior"].astype(np.float32) for path in files]
    size = MEMBERS if len(files) >= 2 * MEMBERS else len(files) // 2
    result: dict[str, Any] = {
        "unit": data.name,
        "row": row.name,
        "kind": row.kind,
        "seeds": len(files),
        "members": size,
        "single": [one["scores"] for one in single],
        "seconds": float(np.median([one["seconds"] for one in single])),
        "oracle": [max(one["oracle"].values()) for one in single if one["oracle"]],
        # Of the same seeds, without that look: not all kept seeds were looked at along their way.
        "last_epoch": [one["scores"] for one in single if one["oracle"]],
    }
    if size >= 2:
        result |= consensus_runs(data, [posteriors[:size], posteriors[size : 2 * size]])
    if row.name == "default":
        result["ensembles"] = {
            m: [
                data.ari(average.consensus(posteriors[i : i + m]).argmax(axis=1))
                for i in range(0, len(posteriors) - m + 1, m)
            ]
            for m in ENSEMBLES
            if m <= len(posteriors)
        }
    return result


def consensus_runs(data: Data, runs: list[list[Array]]) -> dict[str, Any]:
    """Return the scores of independent consensus runs, how they agree, and what confidence and refinement are worth."""
    means = [average.consensus(run) for run in runs]
    labels = [mean.argmax(axis=1) for mean in means]
    known = data.truth != ""
    share, missed = [], []
    for mean, found in zip(means, labels, strict=True):
        wrong = data.errors(found)
        halves = {}
        for spots, around in data.far_around.items():
            sure = confidence(mean, found, around)[known]
            halves[spots] = np.argsort(-sure, kind="stable")[: len(sure) // 2]
        half, rate = halves[CONFIDENCE_SPOTS], wrong.mean()
        # Of a draw of independent spots: errors come in patches, so that it is a lower bound.
        error = float(wrong[half].std() / np.sqrt(len(half)) / rate)
        by_spots = {spots: float(wrong[chosen].mean() / rate) for spots, chosen in halves.items()}
        share.append({"share": by_spots[CONFIDENCE_SPOTS], "standard_error": error, "by_spots": by_spots})
        missed.append(pd.Series(data.truth[known][half][wrong[half]]).value_counts().to_dict())
    decided = [refinement(run, data.around) for run in runs]
    return {
        "consensus": [data.score(found) for found in labels],
        "agreement": agreement(labels[0], labels[1])["ARI"],
        "error_of_confident_half": share,
        "labels_of_its_errors": missed,
        "refined": [data.score(vote(found, data.around)) for found in labels],
        "refinement": [found._asdict() for found in decided],
    }


def number_of_domains(data: Data, row: Row, folder: Path) -> dict[str, Any]:
    """Return the number of domains chosen from the first members of a row, beside that of the labels."""
    place = folder / "rows" / data.name / row.folder
    kept = place / "number_of_domains.txt"
    if not kept.exists():
        members = [np.load(place / f"{seed}.npz")["points"] for seed in range(LABELINGS)]
        with threadpool_limits(1):
            kept.write_text(json.dumps(choose_number(members, 0)._asdict()))
    chosen = json.loads(kept.read_text())
    return {"unit": data.name, "row": row.name, "annotated": len(set(data.truth) - {""}), **chosen}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", type=Path, nargs="+", default=[Path("assets/demo/samplesheet_pair.csv")])
    parser.add_argument("--output-dir", type=Path, default=Path("results/bench_accuracy"))
    parser.add_argument("--seeds", type=int, default=2 * MEMBERS, help="of rows that take seconds a seed")
    parser.add_argument("--slow-seeds", type=int, default=0, help="of rows that train for minutes to hours a seed")
    parser.add_argument("--published-genes", type=int, help="for the published models, in place of their 3000")
    parser.add_argument("--trials", action="store_true", help="what was tried on the way to the default, as well")
    parser.add_argument(
        "--start-from", type=Path, nargs="+", default=[], help="rows/ of other runs: not computed again"
    )
    parser.add_argument("--only", nargs="+", help="rows to compute; all that was computed is in the table")
    parser.add_argument("--units", nargs="+", help="units to compute")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--peer", type=Path, help="python of the environment that has pybanksy")
    return parser.parse_args()


def main() -> None:
    arguments = parse()
    folder = arguments.output_dir
    for rows_before in arguments.start_from:
        shutil.copytree(rows_before, folder / "rows", dirs_exist_ok=True)
    units = [data for sheet in arguments.input for data in read_units(sheet.resolve(), folder)]
    listed = rows(arguments.device, arguments.peer, arguments.published_genes) + (trials() if arguments.trials else [])
    unknown = set(arguments.only or []) - {row.name for row in listed}
    if unknown:
        sys.exit(f"no row {', '.join(sorted(unknown))}; there are: {', '.join(row.name for row in listed)}")
    for row in listed:
        for data in units:
            wanted = (not arguments.only or row.name in arguments.only) and data.name in (
                arguments.units or [data.name]
            )
            if wanted and not (row.kind == "peer" and len(data.unit.samples) > 1):
                for seed in range(arguments.slow_seeds if row.slow else arguments.seeds):
                    compute(data, row, seed, folder)
    results = [found for row in listed for data in units if (found := gather(data, row, folder))]
    numbers = [
        number_of_domains(data, row, folder)
        for row in listed
        for data in units
        if row.number and (folder / "rows" / data.name / row.folder / f"{LABELINGS - 1}.npz").exists()
    ]
    write_report(folder, results, numbers)


if __name__ == "__main__":
    main()
