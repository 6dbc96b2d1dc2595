"""Compare conditions where there is nothing to find, and where something was planted.

Tables: (1) genes of pseudobulk counts without a difference, by our test and by PyDESeq2's Wald test in the same run:
the share of p-values below .05 and .001, as multiples of these (1 is right), and seconds; (2) whole studies without a
difference, arms drawn anew over the sections; (3) power on a planted share and planted genes; (4) domains of sections
analysed apart, matched. ``--quick`` takes few draws.
"""

from __future__ import annotations

import argparse
import time
import warnings
from typing import Any, NamedTuple

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

from mmsrl._design import Assignment, Comparison, compare, replicates_of
from mmsrl.compare.api import compare as compare_conditions
from mmsrl.compare.api import match
from mmsrl.compare.gene_tests import gene_differences

SIDE = 30
GENES = 600
PLANTED = 50
"""Genes that differ in domain 2 where they are planted."""


class Kind(NamedTuple):
    """A study of sections with wavy bands as domains, and what differs between its conditions."""

    sections: int = 8
    share_deviation: float = 0.15
    """Of the log of a domain's width, over sections."""
    gene_deviation: float = 0.2
    """Of the log of a gene's level, over sections and over sections and domains."""
    depth_deviation: float = 0.3
    """Of the log of a section's depth."""
    depth_fold: float = 1.0
    """By which treated sections are deeper."""
    donors: bool = False
    """Whether each donor has a section of either condition; donors then differ as sections do."""
    share_fold: float = 1.0
    """By which domain 1 is wider in treated sections, before widths are scaled to the section."""
    gene_fold: float = 1.0
    """By which the first :data:`PLANTED` genes are up in domain 2 of treated sections."""
    domains: int = 5


def study(kind: Kind, seed: int) -> list[ad.AnnData]:
    """Draw the sections of a study; half of them, drawn at random, are treated (of donors, one section each)."""
    random = np.random.default_rng(seed)
    k, n = kind.domains, kind.sections
    rate = 10.0 ** random.uniform(-2.0, 0.5, GENES)
    profile = np.exp(random.normal(0.0, 0.6, (k, GENES)))
    treated = random.permutation(n) < n // 2
    donor = np.arange(n)
    if kind.donors:
        donor = np.argsort(np.argsort(treated, kind="stable")) % (n // 2)
    of_donor = random.normal(0.0, kind.gene_deviation, (n, GENES))
    width_of_donor = random.normal(0.0, kind.share_deviation, (n, k))
    row, column = (index.ravel() for index in np.indices((SIDE, SIDE)))
    sections = []
    for s in range(n):
        width = np.linspace(1.0, 2.0, k) * np.exp(width_of_donor[donor[s]])
        level = profile * np.exp(0.7 * of_donor[donor[s]] + random.normal(0.0, 0.7 * kind.gene_deviation, (k, GENES)))
        depth = np.exp(random.normal(0.0, kind.depth_deviation) + random.normal(0.0, 0.4, len(row)))
        if kind.donors:
            width = width * np.exp(random.normal(0.0, 0.5 * kind.share_deviation, k))
        if treated[s]:
            width[0] *= kind.share_fold
            level[1, :PLANTED] *= kind.gene_fold
            depth *= kind.depth_fold
        height = (row + 3.0 * np.sin(6.0 * column / SIDE + random.uniform(0.0, 6.0))).argsort().argsort() / len(row)
        domain = np.minimum(np.searchsorted(np.cumsum(width / width.sum()), height, side="right"), k - 1)
        counts = random.poisson((rate * level)[domain] * depth[:, None]).astype(np.float32)
        obs = pd.DataFrame(index=[f"{s}-{i}" for i in range(len(row))])
        obs["domain"] = pd.Categorical((domain + 1).astype(str), [str(d + 1) for d in range(k)])
        obs["condition"] = "treated" if treated[s] else "control"
        if kind.donors:
            obs["donor"] = f"donor{donor[s]}"
        obs["total_counts"] = counts.sum(axis=1)
        about = {"sample": f"s{s}", "unit": "study", "pitch_px": 100.0, "lattice": "square"}
        places = np.column_stack([column, row]) * 100.0
        var = pd.DataFrame(index=[f"g{g}" for g in range(GENES)])
        sections.append(ad.AnnData(sp.csr_matrix(counts), obs, var, uns={"mmsrl": about}, obsm={"spatial": places}))
    return sections


class Noise(NamedTuple):
    """How counts of a gene vary from replicate to replicate."""

    dispersion: float
    spread: float
    """Of the log of the dispersion over genes."""
    depth: float = 1.0
    """By which one condition is deeper."""


NOISE = {
    "no variation beyond Poisson": Noise(0.0, 0.0),
    "dispersion .05": Noise(0.05, 0.5),
    "dispersion .05, very unlike over genes": Noise(0.05, 1.0),
    "dispersion .05, one condition 4 times deeper": Noise(0.05, 0.5, 4.0),
}


def pseudobulks(noise: Noise, n: int, genes: int, seed: int) -> np.ndarray:
    """Draw counts of n replicates, (n, genes), half of either condition, without a difference."""
    random = np.random.default_rng(seed)
    mean = 10.0 ** random.uniform(0.0, 3.0, genes) * random.lognormal(0.0, 0.4, n)[:, None]
    mean[n // 2 :] *= noise.depth
    if noise.dispersion:
        dispersion = noise.dispersion * np.exp(random.normal(0.0, noise.spread, genes))
        mean = random.gamma(1.0 / dispersion, mean * dispersion)
    return random.poisson(mean).astype(np.float64)


def arms_of(n: int) -> Comparison:
    assigned = [Assignment(f"s{i}", "AB"[i >= n // 2]) for i in range(n)]
    found = compare(replicates_of(assigned), [True] * n, "B", "A")
    assert isinstance(found, Comparison)
    return found


def pydeseq2_p(counts: np.ndarray) -> np.ndarray:
    from pydeseq2.dds import DeseqDataSet
    from pydeseq2.default_inference import DefaultInference
    from pydeseq2.ds import DeseqStats

    names = [f"s{i}" for i in range(len(counts))]
    metadata = pd.DataFrame({"arm": ["AB"[i >= len(counts) // 2] for i in range(len(counts))]}, names)
    table = pd.DataFrame(counts.astype(int), names, [f"g{g}" for g in range(counts.shape[1])])
    inference = DefaultInference(n_cpus=1)
    data = DeseqDataSet(counts=table, metadata=metadata, design="~arm", inference=inference, quiet=True)
    data.deseq2()
    test = DeseqStats(data, contrast=["arm", "B", "A"], inference=inference, quiet=True, independent_filter=False)
    test.summary()
    return np.asarray(test.results_df["pvalue"], dtype=float)


def multiples(p: Any) -> str:
    """Return how often p-values are below .05 and .001, as multiples of these."""
    p = np.asarray(p, dtype=float)
    p = p[np.isfinite(p)]
    return f"{(p <= 0.05).mean() / 0.05:.2f} | {(p <= 0.001).mean() / 0.001:.2f}"


def genes_without_a_difference(genes: int, draws: int) -> None:
    print("| counts | replicates | ours .05 | .001 | s | PyDESeq2 .05 | .001 | s |\n|" + "---|" * 8)
    for name, noise in NOISE.items():
        for n in (6, 8):
            found: dict[str, list[np.ndarray]] = {"ours": [], "pydeseq2": []}
            seconds = dict.fromkeys(found, 0.0)
            for seed in range(draws):
                counts = pseudobulks(noise, n, genes, seed)
                start = time.perf_counter()
                tested = gene_differences(counts, arms_of(n))
                assert not isinstance(tested, str)
                seconds["ours"] += time.perf_counter() - start
                found["ours"].append(tested.p_value)
                if seed == 0:  # it takes 30 times as long
                    start = time.perf_counter()
                    found["pydeseq2"].append(pydeseq2_p(counts[:, tested.gene]))
                    seconds["pydeseq2"] = time.perf_counter() - start
            cells = [f"{multiples(np.concatenate(p))} | {seconds[k] / len(p):.2f}" for k, p in found.items()]
            print(f"| {name} | {n // 2} v {n // 2} | {' | '.join(cells)} |", flush=True)


STUDIES = {
    "8 sections": Kind(),
    "6 sections": Kind(sections=6),
    "8 sections, 2.5 times deeper when treated": Kind(depth_fold=2.5),
    "8 sections that differ much": Kind(share_deviation=0.4, gene_deviation=0.4),
    "4 donors, a section of either condition each": Kind(donors=True),
}


def studies_without_a_difference(draws: int) -> None:
    print("\n| study | draws | shares .05 | .001 | genes .05 | .001 | studies with a gene at 5 % FDR |\n|" + "---|" * 7)
    for name, kind in STUDIES.items():
        shares, genes, called = [], [], 0
        for seed in range(draws):
            found = compare_conditions(study(kind, seed), control="control", several_units=False)
            shares.append(found.composition["p_value"])
            genes.append(found.expression["p_value"])
            called += bool((found.expression["p_adjusted"] < 0.05).any())
        cells = " | ".join(multiples(np.concatenate(p)) for p in (shares, genes))
        print(f"| {name} | {draws} | {cells} | {called} |", flush=True)


def planted(draws: int) -> None:
    print("\n| replicates | deviation of shares, genes | share x 1.5: found | genes x 2: found | wrong among called |")
    print("|" + "---|" * 5)
    for n in (6, 8, 12):
        for share_deviation, gene_deviation in ((0.05, 0.1), (0.1, 0.2), (0.15, 0.3)):
            kind = Kind(n, share_deviation, gene_deviation, share_fold=1.5, gene_fold=2.0)
            share, found, wrong = [], [], []
            for seed in range(draws):
                result = compare_conditions(study(kind, seed), control="control", several_units=False)
                share.append(result.composition.set_index("domain").loc["1", "p_adjusted"] < 0.05)
                table = result.expression
                right = table["gene"].isin([f"g{g}" for g in range(PLANTED)]) & (table["domain"] == "2")
                called = table["p_adjusted"] < 0.05
                found.append((called & right).sum() / right.sum())
                wrong.append((called & ~right).sum() / max(called.sum(), 1))
            means = " | ".join(f"{np.mean(values):.2f}" for values in (share, found, wrong))
            print(f"| {n // 2} v {n // 2} | {share_deviation}, {gene_deviation} | {means} |", flush=True)


def matched(draws: int) -> None:
    """Sections analysed apart: domains have other numbers, and one section lacks a domain that the other has."""
    print("\n| domains | pairs that are right | domains without a counterpart that have none |\n|" + "---|" * 3)
    for k in (3, 5, 9):
        right, none = [], []
        for seed in range(draws):
            one, other = study(Kind(2, domains=k), seed)
            other = other[other.obs["domain"] != "2"].copy()
            table = match(one, other).set_index("domain")["matched"]
            right += [table[str(d)] == str(d) for d in range(1, k + 1) if d != 2]
            none.append(table["2"] is None)
        print(f"| {k} and {k - 1} | {np.mean(right):.2f} | {np.mean(none):.2f} |", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few draws, within two minutes")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    start = time.perf_counter()
    genes_without_a_difference(3_000, 3 if arguments.quick else 10)
    studies_without_a_difference(10 if arguments.quick else 200)
    planted(4 if arguments.quick else 40)
    matched(5 if arguments.quick else 40)
    print(f"\n{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
