"""Table of the genes of each domain: tests, fold changes and markers."""

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
"""Minimum log2 fold change of a marker over all other domains."""

SPECIFIC_FOLD = 0.5
"""Minimum log2 fold change of a specific marker over the next domain."""

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
"""Minimum absolute log2 ratio of median library sizes, in the domain and elsewhere, of a domain that differs in depth.
"""


class Found(NamedTuple):
    """Tests and fold changes from one set of counts."""

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
    """Build the table of genes by domain, most significant first within domains.

    If the genes of a domain are tested over sections, its markers are significant both over sections and over spots.

    Parameters
    ----------
    tested
        Results on held-out counts. ``None`` if there are none.
    pseudobulk
        Results over sections on the same counts.
    whole
        Results on all counts with the given domains, used for domains without a test.
    again
        Mask of the domains that were found again in the other half of the counts, (K,).
    expression
        Expression by domain in all counts.
    names, genes
        Names of domains, K, and genes, G.
    """
    p = np.full_like(whole.test.p_value, np.nan)
    score, folds = p.copy(), [field.copy() for field in whole.folds]
    if tested is not None:
        score[again], p[again] = tested.test.z[again], tested.test.p_value[again]
        for field, held_out in zip(folds, tested.folds, strict=True):
            field[again] = held_out[again]
    log2, low, high, log2_next, up = folds
    p_pseudobulk = (
        np.full_like(p, np.nan) if pseudobulk is None else np.where(np.isfinite(p), pseudobulk.p_value, np.nan)
    )
    marker = low >= LEAST_FOLD if tested is None else (_adjusted(p) < FDR) & (log2 >= LEAST_FOLD)
    marker &= (_adjusted(p_pseudobulk) < FDR) | ~np.isfinite(p_pseudobulk).any(axis=1, keepdims=True)
    listed = np.isfinite((whole if tested is None else tested).test.p_value).any(axis=0)
    k, g = (index.ravel() for index in np.indices((len(names), int(listed.sum()))))
    g = np.flatnonzero(listed)[g]
    values: list[NDArray[Any]] = [score, p, _adjusted(p), log2, low, high, log2_next]
    values += [p_pseudobulk, _adjusted(p_pseudobulk), *expression, up, marker, marker & (log2_next >= SPECIFIC_FOLD)]
    table = pd.DataFrame({"domain": np.asarray(names, dtype=object)[k], "gene": np.asarray(genes, dtype=object)[g]})
    table = table.assign(**{name: value[k, g] for name, value in zip(COLUMNS[2:], values, strict=True)})
    order = np.lexsort((table["gene"], -table["score"].fillna(table["log2_fold_change_low"]), k))
    return table.iloc[order].reset_index(drop=True)


def _adjusted(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Benjamini-Hochberg adjusted p-values within each domain, (K, G)."""
    return np.stack([adjusted(p_of_domain) for p_of_domain in p])


def adjusted(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Benjamini-Hochberg adjusted p-values, (G,). NaN stays NaN."""
    tested = np.isfinite(p)
    result = np.full_like(p, np.nan)
    if tested.any():
        result[tested] = false_discovery_control(p[tested])
    return result


def depth_alone(
    table: pd.DataFrame,
    again: NDArray[np.bool_],
    library: NDArray[Any],
    section: NDArray[np.int64],
    domain: NDArray[np.int64],
    names: Sequence[str],
) -> dict[str, float]:
    """Return domains that differ from others in library size but in no tested gene, with the ratio of library sizes.

    The tests are independent of the library size. A domain that reflects the library size alone has no significant
    gene.

    Parameters
    ----------
    table
        Table from :func:`gene_table`.
    again
        Mask of the domains that were found again and tested, (K,).
    library, section, domain
        Library size, section and domain of each spot, (n,), indices from 0.
    names
        Names of the domains.
    """
    depth = np.log2(np.maximum(library, 1.0))
    result = {}
    for k, name in enumerate(names):
        p = table["p_adjusted"][table["domain"] == name]
        inside = domain == k
        rest = ~inside & np.isin(section, section[inside])
        if not again[k] or (p < FDR).any() or not rest.any():
            continue
        fold = float(np.median(depth[inside]) - np.median(depth[rest]))
        if abs(fold) >= DEPTH_FOLD:
            result[name] = 2.0**fold
    return result
