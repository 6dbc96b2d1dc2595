"""The table of the genes of each domain: what was tested, how much more there is, and which are markers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import false_discovery_control

from mmsrl.markers.domain_means import Expression
from mmsrl.markers.folds import Folds
from mmsrl.markers.offset import Test
from mmsrl.markers.pseudobulk import Pseudobulk

FDR = 0.05
LEAST_FOLD = 0.5
"""log2 fold change over all other domains from which a significant gene is a marker."""

SPECIFIC_FOLD = 0.5
"""log2 fold change over the next domain from which a marker is specific to its domain."""

COLUMNS = [
    "domain",
    "gene",
    "score",
    "p_value",
    "p_adjusted",
    "log2_fold_change",
    "log2_fold_change_low",
    "log2_fold_change_high",
    "log2_fold_change_next",
    "p_value_pseudobulk",
    "p_adjusted_pseudobulk",
    "rate",
    "share",
    "share_elsewhere",
    "samples_up",
    "marker",
    "specific",
]


DEPTH_FOLD = 0.5
"""log2 ratio of the molecules of a spot in a domain and in the rest of its sections from which its depth differs."""


class Found(NamedTuple):
    """Genes of domains in one set of counts."""

    test: Test
    folds: Folds


def gene_table(
    tested: Found | None,
    pseudobulk: Pseudobulk | None,
    whole: Found,
    again: NDArray[np.bool_],
    expression: Expression,
    names: Sequence[str],
    genes: Sequence[str],
) -> pd.DataFrame:
    """Return a row a domain and gene of those with enough molecules, the most significant of each domain first.

    Where genes of a domain could be tested over its sections, its markers are significant over sections and spots.

    Parameters
    ----------
    tested
        In counts that the domains were not found from; ``None`` where there are none such.
    pseudobulk
        Of the same counts, over sections.
    whole
        In all counts, between the domains as they are: what is told of a domain that could not be tested.
    again
        (K,): whether the domain was found again where it is tested.
    expression
        In all counts.
    """
    p = np.full_like(whole.test.p_value, np.nan)
    score, folds = p.copy(), [field.copy() for field in whole.folds]
    if tested is not None:
        score[again], p[again] = tested.test.z[again], tested.test.p_value[again]
        for field, own in zip(folds, tested.folds, strict=True):
            field[again] = own[again]
    log2, low, high, log2_next, up = folds
    p_over = np.full_like(p, np.nan) if pseudobulk is None else np.where(np.isfinite(p), pseudobulk.p_value, np.nan)
    marker = low >= LEAST_FOLD if tested is None else (_adjusted(p) < FDR) & (log2 >= LEAST_FOLD)
    marker &= (_adjusted(p_over) < FDR) | ~np.isfinite(p_over).any(axis=1, keepdims=True)
    listed = np.isfinite((whole if tested is None else tested).test.p_value).any(axis=0)
    k, g = (index.ravel() for index in np.indices((len(names), int(listed.sum()))))
    g = np.flatnonzero(listed)[g]
    values: list[NDArray[Any]] = [score, p, _adjusted(p), log2, low, high, log2_next]
    values += [p_over, _adjusted(p_over), *expression, up, marker, marker & (log2_next >= SPECIFIC_FOLD)]
    table = pd.DataFrame({"domain": np.asarray(names, dtype=object)[k], "gene": np.asarray(genes, dtype=object)[g]})
    table = table.assign(**{name: value[k, g] for name, value in zip(COLUMNS[2:], values, strict=True)})
    order = np.lexsort((table["gene"], -table["score"].fillna(table["log2_fold_change_low"]), k))
    return table.iloc[order].reset_index(drop=True)


def _adjusted(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return p-values, (K, G), after Benjamini and Hochberg over the genes of each domain that have one."""
    return np.stack([adjusted(own) for own in p])


def adjusted(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return p-values, (G,), after Benjamini and Hochberg over those that there are; NaN where there is none."""
    told = np.isfinite(p)
    result = np.full_like(p, np.nan)
    if told.any():
        result[told] = false_discovery_control(p[told])
    return result


def depth_alone(
    table: pd.DataFrame,
    again: NDArray[np.bool_],
    library: NDArray[Any],
    section: NDArray[np.int64],
    domain: NDArray[np.int64],
    names: Sequence[str],
) -> dict[str, float]:
    """Return the domains that differ in depth and in no tested gene: times that their spots have the others' molecules.

    Tests are of what depth does not tell of a domain, so one that depth alone makes has no significant gene.

    Parameters
    ----------
    table
        As :func:`gene_table` returns it.
    again
        (K,): domains that were found anew, so that their genes could be tested.
    library, section, domain
        (n,): molecules of each spot, its section and domain from 0.
    """
    depth = np.log2(np.maximum(library, 1.0))
    result = {}
    for k, name in enumerate(names):
        p = table["p_adjusted"][table["domain"] == name]
        own = domain == k
        rest = ~own & np.isin(section, section[own])
        if not again[k] or (p < FDR).any() or not rest.any():
            continue
        fold = float(np.median(depth[own]) - np.median(depth[rest]))
        if abs(fold) >= DEPTH_FOLD:
            result[name] = 2.0**fold
    return result
