"""Score what other methods make of labelled sections, each in its own environment, by its read-out and by ours.

    make bench-peers LABELLED=folder                            every section below the folder, every peer
    make bench-peers LABELLED=folder ARGS='--only GraphST --minutes 60'

A section is a folder with ``truth.csv`` (``barcode,label``; no label: not scored) and an .h5ad of raw counts with
``obsm["spatial"]``, or Space Ranger's output. K is the number of its labels, which the peers are told; the labels
themselves are read here, to score. Peers see counts and places alone, no image. Cells that are held twice (same place
and counts) are taken once. One seed. What was computed is kept in the output folder and not computed again.
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
"""Script with what it is told besides, environment and distribution."""

COLUMNS = ("peer", "version", "section", "read-out", "ARI", "seconds")
SEED = 0


class Section(NamedTuple):
    """A labelled section: what the peers are given, and the labels, empty where there is none."""

    name: str
    adata: anndata.AnnData
    truth: npt.NDArray[Any]

    @property
    def n_domains(self) -> int:
        """Return the number of labels."""
        return len(set(self.truth) - {""})


def once(adata: anndata.AnnData) -> anndata.AnnData:
    """Return the cells without those that were there before, at the same place with the same counts."""
    table = pd.DataFrame(np.hstack([adata.obsm["spatial"], adata.X.toarray()]))
    return adata[~table.duplicated().to_numpy()].copy()


def read_section(folder: Path) -> Section:
    """Read the counts, places and labels of a folder."""
    files = sorted(folder.glob("*.h5ad"))
    found = anndata.read_h5ad(files[0]) if files else read_spaceranger(folder, folder.name).adata
    adata = once(
        anndata.AnnData(found.X, obs=found.obs[[]], var=found.var[[]], obsm={"spatial": found.obsm["spatial"]})
    )
    known = read_truth(folder / "truth.csv", sample=folder.name)
    return Section(folder.name, adata, pd.Series(adata.obs_names).map(known).fillna("").to_numpy())


def file_name(peer: str) -> str:
    """Return the name of a peer as that of a file."""
    return peer.replace(", ", "-")


def run(peer: str, section: Section, python: Path, folder: Path, minutes: float) -> str:
    """Run a peer on a section unless that was done; returns what went wrong."""
    command, _, distribution = PEERS[peer]
    script, *told = command.split()
    place = folder / section.name
    made, log, done = (place / f"{file_name(peer)}.{end}" for end in ("npz", "log", "json"))
    if done.exists():
        return ""
    place.mkdir(parents=True, exist_ok=True)
    given = place / f"{file_name(peer)}.given.h5ad"
    section.adata.write_h5ad(given)
    lattice = geometry.measure(section.adata.obsm["spatial"], None, None).lattice
    began = time.perf_counter()
    try:
        with log.open("w") as lines:
            subprocess.run(
                [python, Path(__file__).with_name(script), given, made, str(section.n_domains), lattice, *told],
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
    if not made.exists():
        return f"made nothing, see {log}"
    ask = f"import importlib.metadata as m; print(m.version({distribution!r}))"
    version = subprocess.run([python, "-c", ask], check=True, capture_output=True, text=True).stdout.strip()
    done.write_text(json.dumps({"version": version, "seconds": seconds, "ari": score(section, made)}) + "\n")
    return ""


def score(section: Section, made: Path) -> dict[str, float]:
    """Return the adjusted Rand index over the labelled spots, by read-out."""
    read = np.load(made)
    found = {f"authors: {name}": read[name] for name in read.files if name != "embedding"}
    with threadpool_limits(1):
        points = reduce(read["embedding"])
        found["ours"] = read_out(points, section.n_domains, "gmm", SEED).argmax(axis=1)
    known = section.truth != ""
    return {name: float(adjusted_rand_score(section.truth[known], labels[known])) for name, labels in found.items()}


def write_table(folder: Path, sections: list[Section], path: Path) -> None:
    """Write all that was computed, one line a peer, section and read-out."""
    with path.open("w", newline="") as lines:
        table = csv.writer(lines, delimiter="\t", lineterminator="\n")
        table.writerow(COLUMNS)
        for peer in PEERS:
            for section in sections:
                done = folder / section.name / f"{file_name(peer)}.json"
                if done.exists():
                    kept = json.loads(done.read_text())
                    for name, ari in kept["ari"].items():
                        row = [peer, kept["version"], section.name, name, f"{ari:.3f}", f"{kept['seconds']:.0f}"]
                        table.writerow(row)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labelled", type=Path, nargs="+", help="folders with labelled sections in them, at any depth")
    parser.add_argument("--peers", type=Path, required=True, help="folder of the environments")
    parser.add_argument("--output-dir", type=Path, default=Path("results/bench_accuracy/peers/made"))
    parser.add_argument("--table", type=Path, help="default: peers.tsv in the output folder")
    parser.add_argument("--only", nargs="+", choices=PEERS, default=list(PEERS), metavar="PEER")
    parser.add_argument("--sections", nargs="+", help="names; default: all, the smallest first")
    parser.add_argument("--minutes", type=float, default=60, help="that a peer may take for a section")
    return parser.parse_args()


def main() -> None:
    arguments = parse()
    folder, table = arguments.output_dir, arguments.table or arguments.output_dir / "peers.tsv"
    folder.mkdir(parents=True, exist_ok=True)
    truths = sorted({truth.parent for labelled in arguments.labelled for truth in labelled.rglob("truth.csv")})
    if not truths:
        sys.exit("no folder with a truth.csv in it")
    sections = sorted((read_section(place) for place in truths), key=lambda section: section.adata.n_obs)
    for section in sections:
        for peer in arguments.only:
            if section.name in (arguments.sections or [section.name]):
                python = arguments.peers / PEERS[peer][1] / "bin" / "python"
                problem = run(peer, section, python.absolute(), folder, arguments.minutes)
                print(f"{section.name}: {peer}: {problem or 'done'}", flush=True)
                write_table(folder, sections, table)


if __name__ == "__main__":
    main()
