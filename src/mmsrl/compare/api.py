"""Comparison of conditions."""

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
"""Median quality metrics of a section, by column of ``obs``."""


def compare(
    sections: Iterable[ad.AnnData],
    *,
    control: str | None = None,
    gene_sets: Mapping[str, Collection[str]] | None = None,
    several_units: bool = True,
) -> Study:
    """Compare the conditions of a study; :func:`mmsrl.tl.compare` describes the method.

    Parameters
    ----------
    sections
        Sections with counts in ``X``, ``obs['domain']``, ``obs['condition']`` and optionally ``obs['donor']`` and
        ``obs['covariate_<name>']``; ``uns['mmsrl']`` with ``sample`` and, if domains were not found jointly, ``unit``.
        An iterator is read one section at a time.
    control
        Condition that the others are compared with. ``None`` uses the condition of the first section.
    gene_sets
        Genes by name of the set (:func:`mmsrl.compare.camera.camera`).
    several_units
        Whether domains of different units have to be matched.

    Raises
    ------
    InputError
        There are fewer than two conditions, no section has ``control``, or sections lack domains or conditions.
    """
    summed = [sum_section(adata, assigned_to(adata), by_region=several_units) for adata in sections]
    return compare_sections(summed, control, gene_sets or {})


def match(one: ad.AnnData | Sequence[ad.AnnData], other: ad.AnnData | Sequence[ad.AnnData]) -> pd.DataFrame:
    """Match the domains of two units by expression; :func:`mmsrl.tl.match` describes the result.

    Parameters
    ----------
    one, other
        Sections of each unit, with counts in ``X`` and ``obs['domain']``.

    Returns
    -------
    pandas.DataFrame
        One row for each domain of ``one``: ``domain``, ``matched``, ``similarity``, ``certainty``.

    Raises
    ------
    InputError
        Domains or counts are missing, or the units share no genes.
    """
    units = [[unit] if isinstance(unit, ad.AnnData) else list(unit) for unit in (one, other)]
    summed = []
    for name, sections in zip(("one", "other"), units, strict=True):
        for adata in sections:
            if not is_counted(adata):
                raise InputError(
                    f"sample {sample_of(adata)}: domains are matched by counts, but expression is normalised"
                )
            sums = sum_section(adata, Assignment(sample_of(adata), ""), by_region=True)
            summed.append(sums._replace(unit=name))
    _, summed = common_genes(with_domains_of_unit(summed))
    return matched_domains(summed, "one", "other").drop(columns="unit")


def sum_section(adata: ad.AnnData, assigned: Assignment, *, by_region: bool) -> SectionSums:
    """Sum the counts of a section by domain.

    Parameters
    ----------
    adata
        Counts in ``X``; ``obs['domain']``; ``uns['mmsrl']`` with ``sample`` and, if there are several, ``unit``.
    assigned
        Condition, donor and covariates (:func:`assigned_to`).
    by_region
        Sum by region of tissue too, which matching the domains of several units requires.

    Raises
    ------
    InputError
        Domains are missing.
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
    """Return condition, donor and covariates of a section from ``obs``, where each has one value for all spots.

    Raises
    ------
    InputError
        The condition is missing, or a column has several values.
    """
    sample = sample_of(adata)
    columns = [_keys.CONDITION, _keys.DONOR, *(name for name in adata.obs if str(name).startswith(_keys.COVARIATE))]
    values: dict[str, str] = {}
    for name in columns:
        unique = adata.obs[name].dropna().astype(str).unique() if name in adata.obs else []
        if len(unique) > 1:
            raise InputError(f"sample {sample}: obs['{name}'] must be the same for all spots, not {', '.join(unique)}")
        if len(unique):
            values[name] = str(unique[0])
    if _keys.CONDITION not in values:
        raise InputError(f"sample {sample}: obs['{_keys.CONDITION}'] is missing; give every section its condition")
    covariates = {k.removeprefix(_keys.COVARIATE): v for k, v in values.items() if k.startswith(_keys.COVARIATE)}
    return Assignment(sample, values[_keys.CONDITION], values.get(_keys.DONOR), covariates)


def _regional(adata: ad.AnnData, position: NDArray[np.int64], n_domains: int, by_region: bool) -> NDArray[np.float32]:
    """Return counts by region, domain and gene, (R, D, G)."""
    region_of_spot = regions([in_pitches(adata)]) if by_region else None
    region = np.zeros(adata.n_obs, dtype=np.int64) if region_of_spot is None else region_of_spot
    n_regions = int(region.max()) + 1
    member = membership(region * n_domains + position, n_regions * n_domains)
    counts = counts_of([adata], adata.var_names.tolist())[0]
    return np.asarray((member @ counts).toarray(), dtype=np.float32).reshape(n_regions, n_domains, -1)
