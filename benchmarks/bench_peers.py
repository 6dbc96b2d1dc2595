"""Score other methods on labelled sections, each in its own environment, with its read-out and with ours.

    make bench-peers LABELLED=folder                            every section below the folder, every peer
    make bench-peers LABELLED=folder ARGS='--only GraphST --minutes 60'

A section is a folder with ``truth.csv`` (``barcode,label``; unlabelled spots are not scored) and either an .h5ad of raw
counts with ``obsm["spatial"]`` or the output of Space Ranger. The peers are given counts, coordinates and K, the number
of labels, but no image and no labels. Duplicate cells (same coordinates and counts) are removed. There is one random
seed. Results are kept in the output folder and not computed again.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import anndata
import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.metrics import adjusted_rand_score
from threadpoolctl import threadpool_limits

from mmsrl import geometry
from mmsrl.domains.readouts import read_out, reduce
from mmsrl.evaluate.truth import read_truth
from mmsrl.ingest.api import read_spaceranger

PEERS = {
    "BANKSY": ("peer_banksy.py", "banksy", "pybanksy"),
    "BANKSY, logged": ("peer_banksy.py logged", "banksy", "pybanksy"),
    "GraphST": ("peer_graphst.py", "torch", "graphst-modern"),
    "STAGATE": ("peer_stagate.py", "torch", "stagate-modern"),
    "CellCharter": ("peer_cellcharter.py", "torch", "cellcharter"),
    "SpaGCN": ("peer_spagcn.py", "torch", "spagcn-modern"),
}
"""Script with its arguments, environment and distribution."""

COLUMNS = ("peer", "version", "section", "read-out", "ARI", "seconds")
SEED = 0


class Section(NamedTuple):
    """Labelled section: input of the peers, and the labels, empty for unlabelled spots."""

    name: str
    adata: anndata.AnnData
    truth: npt.NDArray[Any]

    @property
    def n_domains(self) -> int:
        """Return the number of labels."""
        return len(set(self.truth) - {""})


def once(adata: anndata.AnnData) -> anndata.AnnData:
    """Remove duplicate cells, with the same coordinates and counts."""
    table = pd.DataFrame(np.hstack([adata.obsm["spatial"], adata.X.toarray()]))
    return adata[~table.duplicated().to_numpy()].copy()


def read_section(folder: Path) -> Section:
    """Read counts, coordinates and labels of a folder."""
    files = sorted(folder.glob("*.h5ad"))
    section = anndata.read_h5ad(files[0]) if files else read_spaceranger(folder, folder.name).adata
    adata = once(
        anndata.AnnData(section.X, obs=section.obs[[]], var=section.var[[]], obsm={"spatial": section.obsm["spatial"]})
    )
    known = read_truth(folder / "truth.csv", sample=folder.name)
    return Section(folder.name, adata, pd.Series(adata.obs_names).map(known).fillna("").to_numpy())


def file_name(peer: str) -> str:
    """Return the name of a peer as a file name."""
    return peer.replace(", ", "-")


def run(peer: str, section: Section, python: Path, folder: Path, minutes: float) -> str:
    """Run a peer on a section unless it is done, and return the reason of a failure, or ""."""
    command, _, distribution = PEERS[peer]
    script, *options = command.split()
    section_folder = folder / section.name
    output, log, done = (section_folder / f"{file_name(peer)}.{end}" for end in ("npz", "log", "json"))
    if done.exists():
        return ""
    section_folder.mkdir(parents=True, exist_ok=True)
    given = section_folder / f"{file_name(peer)}.given.h5ad"
    section.adata.write_h5ad(given)
    lattice = geometry.measure(section.adata.obsm["spatial"], None, None).lattice
    began = time.perf_counter()
    try:
        with log.open("w") as lines:
            subprocess.run(
                [python, Path(__file__).with_name(script), given, output, str(section.n_domains), lattice, *options],
                check=True,
                timeout=60 * minutes,
                stdout=lines,
                stderr=subprocess.STDOUT,
            )
    except subprocess.TimeoutExpired:
        return f"not done in {minutes:g} minutes"
    except subprocess.CalledProcessError:
        return f"failed, see {log}"
    finally:
        given.unlink()
    seconds = time.perf_counter() - began
    if not output.exists():
        return f"no output, see {log}"
    ask = f"import importlib.metadata as m; print(m.version({distribution!r}))"
    version = subprocess.run([python, "-c", ask], check=True, capture_output=True, text=True).stdout.strip()
    done.write_text(json.dumps({"version": version, "seconds": seconds, "ari": score(section, output)}) + "\n")
    return ""


def score(section: Section, output: Path) -> dict[str, float]:
    """Return the adjusted Rand index over the labelled spots, by read-out."""
    arrays = np.load(output)
    labels_by_readout = {f"authors: {name}": arrays[name] for name in arrays.files if name != "embedding"}
    with threadpool_limits(1):
        points = reduce(arrays["embedding"])
        labels_by_readout["ours"] = read_out(points, section.n_domains, "gmm", SEED).argmax(axis=1)
    known = section.truth != ""
    return {
        name: float(adjusted_rand_score(section.truth[known], labels[known]))
        for name, labels in labels_by_readout.items()
    }


def write_table(folder: Path, sections: list[Section], path: Path) -> None:
    """Write all results, one row per peer, section and read-out."""
    with path.open("w", newline="") as lines:
        table = csv.writer(lines, delimiter="\t", lineterminator="\n")
        table.writerow(COLUMNS)
        for peer in PEERS:
            for section in sections:
                done = folder / section.name / f"{file_name(peer)}.json"
                if done.exists():
                    result = json.loads(done.read_text())
                    for name, ari in result["ari"].items():
                        row = [peer, result["version"], section.name, name, f"{ari:.3f}", f"{result['seconds']:.0f}"]
                        table.writerow(row)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labelled", type=Path, nargs="+", help="folders that contain labelled sections, at any depth")
    parser.add_argument("--peers", type=Path, required=True, help="folder with the environments")
    parser.add_argument("--output-dir", type=Path, default=Path("results/bench_accuracy/peers/made"))
    parser.add_argument("--table", type=Path, help="file of the table; default: peers.tsv in the output folder")
    parser.add_argument("--only", nargs="+", choices=PEERS, default=list(PEERS), metavar="PEER")
    parser.add_argument("--sections", nargs="+", help="names of sections; default: all, the smallest first")
    parser.add_argument("--minutes", type=float, default=60, help="time limit of a peer per section")
    return parser.parse_args()


def main() -> None:
    arguments = parse()
    folder, table = arguments.output_dir, arguments.table or arguments.output_dir / "peers.tsv"
    folder.mkdir(parents=True, exist_ok=True)
    truths = sorted({truth.parent for labelled in arguments.labelled for truth in labelled.rglob("truth.csv")})
    if not truths:
        sys.exit("no folder contains a truth.csv")
    sections = sorted(
        (read_section(section_folder) for section_folder in truths), key=lambda section: section.adata.n_obs
    )
    for section in sections:
        for peer in arguments.only:
            if section.name in (arguments.sections or [section.name]):
                python = arguments.peers / PEERS[peer][1] / "bin" / "python"
                problem = run(peer, section, python.absolute(), folder, arguments.minutes)
                print(f"{section.name}: {peer}: {problem or 'done'}", flush=True)
                write_table(folder, sections, table)


if __name__ == "__main__":
    main()
