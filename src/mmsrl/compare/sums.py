"""What a comparison takes of each section: molecules and spots by domain. Sections are read one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from mmsrl import _keys
from mmsrl._design import Assignment
from mmsrl._errors import InputError
from mmsrl._genes import names_in_unit
from mmsrl._palette import natural_order
from mmsrl._sections import counts_of, in_pitches, is_counted, sample_of
from mmsrl.heldout import regions

Float = NDArray[np.float64]

QUALITY = {
    "total_counts": "Median counts",
    "n_genes_by_counts": "Median genes",
    "pct_counts_mt": "Median mitochondrial %",
}
"""Medians over the spots of a section, by column of `obs`."""


class SectionSums(NamedTuple):
    """One section of D domains and G genes, those of its own file."""

    assigned: Assignment
    unit: str
    domains: list[str]
    """Of the unit, so that all its sections have the same."""
    spots: Float
    """(D,)."""
    regional: NDArray[np.float32] | None
    """(R, D, G): molecules by region of tissue; one region where the section is not matched with another unit, or too
    small; ``None`` where the section has normalised values and no counts."""
    var: pd.DataFrame
    """Its genes, as :func:`mmsrl._genes.names_in_unit` takes them."""
    quality: dict[str, float]


def sum_section(adata: ad.AnnData, *, by_region: bool) -> SectionSums:
    """Sum a section over its domains.

    Parameters
    ----------
    adata
        Counts in ``X``; ``obs['domain']`` (categorical, with all domains of the unit as categories),
        ``obs['condition']`` and, where given, ``obs['donor']`` and ``obs['covariate_<name>']``, the same for all spots;
        ``uns['mmsrl']`` with ``sample`` and ``unit``.
    by_region
        Also by region of tissue, which matching domains of several units needs.

    Raises
    ------
    InputError
        If domains or the condition are missing.
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
        assigned_to(adata),
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
    member = sp.csr_matrix(
        (np.ones(adata.n_obs, dtype=np.float32), (region * n_domains + position, np.arange(adata.n_obs))),
        shape=(n_regions * n_domains, adata.n_obs),
    )
    counts = counts_of([adata], adata.var_names.tolist())[0]
    return np.asarray((member @ counts).toarray(), dtype=np.float32).reshape(n_regions, n_domains, -1)


def common_genes(sections: Sequence[SectionSums]) -> tuple[list[str], list[SectionSums]]:
    """Return the genes that all sections have, and the sections with these genes alone, in this order.

    Raises
    ------
    InputError
        If there are none.
    """
    names = names_in_unit([own.var for own in sections])
    shared = set.intersection(*map(set, names))
    genes = [gene for gene in names[0] if gene in shared]
    if not genes:
        raise InputError("the sections have no gene in common; are they of one species and naming?")
    cut = []
    for own, index in zip(sections, names, strict=True):
        columns = index.get_indexer(pd.Index(genes))
        regional = None if own.regional is None else own.regional[..., columns]
        cut.append(own._replace(regional=regional, var=own.var.iloc[columns]))
    return genes, cut
