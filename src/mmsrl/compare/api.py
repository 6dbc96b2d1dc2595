"""Compare conditions on AnnData."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import anndata as ad
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmsrl import _keys
from mmsrl._design import Assignment
from mmsrl._errors import InputError
from mmsrl._palette import natural_order
from mmsrl._sections import counts_of, in_pitches, is_counted, sample_of
from mmsrl.compare.shared import matched_domains
from mmsrl.compare.study import Study, compare_sections
from mmsrl.compare.sums import SectionSums, common_genes, with_domains_of_unit
from mmsrl.heldout import regions
from mmsrl.markers.domain_means import membership

QUALITY = {
    "total_counts": "Median counts",
    "n_genes_by_counts": "Median genes",
    "pct_counts_mt": "Median mitochondrial %",
}
"""Medians over the spots of a section, by column of `obs`."""


def compare(
    sections: Iterable[ad.AnnData],
    *,
    control: str | None = None,
    gene_sets: Mapping[str, Collection[str]] | None = None,
    several_units: bool = True,
) -> Study:
    """Compare the conditions of a study: shares of domains, and expression within them.

    The sample size is the number of replicates: sections or, where donors are given, donors within a condition. Each
    condition is compared with the control on its own. Donors that have both are blocks of the model.

    Parameters
    ----------
    sections
        Each with counts in ``X``, ``obs['domain']``, ``obs['condition']`` and, where given, ``obs['donor']`` and
        ``obs['covariate_<name>']``; ``uns['mmsrl']`` with ``sample`` and, where domains were not found jointly,
        ``unit``. They are read one after the other, so that an iterator that opens files needs the memory of one.
    control
        The condition that others are compared with; that of the first section if not given.
    gene_sets
        Genes by name of the set, to test for a difference (:func:`mmsrl.compare.camera.camera`).
    several_units
        Whether domains may have been found apart, so that they have to be matched.

    Returns
    -------
    Study

    Raises
    ------
    InputError
        If there are not two conditions, no section has ``control``, or sections lack what is needed.
    """
    summed = [sum_section(adata, assigned_to(adata), by_region=several_units) for adata in sections]
    return compare_sections(summed, control, gene_sets or {})


def match(one: ad.AnnData | Sequence[ad.AnnData], other: ad.AnnData | Sequence[ad.AnnData]) -> pd.DataFrame:
    """Pair the domains of two units, of one run or two, that are each other's most similar by expression.

    Parameters
    ----------
    one, other
        The sections of each unit, with counts in ``X`` and ``obs['domain']``.

    Returns
    -------
    A row for every domain of ``one``: ``domain``; ``matched``, its counterpart in ``other``, or ``None``;
    ``similarity``, the correlation of their profiles; ``certainty``, the share of bootstrap draws of tissue in which
    they are each other's most similar, NaN where there is too little tissue to draw from. See
    :mod:`mmsrl.compare.matching`.

    Raises
    ------
    InputError
        If domains or counts are missing, or the units have no gene in common.
    """
    units = [[unit] if isinstance(unit, ad.AnnData) else list(unit) for unit in (one, other)]
    summed = []
    for name, sections in zip(("one", "other"), units, strict=True):
        for adata in sections:
            if not is_counted(adata):
                raise InputError(f"sample {sample_of(adata)}: domains are matched by counts, not by normalised values")
            own = sum_section(adata, Assignment(sample_of(adata), ""), by_region=True)
            summed.append(own._replace(unit=name))
    _, summed = common_genes(with_domains_of_unit(summed))
    return matched_domains(summed, "one", "other").drop(columns="unit")


def sum_section(adata: ad.AnnData, assigned: Assignment, *, by_region: bool) -> SectionSums:
    """Sum a section over its domains.

    Parameters
    ----------
    adata
        Counts in ``X``; ``obs['domain']``; ``uns['mmsrl']`` with ``sample`` and, where there are several, ``unit``.
    assigned
        Its condition, see :func:`assigned_to`.
    by_region
        Also by region of tissue, which matching domains of several units needs.

    Raises
    ------
    InputError
        If domains are missing.
    """
    sample = sample_of(adata)
    if _keys.DOMAIN not in adata.obs or adata.obs[_keys.DOMAIN].isna().any():
        raise InputError(f"sample {sample}: every spot must have a domain in obs['{_keys.DOMAIN}']")
    domain = adata.obs[_keys.DOMAIN].astype("category").cat
    names = natural_order(domain.categories)
    position = domain.set_categories(names).cat.codes.to_numpy(np.int64)
    quality = {"Spots": float(adata.n_obs)}
    quality |= {title: float(adata.obs[key].median()) for key, title in QUALITY.items() if key in adata.obs}
    return SectionSums(
        assigned,
        str(adata.uns.get(_keys.UNS, {}).get(_keys.UNIT, "")),
        names,
        np.bincount(position, minlength=len(names)).astype(np.float64),
        _regional(adata, position, len(names), by_region) if is_counted(adata) else None,
        adata.var[[name for name in (_keys.GENE_IDS,) if name in adata.var]],
        quality,
    )


def assigned_to(adata: ad.AnnData) -> Assignment:
    """Return condition, donor and covariates of a section, given in ``obs``, one value for all spots.

    Raises
    ------
    InputError
        If there is no condition, or a column has several values.
    """
    sample = sample_of(adata)
    columns = [_keys.CONDITION, _keys.DONOR, *(name for name in adata.obs if str(name).startswith(_keys.COVARIATE))]
    values: dict[str, str] = {}
    for name in columns:
        found = adata.obs[name].dropna().astype(str).unique() if name in adata.obs else []
        if len(found) > 1:
            raise InputError(f"sample {sample}: obs['{name}'] must be the same for all spots, not {', '.join(found)}")
        if len(found):
            values[name] = str(found[0])
    if _keys.CONDITION not in values:
        raise InputError(f"sample {sample}: obs['{_keys.CONDITION}'] is missing; give every section its condition")
    covariates = {k.removeprefix(_keys.COVARIATE): v for k, v in values.items() if k.startswith(_keys.COVARIATE)}
    return Assignment(sample, values[_keys.CONDITION], values.get(_keys.DONOR), covariates)


def _regional(adata: ad.AnnData, position: NDArray[np.int64], n_domains: int, by_region: bool) -> NDArray[np.float32]:
    """Return molecules by region, domain and gene, (R, D, G)."""
    found = regions([in_pitches(adata)]) if by_region else None
    region = np.zeros(adata.n_obs, dtype=np.int64) if found is None else found
    n_regions = int(region.max()) + 1
    member = membership(region * n_domains + position, n_regions * n_domains)
    counts = counts_of([adata], adata.var_names.tolist())[0]
    return np.asarray((member @ counts).toarray(), dtype=np.float32).reshape(n_regions, n_domains, -1)
