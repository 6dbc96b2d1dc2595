"""Measure calibration and power of the comparison of conditions.

Tables:

1. Pseudobulk counts without a difference, by our test and by PyDESeq2's Wald test in the same run: the fraction of
   p-values below .05 and .001, as multiples of these levels (1 is calibrated), and seconds.
2. Whole studies without a difference, with conditions assigned at random to the sections.
3. Power for a planted change of a domain's share and for planted genes.
4. Matching of domains between sections that were analysed separately.

``--quick`` uses few draws.
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
"""Number of planted genes, which differ in domain 2."""


class Kind(NamedTuple):
    """Parameters of a simulated study with wavy bands as domains, and of the differences between its conditions."""

    sections: int = 8
    share_deviation: float = 0.15
    """Standard deviation of the log width of a domain between sections."""
    gene_deviation: float = 0.2
    """Standard deviation of the log level of a gene between sections, and between domains of sections."""
    depth_deviation: float = 0.3
    """Standard deviation of the log depth of a section."""
    depth_fold: float = 1.0
    """Fold change of the depth of treated sections."""
    donors: bool = False
    """Whether each donor has one section of each condition. Donors then vary as sections do."""
    share_fold: float = 1.0
    """Fold change of the width of domain 1 in treated sections, before widths are scaled to the section."""
    gene_fold: float = 1.0
    """Fold change of the first :data:`PLANTED` genes in domain 2 of treated sections."""
    domains: int = 5


def study(kind: Kind, seed: int) -> list[ad.AnnData]:
    """Simulate the sections of a study. A random half is treated; with donors, one section of each."""
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
    """Variation of the counts of a gene between replicates."""

    dispersion: float
    spread: float
    """Standard deviation of the log dispersion between genes."""
    depth: float = 1.0
    """Fold change of the depth of one condition."""


NOISE = {
    "no variation beyond Poisson": Noise(0.0, 0.0),
    "dispersion .05": Noise(0.05, 0.5),
    "dispersion .05, very unlike over genes": Noise(0.05, 1.0),
    "dispersion .05, one condition 4 times deeper": Noise(0.05, 0.5, 4.0),
}


def pseudobulks(noise: Noise, n: int, genes: int, seed: int) -> np.ndarray:
    """Simulate pseudobulk counts, (n, genes), of n replicates in two conditions without a difference."""
    random = np.random.default_rng(seed)
    mean = 10.0 ** random.uniform(0.0, 3.0, genes) * random.lognormal(0.0, 0.4, n)[:, None]
    mean[n // 2 :] *= noise.depth
    if noise.dispersion:
        dispersion = noise.dispersion * np.exp(random.normal(0.0, noise.spread, genes))
        mean = random.gamma(1.0 / dispersion, mean * dispersion)
    return random.poisson(mean).astype(np.float64)


def arms_of(n: int) -> Comparison:
    assigned = [Assignment(f"s{i}", "AB"[i >= n // 2]) for i in range(n)]
    comparison = compare(replicates_of(assigned), [True] * n, "B", "A")
    assert isinstance(comparison, Comparison)
    return comparison


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
    """Return the fractions of p-values below .05 and .001, as multiples of these levels."""
    p = np.asarray(p, dtype=float)
    p = p[np.isfinite(p)]
    return f"{(p <= 0.05).mean() / 0.05:.2f} | {(p <= 0.001).mean() / 0.001:.2f}"


def genes_without_a_difference(genes: int, draws: int) -> None:
    print("| counts | replicates | ours .05 | .001 | s | PyDESeq2 .05 | .001 | s |\n|" + "---|" * 8)
    for name, noise in NOISE.items():
        for n in (6, 8):
            p_values: dict[str, list[np.ndarray]] = {"ours": [], "pydeseq2": []}
            seconds = dict.fromkeys(p_values, 0.0)
            for seed in range(draws):
                counts = pseudobulks(noise, n, genes, seed)
                start = time.perf_counter()
                tested = gene_differences(counts, arms_of(n))
                assert not isinstance(tested, str)
                seconds["ours"] += time.perf_counter() - start
                p_values["ours"].append(tested.p_value)
                if seed == 0:  # it takes more than 100 times as long
                    start = time.perf_counter()
                    p_values["pydeseq2"].append(pydeseq2_p(counts[:, tested.gene]))
                    seconds["pydeseq2"] = time.perf_counter() - start
            cells = [f"{multiples(np.concatenate(p))} | {seconds[k] / len(p):.2f}" for k, p in p_values.items()]
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
            comparison = compare_conditions(study(kind, seed), control="control", several_units=False)
            shares.append(comparison.composition["p_value"])
            genes.append(comparison.expression["p_value"])
            called += bool((comparison.expression["p_adjusted"] < 0.05).any())
        cells = " | ".join(multiples(np.concatenate(p)) for p in (shares, genes))
        print(f"| {name} | {draws} | {cells} | {called} |", flush=True)


def planted(draws: int) -> None:
    print("\n| replicates | deviation of shares, genes | share × 1.5: found | genes × 2: found | false among called |")
    print("|" + "---|" * 5)
    for n in (6, 8, 12):
        for share_deviation, gene_deviation in ((0.05, 0.1), (0.1, 0.2), (0.15, 0.3)):
            kind = Kind(n, share_deviation, gene_deviation, share_fold=1.5, gene_fold=2.0)
            share, power, false = [], [], []
            for seed in range(draws):
                result = compare_conditions(study(kind, seed), control="control", several_units=False)
                share.append(result.composition.set_index("domain").loc["1", "p_adjusted"] < 0.05)
                table = result.expression
                is_planted = table["gene"].isin([f"g{g}" for g in range(PLANTED)]) & (table["domain"] == "2")
                called = table["p_adjusted"] < 0.05
                power.append((called & is_planted).sum() / is_planted.sum())
                false.append((called & ~is_planted).sum() / max(called.sum(), 1))
            means = " | ".join(f"{np.mean(values):.2f}" for values in (share, power, false))
            print(f"| {n // 2} v {n // 2} | {share_deviation}, {gene_deviation} | {means} |", flush=True)


def matched(draws: int) -> None:
    """Match domains of sections that were analysed separately, one of which lacks a domain of the other."""
    print("\n| domains | correct pairs | absent domains without a match |\n|" + "---|" * 3)
    for k in (3, 5, 9):
        correct, unmatched = [], []
        for seed in range(draws):
            one, other = study(Kind(2, domains=k), seed)
            other = other[other.obs["domain"] != "2"].copy()
            table = match(one, other).set_index("domain")["matched"]
            correct += [table[str(d)] == str(d) for d in range(1, k + 1) if d != 2]
            unmatched.append(table["2"] is None)
        print(f"| {k} and {k - 1} | {np.mean(correct):.2f} | {np.mean(unmatched):.2f} |", flush=True)


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
