"""Genes and gene sets of every domain between conditions. Arrays and tables only."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mmsrl import _design
from mmsrl.compare.camera import camera
from mmsrl.compare.gene_tests import GeneTests, gene_differences
from mmsrl.compare.replicates import ReplicateSums
from mmsrl.markers.table import adjusted

Sets = Mapping[str, Collection[str]]

LEVEL = 0.05
"""Adjusted p-value below which a gene is significant."""

MIN_SPOTS = 10
"""Minimum number of spots of a domain in a replicate to compare its genes."""

TOP = 10
"""Number of significant genes in the summary."""

EXPRESSION = (
    *("domain", "condition", "control", "gene", "mean", "log2_fold_change", "low", "high", "p_value", "p_adjusted"),
)
GENE_SETS = (
    *("domain", "condition", "direction", "gene_set", "n_set", "n_both", "correlation", "p_value", "p_adjusted"),
    "genes",
)


def compare_genes(
    sums: ReplicateSums, conditions: Sequence[str], domains: Sequence[str], genes: Sequence[str], sets: Sets
) -> tuple[pd.DataFrame, pd.DataFrame, list[dict[str, Any]]]:
    """Compare genes and gene sets of every domain between each condition and the control, which is the first condition.

    Returns
    -------
    The tables :data:`EXPRESSION` and :data:`GENE_SETS`, and a summary of every condition and domain, with the reason if
    nothing was tested.
    """
    tables, set_tables = [pd.DataFrame(columns=list(EXPRESSION))], [pd.DataFrame(columns=list(GENE_SETS))]
    facts = []
    for condition in conditions[1:]:
        tests, of_condition = _tested_domains(sums, condition, conditions[0], domains)
        facts += of_condition
        if not tests:
            continue
        table = pd.concat(
            [_gene_table(significant, genes).assign(domain=domain) for domain, significant in tests.items()]
        )
        table = table.assign(condition=condition, control=conditions[0])
        # Over all domains: otherwise four in ten studies of ten domains without differences have a significant gene.
        table["p_adjusted"] = adjusted(table["p_value"].to_numpy())
        tables.append(table[list(EXPRESSION)])
        for fact in of_condition:
            significant = table[(table["domain"] == fact["domain"]) & (table["p_adjusted"] < LEVEL)]
            rising = significant["log2_fold_change"] > 0
            fact |= {
                "n_up": int(rising.sum()),
                "n_down": int((~rising).sum()),
                "top": significant["gene"].head(TOP).tolist(),
            }
        if sets:
            set_tables.append(_set_table(tests, table, genes, sets).assign(condition=condition)[list(GENE_SETS)])
    return _stacked(tables), _stacked(set_tables), facts


def _tested_domains(
    sums: ReplicateSums, condition: str, control: str, domains: Sequence[str]
) -> tuple[dict[str, GeneTests], list[dict[str, Any]]]:
    """Test the genes of every domain between two conditions, without adjustment of p-values."""
    tests, facts = {}, []
    for d, domain in enumerate(domains):
        fact: dict[str, Any] = {"domain": domain, "condition": condition, "n_condition": 0, "n_control": 0}
        fact |= {"n_tested": 0, "n_up": 0, "n_down": 0, "top": [], "why": None}
        facts.append(fact)
        if sums.molecules is None:
            fact["why"] = "expression is normalised: there are no counts"
            continue
        enough = sums.spots[:, d] >= MIN_SPOTS
        for side, name in (("condition", condition), ("control", control)):
            fact[f"n_{side}"] = int(sum(sums.replicates[i].condition == name for i in np.flatnonzero(enough)))
        arms = _design.compare(sums.replicates, enough.tolist(), condition, control)
        if isinstance(arms, str):
            fact["why"] = f"among replicates with at least {MIN_SPOTS} spots: {arms}"
            continue
        fact |= {"n_condition": arms.n_condition, "n_control": arms.n_control}
        tested = gene_differences(sums.molecules[arms.rows, d], arms)
        if isinstance(tested, str):
            fact["why"] = tested
            continue
        tests[domain] = tested
        fact["n_tested"] = len(tested.gene)
    return tests, facts


def _gene_table(tested: GeneTests, genes: Sequence[str]) -> pd.DataFrame:
    """Return the genes of one domain, most significant first."""
    columns = ("mean", "log2_fold_change", "low", "high", "p_value")
    table = pd.DataFrame({"gene": np.asarray(genes, dtype=object)[tested.gene]})
    table = table.assign(**{name: getattr(tested, name) for name in columns})
    return table.sort_values(["p_value", "gene"])


def _set_table(tests: Mapping[str, GeneTests], table: pd.DataFrame, genes: Sequence[str], sets: Sets) -> pd.DataFrame:
    """Return the gene sets of every domain, most significant first, with the genes that changed in their direction."""
    parts = []
    for domain, tested in tests.items():
        names = np.asarray(genes, dtype=object)[tested.gene]
        set_tests, members = camera(tested.score, tested.residual, names.tolist(), sets)
        significant = table[(table["domain"] == domain) & (table["p_adjusted"] < LEVEL)]
        changed = dict(
            zip(significant["gene"], np.where(significant["log2_fold_change"] > 0, "up", "down"), strict=True)
        )
        both = [
            [gene for gene in names[members[name]] if changed.get(gene) == direction]
            for name, direction in zip(set_tests["gene_set"], set_tests["direction"], strict=True)
        ]
        set_tests = set_tests.assign(
            domain=domain,
            n_both=[len(changed_genes) for changed_genes in both],
            genes=[",".join(changed_genes) for changed_genes in both],
        )
        parts.append(set_tests.sort_values(["p_value", "gene_set"]))
    whole = pd.concat(parts, ignore_index=True)
    return whole.assign(p_adjusted=adjusted(whole["p_value"].to_numpy(np.float64)))


def _stacked(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Stack tables. The first one is empty and gives the columns."""
    return pd.concat([table for table in tables if len(table)] or tables, ignore_index=True)
