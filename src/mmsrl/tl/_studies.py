"""Comparisons of conditions and of units."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from mmsrl.compare.study import Study


def compare(
    sections: Iterable[AnnData],
    groupby: str = "domain",
    *,
    control: str | None = None,
    gene_sets: Mapping[str, Collection[str]] | None = None,
    several_units: bool = True,
) -> Study:
    """Compare the conditions of a study: composition of the tissue, and expression within domains.

    The sample size is the number of replicates: sections, or donors within a condition if donors are given. Each
    condition is compared with the control. Donors with both conditions are blocks of the model.

    Parameters
    ----------
    sections
        Sections with counts in ``X``, domains, ``obs['condition']`` and optionally ``obs['donor']`` and
        ``obs['covariate_<name>']``. Sections whose domains were not found jointly have ``uns['mmsrl']['unit']``. An
        iterator is read one section at a time.
    groupby
        Key of the domains in ``obs``.
    control
        Condition that the others are compared with. ``None`` uses the condition of the first section.
    gene_sets
        Genes by name of the set, tested by :func:`mmsrl.compare.camera.camera`.
    several_units
        Match domains between units. ``False``: the domains of all sections were found jointly.

    Returns
    -------
    mmsrl.compare.study.Study
        Tables of composition, expression, gene sets, shares of domains and matched domains, with ``facts`` and
        ``messages``.

    Raises
    ------
    mmsrl.InputError
        There are fewer than two conditions, no section has ``control``, or sections lack domains or conditions.
    """
    from mmsrl import _keys
    from mmsrl._annotation import report, shallow
    from mmsrl.compare.api import compare as compare_conditions

    inputs = (shallow(adata, obs={_keys.DOMAIN: groupby}) for adata in sections)
    study = compare_conditions(inputs, control=control, gene_sets=gene_sets, several_units=several_units)
    report(study.messages)
    return study


def match(
    one: AnnData | Sequence[AnnData], other: AnnData | Sequence[AnnData], groupby: str = "domain"
) -> pd.DataFrame:
    """Match the domains of two units, of one run or two, that are each other's most similar in expression.

    Parameters
    ----------
    one, other
        Sections of each unit, with counts in ``X`` and domains.
    groupby
        Key of the domains in ``obs``.

    Returns
    -------
    pandas.DataFrame
        One row for each domain of ``one``: ``domain``; ``matched``, its counterpart in ``other`` or ``None``;
        ``similarity``, the correlation of their profiles; ``certainty``, the share of bootstrap draws of tissue
        regions that confirm the match (NaN if there is too little tissue to draw from). See
        :mod:`mmsrl.compare.matching`.

    Raises
    ------
    mmsrl.InputError
        Domains or counts are missing, or the units share no genes.
    """
    from mmsrl import _keys
    from mmsrl._annotation import as_sections, shallow
    from mmsrl.compare.api import match as match_units

    units = ([shallow(adata, obs={_keys.DOMAIN: groupby}) for adata in as_sections(unit)] for unit in (one, other))
    return match_units(*units)
