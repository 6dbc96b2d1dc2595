"""Score the default preset, its parts and untrained smoothing on labelled sections.

    make bench-accuracy LABELLED=folder              every section below the folder, in one configuration

Sections are read as in ``bench_peers.py``: counts and coordinates only, no image. K is the number of labels. Labels
serve only for the scores. The default is scored with two random seeds. The rows ``shares`` choose the bandwidths of
spots by leave-one-tissue-out cross-validation: the best mean adjusted Rand index on all other tissues.
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
"""Compared bandwidths of spots, as multiples of the cross-validated bandwidth."""

TISSUES = {"151673": "cortex", "151674": "cortex", "A1": "breast", "H1": "breast"}
"""Tissue of sections that share one. Every other section is a tissue by itself."""

PARTS: dict[str, Callable[[dict[str, Any]], bool]] = {
    "log only": lambda facts: facts["normalisation"] == "log",
    "residuals only": lambda facts: facts["normalisation"] == "residuals",
    "bilateral only": lambda facts: facts["graph"] == "bilateral",
    "Gaussian only": lambda facts: facts["graph"] == "gaussian",
}


def score(section: Section, labels: Any) -> float:
    """Return the adjusted Rand index over labelled spots."""
    known = section.truth != ""
    return float(adjusted_rand_score(section.truth[known], np.asarray(labels)[known]))


def posteriors(section: Section, seed: int) -> tuple[list[Any], list[dict[str, Any]], bool]:
    """Train the default and return the posteriors of every member, their facts, and whether spots are cells."""
    trained = train(section.adata.copy(), seed=seed, show_progress=False)
    member_posteriors = [
        read_out(reduce(member.embedding), section.n_domains, "gmm", seed + i)
        for i, member in enumerate(trained.members)
    ]
    return member_posteriors, [member.facts for member in trained.members], trained.unit.cells


def consensus(member_posteriors: Sequence[Any]) -> Any:
    """Return the consensus labels of members, from their posteriors."""
    return average.consensus(member_posteriors).argmax(axis=1)


def smoothing(section: Section, width: float) -> Any:
    """Return labels of 30 principal components, smoothed by a Gaussian with a bandwidth of ``width`` pitches."""
    unit = stack([section.adata], 8000)
    scores, _ = standard_components(unit.expression, unit.section, 30, 0)
    smoothed = graph.smooth(graph.plain_graph(in_pitches(section.adata), width), scores, 1)
    return read_out(reduce(smoothed), section.n_domains, "gmm", 0).argmax(axis=1)


def voted(section: Section, labels: Any, spots: int = 19) -> Any:
    """Return the most common label among the ``spots`` nearest spots, including the spot itself."""
    around = neighbourhood(in_pitches(section.adata), np.zeros(len(labels)), spots)
    return (around @ np.eye(labels.max() + 1)[labels]).argmax(axis=1)


def rows_of(section: Section) -> list[dict[str, Any]]:
    """Return section, method and score of all compared methods."""
    began = time.process_time()
    member_posteriors, facts, cells = posteriors(section, 0)
    seconds = time.process_time() - began
    first = consensus(member_posteriors)
    second = consensus(posteriors(section, 1000)[0])
    member_scores = [score(section, posterior.argmax(axis=1)) for posterior in member_posteriors]
    scores = {
        "default": score(section, first),
        "default, vote of 19 spots": score(section, voted(section, first)),
        "default, other seed": score(section, second),
        "agreement of both seeds": float(adjusted_rand_score(first, second)),
        "members, mean": float(np.mean(member_scores)),
        "members, best": max(member_scores),
        "untrained smoothing, 1 pitch": score(section, smoothing(section, 1.0)),
        "untrained smoothing, ½ pitch": score(section, smoothing(section, 0.5)),
        "CPU seconds": seconds,
    }
    for name, is_in_part in PARTS.items():
        part = [p for p, fact in zip(member_posteriors, facts, strict=True) if is_in_part(fact)]
        scores[name] = score(section, consensus(part))
    if not cells:
        for name, shares in SHARES.items():
            with mock.patch.object(members, "SPOT_SHARES", shares):
                scores[f"shares {name}"] = score(section, consensus(posteriors(section, 0)[0]))
    return [{"section": section.name, "method": name, "value": value} for name, value in scores.items()]


def left_out(table: pd.DataFrame) -> dict[str, str]:
    """Return, for each tissue, the shares with the best mean score on the other tissues."""
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
    parser.add_argument("labelled", type=Path, nargs="+", help="folders that contain labelled sections, at any depth")
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
        print(f"best without {tissue}: {chosen}")


if __name__ == "__main__":
    main()
