"""Genes of domains, genes along pseudotime, and de-noised expression."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anndata import AnnData


def markers(
    data: AnnData | Sequence[AnnData],
    groupby: str = "domain",
    *,
    gene_sets: Mapping[str, Sequence[str]] | None = None,
    preset: str = "default",
    readout: str = "gmm",
    seed: int = 0,
    domain_seed: int | None = None,
    n_jobs: int = 1,
    key_added: str = "markers",
    copy: bool = False,
    **training: Any,
) -> AnnData | list[AnnData] | None:
    """Test the genes of each domain, spatially variable genes, gene sets and the adjacency of domains.

    Domains are found from the counts, so a test on the same counts reports genes even in pure noise. Counts are
    therefore split. Domains are found again in one half of the molecules, and genes are tested in the held-out half:
    each domain against all others, within sections, with the library size as offset (:mod:`mmsrl.markers.offset`).
    With enough sections, pseudobulk sums are tested over sections too (:mod:`mmsrl.markers.pseudobulk`).

    There are no p-values for two kinds of data. A published model takes hours to train again. Normalised values cannot
    be split (:mod:`mmsrl.markers.values`). Both give effect sizes with confidence intervals.

    Parameters
    ----------
    data
        Sections of one unit, in memory, with the domains in ``obs`` and the input of :func:`train`.
    groupby
        Key of the domains in ``obs``.
    gene_sets
        Genes by name of the set.
    preset, readout
        Preset and clustering method that the domains were found with.
    seed
        Random seed of the training, the split of counts and the permutations.
    domain_seed
        Random seed of the clustering. ``None`` uses ``seed``.
    n_jobs
        Number of members that are clustered in parallel. It does not affect the result.
    key_added
        Key of the result.
    copy
        Return annotated copies instead of writing to ``data``.
    **training
        Further arguments of :func:`train` that the domains were found with.

    Returns
    -------
    ``None``, or copies if ``copy=True``, with a summary and these tables in ``uns[key_added]``:

    ``markers``
        One row for each domain and gene (:data:`mmsrl.markers.table.COLUMNS`, for normalised values
        :data:`mmsrl.markers.values.COLUMNS`).
    ``spatial``
        One row for each gene of the section: ``gene``, ``morans_i``, ``p_value``, ``p_adjusted``.
    ``neighbours``
        One row for each pair of domains of the section: ``domain``, ``neighbour``, ``contacts``, ``expected``, ``z``.
    ``gene_sets``
        One row for each domain and gene set, with over-representation p-values.

    Raises
    ------
    mmsrl.InputError
        A section has no domains or coordinates, or the sections share no genes.
    """
    from mmsrl import _keys
    from mmsrl._annotation import as_sections, report, result_of, shallow, storable
    from mmsrl._sections import sample_names
    from mmsrl.markers.api import markers as unit_markers

    sections = as_sections(data, copy=copy)
    result = unit_markers(
        [shallow(adata, obs={_keys.DOMAIN: groupby}) for adata in sections],
        gene_sets=gene_sets,
        preset=preset,
        readout=readout,
        seed=seed,
        domain_seed=domain_seed,
        threads=n_jobs,
        **training,
    )
    for name, adata in zip(sample_names(sections), sections, strict=True):
        spatial, neighbours = (
            table[table["sample"] == name].drop(columns="sample").reset_index(drop=True)
            for table in (result.spatial, result.neighbours)
        )
        tables = {"markers": result.genes, "spatial": spatial, "neighbours": neighbours, "gene_sets": result.gene_sets}
        adata.uns[key_added] = storable(result.facts | tables)
    report(result.messages)
    return result_of(data, sections, copy=copy)


def trajectory(
    data: AnnData | Sequence[AnnData],
    groupby: str = "domain",
    *,
    root: str | None = None,
    n_neighbors: int = 15,
    use_rep: str = "X_mmsrl",
    seed: int = 0,
    key_added: str = "pseudotime",
    copy: bool = False,
) -> AnnData | list[AnnData] | None:
    """Order spots by diffusion pseudotime on the embedding, and fit the expression of genes along it.

    Parameters
    ----------
    data
        Sections of one unit with expression in ``X``, ``obsm['spatial']``, domains and embedding. If the other members
        of the ensemble are in ``obsm['member_0']``, ``obsm['member_1']`` …, the summary tells how far they agree on
        the order.
    groupby
        Key of the domains in ``obs``.
    root
        Start of pseudotime: ``domain:NAME``, ``gene:NAME`` (the domain that expresses the gene most) or
        ``spot:BARCODE`` (``spot:BARCODE-SAMPLE`` if several sections have the barcode). In a domain, the root is the
        spot with the largest diffusion distance from all others. ``None`` orders spots along the longest diffusion
        distance. Its direction is then unknown: by convention it starts in the larger of the two domains at its ends.
    n_neighbors
        Number of neighbours in the k-nearest-neighbour graph, at least 2.
    use_rep
        Key of the embedding in ``obsm``.
    seed
        Random seed of the graph, the layout and the landmarks of large units.
    key_added
        Key of the result.
    copy
        Return annotated copies instead of writing to ``data``.

    Returns
    -------
    ``None``, or copies if ``copy=True``, with

    ``obs[key_added]``
        Diffusion pseudotime, float32, 0 to 1. NaN if the graph does not connect the spot to the root.
    ``obs[f'{key_added}_rank']``
        Rank of the pseudotime, float32, 0 to 1.
    ``obsm['X_umap']``
        UMAP layout of the embedding, (n_spots, 2) float32.
    ``uns[key_added]``
        Summary, with the PAGA connectivities of domains in ``paga``, the table ``genes`` (``gene``, ``explained``,
        ``error``, ``correlation``, ``peak``, ``change``, ``changing``) and the fitted ``curves`` of the first genes.

    Raises
    ------
    mmsrl.InputError
        ``root`` cannot be parsed, or a section has no embedding, domains or coordinates.
    """
    import pandas as pd

    from mmsrl import _keys
    from mmsrl._annotation import as_sections, report, result_of, rows_of, shallow, storable
    from mmsrl.trajectory.api import trajectory as unit_trajectory

    sections = as_sections(data, copy=copy)
    inputs = [shallow(adata, obs={_keys.DOMAIN: groupby}, obsm={_keys.EMBEDDING: use_rep}) for adata in sections]
    result = unit_trajectory(inputs, root=root, n_neighbors=n_neighbors, seed=seed)
    facts = dict(result.facts)
    curves = pd.DataFrame(facts.pop("curves"), index=facts.pop("grid").astype(str)).T
    for adata, rows in rows_of(sections):
        adata.obs[key_added] = result.spots.obs[_keys.PSEUDOTIME].to_numpy()[rows]
        adata.obs[f"{key_added}_rank"] = result.spots.obs[_keys.PSEUDOTIME_RANK].to_numpy()[rows]
        adata.obsm[_keys.UMAP] = result.spots.obsm[_keys.UMAP][rows]
        adata.uns[key_added] = storable(facts | {"genes": result.genes, "curves": curves})
    report(result.messages)
    return result_of(data, sections, copy=copy)


def enhance(
    data: AnnData | Sequence[AnnData],
    model: Mapping[str, Any] | str | Path | None = None,
    *,
    n_top_genes: int | None = None,
    n_enhanced_genes: int | None = None,
    enhanced_genes: str | Sequence[str] | None = None,
    seed: int = 0,
    key_added: str = "X_enhanced",
    copy: bool = False,
    **options: Any,
) -> AnnData | list[AnnData] | None:
    """De-noise expression, and test on held-out molecules for which genes this helps.

    The de-noised expression of a gene is a weighted mean of four estimates: a linear decoder of the embedding, counts
    pooled over the neighbourhood, the counts of the spot, and the mean of the gene. The weights of each gene maximise
    the likelihood of a quarter of the molecules, given estimates from one half. The last quarter tests the result.

    Parameters
    ----------
    data
        Sections of one unit with raw counts in ``X``, as for :func:`train`. With ``model``, also ``obsm['X_mmsrl']``.
    model
        Model file ``train/<unit>.model.npz`` of a run with preset ``default``, or its content. Genes, settings and
        embedding are taken from it. ``None`` computes the embedding here.
    n_top_genes
        Number of highly variable genes to model without ``model``. ``None`` uses the preset ``default``.
    n_enhanced_genes
        Number of genes to return, by decreasing gain over their mean. ``None`` returns the genes that de-noising
        improves, as far as memory allows (:data:`mmsrl.enhance.api.MAX_VALUES`).
    enhanced_genes
        Genes, or one gene, to return instead.
    seed
        Random seed of the split of counts and the embedding.
    key_added
        Key of the result.
    copy
        Return annotated copies instead of writing to ``data``.
    **options
        Further arguments of :func:`mmsrl.enhance.api.enhance`.

    Returns
    -------
    ``None``, or copies if ``copy=True``, with

    ``obsm[key_added]``
        DataFrame, float32, spots × genes: natural logarithm of 1 + de-noised counts per ``target_sum``.
    ``uns[key_added]``
        Summary, with ``target_sum`` and the verdict on each gene in the table ``genes``.

    Raises
    ------
    mmsrl.InputError
        ``X`` holds no counts, or the sections do not belong to the model.
    """
    from mmsrl import _keys
    from mmsrl._annotation import as_sections, report, result_of, rows_of, storable
    from mmsrl.enhance.api import enhance as enhance_unit
    from mmsrl.train.files import read_model

    sections = as_sections(data, copy=copy)
    result = enhance_unit(
        sections,
        read_model(Path(model)) if isinstance(model, (str, Path)) else model,
        n_top_genes=n_top_genes,
        n_enhanced_genes=n_enhanced_genes,
        enhanced_genes=enhanced_genes,
        seed=seed,
        **options,
    )
    values = result.spots.to_df()
    facts = result.facts | {"target_sum": result.spots.uns[_keys.UNS]["target_sum"], "genes": result.genes}
    for adata, rows in rows_of(sections):
        adata.obsm[key_added] = values.iloc[rows].set_axis(adata.obs_names)
        adata.uns[key_added] = storable(facts)
    report(result.messages)
    return result_of(data, sections, copy=copy)
