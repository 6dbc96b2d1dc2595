"""Score the default preset on labelled sections: its consensus over two seeds, parts of it, and untrained smoothing.

    make bench-accuracy LABELLED=folder              every section below the folder, in one configuration

Sections are those of ``bench_peers.py``: counts and places alone, no image. K is the number of labels, which are read
to score and for nothing else. The rows ``shares`` choose the bandwidths of spots on the other tissues (leave one tissue
out), by the mean adjusted Rand index there.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
from bench_peers import Section, read_section
from sklearn.metrics import adjusted_rand_score

from mmsrl import graph
from mmsrl._sections import in_pitches
from mmsrl.domains import average
from mmsrl.domains.neighbourhood import neighbourhood
from mmsrl.domains.readouts import read_out, reduce
from mmsrl.normalisation import standard_components
from mmsrl.train import members
from mmsrl.train.api import stack, train

SHARES = {
    "0.25, 0.35, 0.5": (0.35, 0.25, 0.5),
    "0.35, 0.5, 0.71": (0.5, 0.35, 0.71),
    "0.71, 1, 1.41": (1.0, 0.71, 1.41),
}
"""Bandwidths of spots that are compared, in units of the cross-validated one."""

TISSUES = {"151673": "cortex", "151674": "cortex", "A1": "breast", "H1": "breast"}
"""Of sections whose tissue others share; all others are of a tissue of their own."""

PARTS: dict[str, Callable[[dict[str, Any]], bool]] = {
    "log alone": lambda facts: facts["normalisation"] == "log",
    "residuals alone": lambda facts: facts["normalisation"] == "residuals",
    "bilateral alone": lambda facts: facts["graph"] == "bilateral",
    "Gaussian alone": lambda facts: facts["graph"] == "gaussian",
}


def score(section: Section, labels: Any) -> float:
    """Return the adjusted Rand index over labelled spots."""
    known = section.truth != ""
    return float(adjusted_rand_score(section.truth[known], np.asarray(labels)[known]))


def posteriors(section: Section, seed: int) -> tuple[list[Any], list[dict[str, Any]], bool]:
    """Return what every member makes of a section, its facts, and whether spots are cells."""
    trained = train(section.adata.copy(), seed=seed, show_progress=False)
    made = [
        read_out(reduce(member.embedding), section.n_domains, "gmm", seed + i)
        for i, member in enumerate(trained.members)
    ]
    return made, [member.facts for member in trained.members], trained.unit.cells


def consensus(made: Sequence[Any]) -> Any:
    """Return the labels of the average of members."""
    return average.consensus(made).argmax(axis=1)


def smoothing(section: Section, width: float) -> Any:
    """Return labels of 30 principal components, averaged over a Gaussian of so many pitches."""
    unit = stack([section.adata], 8000)
    scores, _ = standard_components(unit.expression, unit.section, 30, 0)
    smoothed = graph.smooth(graph.plain_graph(in_pitches(section.adata), width), scores, 1)
    return read_out(reduce(smoothed), section.n_domains, "gmm", 0).argmax(axis=1)


def voted(section: Section, labels: Any, spots: int = 19) -> Any:
    """Return the commonest label among so many nearest spots, the spot itself among them."""
    around = neighbourhood(in_pitches(section.adata), np.zeros(len(labels)), spots)
    return (around @ np.eye(labels.max() + 1)[labels]).argmax(axis=1)


def rows_of(section: Section) -> list[dict[str, Any]]:
    """Return method and score of everything that is compared on a section."""
    began = time.process_time()
    made, facts, cells = posteriors(section, 0)
    seconds = time.process_time() - began
    first = consensus(made)
    second = consensus(posteriors(section, 1000)[0])
    each = [score(section, posterior.argmax(axis=1)) for posterior in made]
    found = {
        "default": score(section, first),
        "default, then a vote of 19 spots": score(section, voted(section, first)),
        "default, other seed": score(section, second),
        "agreement of both": float(adjusted_rand_score(first, second)),
        "members, mean": float(np.mean(each)),
        "members, best": max(each),
        "untrained smoothing, one pitch": score(section, smoothing(section, 1.0)),
        "untrained smoothing, half a pitch": score(section, smoothing(section, 0.5)),
        "CPU seconds": seconds,
    }
    for name, kept in PARTS.items():
        found[name] = score(section, consensus([p for p, about in zip(made, facts, strict=True) if kept(about)]))
    if not cells:
        for name, shares in SHARES.items():
            with mock.patch.object(members, "SPOT_SHARES", shares):
                found[f"shares {name}"] = score(section, consensus(posteriors(section, 0)[0]))
    return [{"section": section.name, "method": name, "value": value} for name, value in found.items()]


def left_out(table: pd.DataFrame) -> dict[str, str]:
    """Return for each tissue of spots the shares that are best on the others."""
    shares = table[table["method"].str.startswith("shares ")].pivot(index="method", columns="section", values="value")
    tissue = {name: TISSUES.get(name, name) for name in shares}
    if len(set(tissue.values())) < 2:
        return {}
    return {
        kind: str(shares[[name for name in shares if tissue[name] != kind]].mean(axis=1).idxmax())
        for kind in sorted(set(tissue.values()))
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labelled", type=Path, nargs="+", help="folders with labelled sections in them, at any depth")
    parser.add_argument("--output-dir", type=Path, default=Path("results/bench_accuracy"))
    arguments = parser.parse_args()
    arguments.output_dir.mkdir(parents=True, exist_ok=True)
    folders = sorted({truth.parent for labelled in arguments.labelled for truth in labelled.rglob("truth.csv")})
    rows: list[dict[str, Any]] = []
    for folder in folders:
        rows += rows_of(read_section(folder))
        table = pd.DataFrame(rows)
        table.to_csv(arguments.output_dir / "accuracy.tsv", sep="\t", index=False, float_format="%.3f")
        print(table[table["section"] == folder.name].to_string(index=False, header=False), flush=True)
    wide = table.pivot(index="method", columns="section", values="value").reindex(table["method"].unique())
    print(wide.assign(mean=wide.mean(axis=1)).round(3).to_string())
    for tissue, chosen in left_out(table).items():
        print(f"leaving {tissue} out: {chosen}")


if __name__ == "__main__":
    main()
