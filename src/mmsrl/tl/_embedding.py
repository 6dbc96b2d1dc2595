"""Embeddings, domains and labels of sections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anndata import AnnData

    from mmsrl.train.presets import Readout


def train(
    data: AnnData | Sequence[AnnData],
    *,
    preset: str = "default",
    seed: int | None = None,
    device: str = "auto",
    batch_correction: bool | None = None,
    block_size: int | None = None,
    show_progress: bool = True,
    key_added: str = "X_mmsrl",
    copy: bool = False,
    **settings: Any,
) -> AnnData | list[AnnData] | None:
    """Embed the spots of one section, or of several sections jointly.

    Parameters
    ----------
    data
        Sections in memory, with raw counts or normalised values in ``X``, (n_spots, n_genes), and coordinates in
        ``obsm['spatial']``, (n_spots, 2). Image features are optional: ``obsm['X_image']`` for one section,
        ``obsm['X_image_descriptor']`` for several (see :func:`mmsrl.pp.image_features`).
    preset
        ``default``, or one of the published models ``mmsrl`` and ``stmmr``.
    seed
        Random seed. ``None`` uses the seed of the preset.
    device
        ``auto``, ``cpu`` or ``cuda``, for the published models. ``default`` is computed on the CPU.
    batch_correction
        Correct expression and image features for the section. ``None`` uses the setting of the preset.
    block_size
        Number of spots per block in operations on pairs of spots. Smaller blocks need less memory.
    show_progress
        Show a progress bar of the epochs.
    key_added
        Key of the embedding.
    copy
        Return annotated copies instead of writing to ``data``.
    **settings
        Fields of :class:`mmsrl.train.presets.Default` or :class:`mmsrl.train.presets.Published` that replace those of
        the preset, such as ``n_top_genes``.

    Returns
    -------
    ``None``, or copies if ``copy=True``, with

    ``obsm[key_added]``
        Embedding, (n_spots, d) float32. For ``default`` it is the first member of the ensemble.
    ``uns[key_added]``
        Summary, with the losses by epoch in ``history`` (published models only).
    ``obsm['latent']``
        Latent representation, (n_spots, h) float32 (published models only).

    Raises
    ------
    mmsrl.InputError
        The sections share no genes or lack coordinates, or a setting is unknown or out of range.
    mmsrl.train.fit.NonFiniteLossError
        The training diverged.
    """
    from mmsrl import _keys
    from mmsrl._annotation import as_sections, report, result_of, rows_of, shallow, storable
    from mmsrl.train.api import train as train_unit

    sections = as_sections(data, copy=copy)
    trained = train_unit(
        [shallow(adata) for adata in sections],
        preset=preset,
        seed=seed,
        device=device,
        batch_correction=batch_correction,
        block_size=block_size,
        show_progress=show_progress,
        **settings,
    )
    for adata, rows in rows_of(sections):
        adata.obsm[key_added] = trained.embedding[rows]
        if trained.latent is not None:
            adata.obsm[_keys.LATENT] = trained.latent[rows]
        adata.uns[key_added] = storable(trained.facts | {"history": trained.history})
    report(trained.messages)
    return result_of(data, sections, copy=copy)


def domains(
    data: AnnData | Sequence[AnnData],
    n_domains: int | None = None,
    *,
    preset: str = "default",
    n_seeds: int = 1,
    seed: int | None = None,
    readout: Readout | None = None,
    refine: int | None = None,
    n_jobs: int = 1,
    key_added: str = "domain",
    copy: bool = False,
    **training: Any,
) -> AnnData | list[AnnData] | None:
    """Find spatial domains: train an ensemble of embeddings, cluster each member and build their consensus.

    Several sections are trained jointly, so that they share their domains.

    Parameters
    ----------
    data
        One section or several, as for :func:`train`.
    n_domains
        Number of domains. ``None`` chooses it by stability.
    preset
        ``default``, ``mmsrl`` or ``stmmr``.
    n_seeds
        Number of trainings of a published preset, with the seeds ``seed``, ``seed`` + 1 and so on. A single training
        of ``default`` already gives its ensemble.
    seed
        Random seed. ``None`` uses the seed of the preset.
    readout
        Clustering method: ``gmm``, ``gmm_full``, ``kmeans`` or ``leiden``. ``None`` uses the method of the preset.
    refine
        Number of nearest spots whose majority vote replaces the domain of a spot. ``None`` uses the preset, 0 disables
        the vote.
    n_jobs
        Number of members that are clustered in parallel. It does not affect the result.
    key_added
        Key of the result.
    copy
        Return annotated copies instead of writing to ``data``.
    **training
        Further arguments of :func:`train`.

    Returns
    -------
    ``None``, or copies if ``copy=True``, with

    ``obs[key_added]``
        Categorical, "1", "2", … from the largest domain to the smallest.
    ``obs[f'{key_added}_confidence']``
        float32, 0 to 1: probability of the domain in the consensus, averaged over the neighbourhood.
    ``obsm['X_mmsrl']``
        Embedding of the first member, (n_spots, d) float32.
    ``uns[key_added]``
        Summary, such as ``n_domains``, the ``stability`` of the ``chosen`` number and ``mean_agreement``.

    Raises
    ------
    mmsrl.InputError
        As for :func:`train`. Also if there are fewer different spots than domains, or if ``n_seeds`` exceeds 1 with
        ``default``.
    """
    import pandas as pd

    from mmsrl import _keys
    from mmsrl._annotation import as_sections, report, result_of, rows_of, shallow, storable
    from mmsrl._errors import InputError
    from mmsrl.domains.api import check_readout
    from mmsrl.domains.api import domains as consensus_domains
    from mmsrl.train.api import as_anndata, choose_settings
    from mmsrl.train.api import train as train_unit

    first_seed = choose_settings(preset, {}).seed if seed is None else seed
    if readout is not None or n_domains is not None:
        check_readout(n_domains, readout or "gmm")
    if n_seeds < 1 or first_seed < 0:
        raise InputError(f"n_seeds must be at least 1 and seed at least 0, not {n_seeds} and {first_seed}")
    if preset == "default" and n_seeds > 1:
        raise InputError(f"n_seeds {n_seeds}: preset 'default' gets its ensemble from one training; omit n_seeds")
    sections = as_sections(data, copy=copy)
    inputs = [shallow(adata) for adata in sections]
    trainings = [train_unit(inputs, preset=preset, seed=first_seed + i, **training) for i in range(n_seeds)]
    embeddings = [as_anndata(trained) for trained in trainings]
    result = consensus_domains(embeddings, n_domains, readout=readout, seed=seed, refine=refine, threads=n_jobs)
    categories = [str(k + 1) for k in range(result.facts["n_domains"])]
    for adata, rows in rows_of(sections):
        table = result.table.iloc[rows]
        adata.obs[key_added] = pd.Categorical(table[_keys.DOMAIN], categories)
        adata.obs[f"{key_added}_confidence"] = table[_keys.CONFIDENCE].to_numpy()
        adata.obsm[_keys.EMBEDDING] = trainings[0].embedding[rows]
        adata.uns[key_added] = storable(result.facts)
    report([*trainings[0].messages, *result.messages])
    return result_of(data, sections, copy=copy)


def map(
    adata: AnnData,
    reference: Any,
    *,
    unit: str | None = None,
    seed: int = 0,
    key_added: str = "reference",
    copy: bool = False,
) -> AnnData | None:
    """Label the spots of a section with the domains of a trained reference, without training.

    Counts are normalised by the constants of the reference, projected on its principal axes and smoothed over the same
    length of tissue. The reference is reduced to the genes and the depth of the section. Linear discriminant analysis
    then learns its domains, once for each member of the ensemble. A separate test on neighbourhood profiles tells
    whether a spot is like the reference at all (:func:`mmsrl.map.likeness.likeness`).

    Parameters
    ----------
    adata
        One section with raw counts in ``X`` and coordinates in ``obsm['spatial']``, as for :func:`train`.
    reference
        Folder of the results of a run with preset ``default``, or a :class:`mmsrl.map.reference.Reference`.
    unit
        Name of the unit in the folder. Required if there are several.
    seed
        Random seed of the molecules that are drawn if the reference is deeper than the section.
    key_added
        Prefix of the results.
    copy
        Return an annotated copy instead of writing to ``adata``.

    Returns
    -------
    ``None``, or a copy if ``copy=True``, with

    ``obs[f'{key_added}_domain']``
        Categorical: the domains of the reference, and ``unlike``.
    ``obs[f'{key_added}_confidence']``
        float32, 0 to 1. NaN for spots that are unlike the reference.
    ``obs[f'{key_added}_likeness']``
        float32, similarity of the neighbourhood to the reference.
    ``obsm[f'{key_added}_posterior']``
        Probability of each domain, mean over the members, (n_spots, K) float32.
    ``uns[key_added]``
        Summary.

    Raises
    ------
    mmsrl.InputError
        The reference cannot be used, or the section has no counts, no coordinates or too few genes of the model.
    """
    from mmsrl import _keys
    from mmsrl._annotation import as_sections, report, result_of, storable
    from mmsrl.map.api import map_section

    sections = as_sections(adata, copy=copy)
    result = map_section(adata, reference, unit=unit, seed=seed)
    columns = {"domain": _keys.REFERENCE_DOMAIN, "confidence": _keys.REFERENCE_CONFIDENCE}
    for name, column in (columns | {"likeness": _keys.REFERENCE_LIKENESS}).items():
        sections[0].obs[f"{key_added}_{name}"] = result.table[column].array
    sections[0].obsm[f"{key_added}_posterior"] = result.posterior
    sections[0].uns[key_added] = storable(result.facts)
    report(result.messages)
    return result_of(adata, sections, copy=copy)
