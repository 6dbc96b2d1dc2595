"""Diffusion pseudotime of a unit."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import anndata as ad
import numpy as np
import pandas as pd
import scanpy as sc
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from mmsrl import _keys
from mmsrl._errors import InputError
from mmsrl._sections import (
    all_counted,
    in_pitches,
    members_of,
    sample_names,
    section_index,
    spot_table,
    stacked_counts,
    stacked_domains,
)
from mmsrl.heldout import BLOCK_SIDE, spatial_blocks
from mmsrl.trajectory.agreement import agreement, doubted, unsure_pairs
from mmsrl.trajectory.landmarks import LANDMARKS, between, drawn, of_nearest, within_components
from mmsrl.trajectory.root import Root, ends, parse, pseudotime, ranks, scaled_components, tip
from mmsrl.trajectory.trends import PER, Trends, trends

COMPONENTS = 15
"""Number of diffusion components."""

PAGA_EDGE = 0.05
"""Minimum PAGA connectivity of a listed pair of domains."""

MIN_SPOTS = 10
"""Minimum number of spots of a connected component to order it, and with counts of a gene to fit it."""

BLOCKS = 16
"""Approximate number of tissue blocks of the jackknife. Blocks exceed the range of spatial autocorrelation."""

LEAST_EXPLAINED = 0.05
"""Minimum explained variance of a gene that changes along pseudotime."""
SURE = 2.0
"""Number of standard errors by which the explained variance must exceed that minimum."""

LISTED = 20
"""Number of rising and of falling genes in the summary, with their curves."""


class Trajectory(NamedTuple):
    """Result of :func:`trajectory`."""

    spots: ad.AnnData
    """``obs``: ``sample``, ``barcode``, ``pseudotime`` (diffusion distance from the root, 0 to 1, NaN if not
    connected), ``pseudotime_rank`` (0 to 1), ``component``; ``obsm['X_umap']``; ``uns['paga']``."""
    genes: pd.DataFrame
    """``gene``, ``explained``, ``error``, ``correlation``, ``peak``, ``change``, ``changing``, by decreasing
    ``explained``."""
    facts: dict[str, Any]
    messages: list[dict[str, str]]


def trajectory(
    data: ad.AnnData | Sequence[ad.AnnData], *, root: str | None = None, n_neighbors: int = 15, seed: int = 0
) -> Trajectory:
    """Order spots by diffusion pseudotime, and fit genes along it; :func:`mmsrl.tl.trajectory` describes the method.

    Writes ``obs['pseudotime']``, ``obs['pseudotime_rank']`` and ``obsm['X_umap']`` to the sections.

    Parameters
    ----------
    data
        Sections of one unit: raw counts or normalised values in ``X``, ``obs['domain']``, ``obsm['spatial']``,
        ``obsm['X_mmsrl']``. Further members of the ensemble, in ``obsm['member_1']`` and so on, measure the stability
        of the order.
    root
        ``domain:NAME``, ``gene:NAME`` or ``spot:BARCODE`` (``spot:BARCODE-SAMPLE``). ``None``: no known direction.
    n_neighbors
        Number of neighbours in the k-nearest-neighbour graph, at least 2.
    seed
        Random seed of the landmarks, the layout and the graph.

    Raises
    ------
    InputError
        ``root`` cannot be parsed, or a section has no embedding, domains or coordinates.
    """
    wanted = parse(root)
    if n_neighbors < 2:
        raise InputError(f"n_neighbors {n_neighbors}: must be 2 or more")
    sections = [data] if isinstance(data, ad.AnnData) else list(data)
    messages: list[dict[str, str]] = []
    counts, genes = stacked_counts(sections)
    domain, names = stacked_domains(sections)
    section = section_index(sections)
    places = [in_pitches(adata) for adata in sections]
    spots = _spots(sections, domain, names)
    counted = all_counted(sections)
    library = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel() if counted else np.ones(len(domain))
    candidates, rule = _asked(wanted, spots, counts, library, genes, domain, names, messages)
    chosen = drawn(candidates, LANDMARKS, seed)
    landmarks = spots
    if len(chosen) < spots.n_obs:
        landmarks = spots[chosen].copy()
        text = f"{len(chosen):,} spots drawn at random form the graph: the other spots are interpolated between these"
        messages.append({"level": "info", "text": text})
    _join(landmarks, n_neighbors, seed)
    _lay_out(landmarks, seed)
    component_of_landmark, reached = _part(landmarks, candidates[chosen])
    if reached.sum() < MIN_SPOTS:
        those = "spots" if len(chosen) == spots.n_obs else f"of {len(chosen):,} landmarks"
        raise InputError(f"the connected component of the root has {reached.sum()} {those}; give another root")
    placed = within_components(between(spots.obsm[_keys.EMBEDDING], chosen), component_of_landmark)
    component, inside = of_nearest(placed, component_of_landmark), of_nearest(placed, reached)
    spots.obsm[_keys.UMAP] = np.asarray(placed @ landmarks.obsm[_keys.UMAP], dtype=np.float32)
    spots.uns["paga"] = _of_all_domains(landmarks.uns["paga"], list(landmarks.obs[_keys.DOMAIN].cat.categories), names)
    points = placed[inside][:, reached] @ _points(landmarks, reached, seed)
    at = tip(points, candidates[inside]) if candidates.any() else _larger_end(points, domain[inside])
    pseudotime_inside = pseudotime(points, at)
    for key, values in ((_keys.PSEUDOTIME, pseudotime_inside), (_keys.PSEUDOTIME_RANK, ranks(pseudotime_inside))):
        time = np.full(spots.n_obs, np.nan, dtype=np.float32)
        time[inside] = values
        spots.obs[key] = time
    spots.obs["component"] = component
    _tell_of_parts(component, inside, messages)
    about = _root_facts(spots, np.flatnonzero(inside)[[at, int(pseudotime_inside.argmax())]], root, rule, messages)
    others = [values[inside] for values in members_of(sections)[1:]]
    order = _order_facts(
        others, pseudotime_inside, domain[inside], names, candidates[inside], n_neighbors, seed, messages
    )
    blocks, per = _blocks(places)[inside], PER if counted else 1.0
    table, fitted = _genes(
        counts[inside], library[inside], genes, ranks(pseudotime_inside), section[inside], blocks, per, messages
    )
    facts = {
        "root": about,
        "n_neighbors": n_neighbors,
        "components": int(component.max()) + 1,
        "spots_without": int((~inside).sum()),
        "domains": names,
        "median_pseudotime": _medians(spots, _keys.PSEUDOTIME),
        "median_rank": _medians(spots, _keys.PSEUDOTIME_RANK),
        "order_agreement": order,
        "paga": _edges(spots, names),
        "expression": _keys.COUNTS if counted else _keys.NORMALISED,
        "n_genes_fitted": len(table),
        "n_changing": int(table["changing"].sum()),
        **_curves(table, fitted),
    }
    _write_back(sections, spots)
    return Trajectory(spots, table.drop(columns="column"), facts, messages)


def _spots(sections: Sequence[ad.AnnData], domain: NDArray[np.int64], names: list[str]) -> ad.AnnData:
    """Return the stacked spots with embedding and domain."""
    for name, adata in zip(sample_names(sections), sections, strict=True):
        if _keys.EMBEDDING not in adata.obsm:
            raise InputError(f"sample {name}: obsm['{_keys.EMBEDDING}'] is missing; train first")
    barcodes = [barcode for adata in sections for barcode in adata.obs_names]
    spots = ad.AnnData(
        obs=spot_table(sample_names(sections), section_index(sections), barcodes),
        obsm={_keys.EMBEDDING: np.concatenate([np.asarray(adata.obsm[_keys.EMBEDDING]) for adata in sections])},
    )
    spots.obs[_keys.DOMAIN] = pd.Categorical(np.asarray(names)[domain], names)
    return spots


def _join(spots: ad.AnnData, n_neighbors: int, seed: int) -> None:
    """Compute the k-nearest-neighbour graph of the embedding in ``obsp``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # umap warns that a seed means one thread
        neighbours = min(n_neighbors, spots.n_obs - 1)
        # Exact, because an approximate search takes most of a minute to compile.
        sc.pp.neighbors(spots, neighbours, use_rep=_keys.EMBEDDING, transformer="sklearn", random_state=seed)


def _lay_out(spots: ad.AnnData, seed: int) -> None:
    """Compute PAGA (``uns['paga']``) and UMAP (``obsm['X_umap']``)."""
    joined = sp.coo_matrix(spots.obsp["distances"])
    domain = spots.obs[_keys.DOMAIN].cat.codes.to_numpy()
    if (domain[joined.row] != domain[joined.col]).any():
        sc.tl.paga(spots, _keys.DOMAIN)
    else:  # scanpy fails without any edge between domains
        size = (len(spots.obs[_keys.DOMAIN].cat.categories),) * 2
        none = {kind: sp.csr_matrix(size) for kind in ("connectivities", "connectivities_tree")}
        spots.uns["paga"] = {**none, "groups": _keys.DOMAIN}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # umap warns that a seed means one thread
        sc.tl.umap(spots, random_state=seed)


def _of_all_domains(paga: dict[str, Any], seen: list[str], names: list[str]) -> dict[str, Any]:
    """Return PAGA matrices with rows and columns of all domains: 0 for domains without landmarks."""
    at = sp.csr_matrix(np.array([[name == other for other in seen] for name in names], dtype=np.float64))
    return paga | {kind: at @ paga[kind] @ at.T for kind in ("connectivities", "connectivities_tree")}


def _part(spots: ad.AnnData, candidates: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the connected component of each spot, (n,), and the mask of the component to order, (n,).

    This is the component with most of the ``candidates``, (n,), or the largest one if there are none.
    """
    _, component = connected_components(spots.obsp["connectivities"], directed=False)
    inside = component == np.bincount(component[candidates] if candidates.any() else component).argmax()
    return component.astype(np.int64), inside


def _points(spots: ad.AnnData, inside: NDArray[np.bool_], seed: int) -> NDArray[np.float64]:
    """Return the scaled diffusion components of a connected component, (n, k)."""
    part = spots[inside].copy()
    sc.tl.diffmap(part, n_comps=min(COMPONENTS, part.n_obs - 2), random_state=seed)
    return scaled_components(part.obsm["X_diffmap"], part.uns["diffmap_evals"])


def _asked(
    wanted: Root | None,
    spots: ad.AnnData,
    counts: sp.csr_matrix,
    library: NDArray[np.float64],
    genes: list[str],
    domain: NDArray[np.int64],
    names: list[str],
    messages: list[dict[str, str]],
) -> tuple[NDArray[np.bool_], str]:
    """Return the mask of the spots that match the root, (N,), all false if none does, and the rule in words."""
    nowhere = np.zeros(spots.n_obs, dtype=bool)
    if wanted is None:
        return nowhere, ""
    furthest = "the spot with the largest diffusion distance from all others"
    if wanted.kind == "spot":
        named = spots.obs_names == wanted.name
        candidates = np.asarray(named if named.any() else spots.obs[_keys.BARCODE] == wanted.name)
        rule = f"spot {wanted.name}, as given"
    elif wanted.kind == "domain":
        candidates = domain == (names.index(wanted.name) if wanted.name in names else -1)
        rule = f"{furthest}, in domain {wanted.name}"
    elif wanted.name in genes:
        values = np.asarray(counts[:, [genes.index(wanted.name)]].todense()).ravel()
        rate = np.bincount(domain, weights=values) / np.maximum(np.bincount(domain, weights=library), 1.0)
        candidates = domain == rate.argmax()
        rule = f"{furthest}, in domain {names[rate.argmax()]}, which has the highest expression of {wanted.name}"
    else:
        candidates, rule = nowhere, ""
    fault = "" if candidates.any() else "is not in this unit"
    if wanted.kind == "spot" and candidates.sum() > 1:
        spellings = " or ".join(f"spot:{name}" for name in spots.obs_names[candidates])
        fault, candidates = f"is in {candidates.sum()} sections (give {spellings})", nowhere
    if fault:
        text = f"root: {wanted.kind} {wanted.name} {fault}; the root is ignored"
        messages.append({"level": "warning", "text": text})
    return candidates, rule


def _larger_end(points: NDArray[np.float64], domain: NDArray[np.int64]) -> int:
    """Return the end of the longest diffusion distance in the domain with the lower number, which is larger.

    This is a convention: neither library sizes nor numbers of detected genes determine the direction.
    """
    return min(ends(points), key=lambda end: (domain[end], end))


def _tell_of_parts(
    component: NDArray[np.integer[Any]], inside: NDArray[np.bool_], messages: list[dict[str, str]]
) -> None:
    if inside.all():
        return
    sizes = np.bincount(component)
    largest = ", ".join(map(str, np.sort(sizes)[::-1][:5]))
    text = (
        f"the graph has {len(sizes)} connected components (the largest with {largest} spots): "
        f"{int((~inside).sum())} spots outside the component of the root have no pseudotime"
    )
    messages.append({"level": "warning", "text": text})


def _root_facts(
    spots: ad.AnnData, first_and_last: NDArray[np.int64], asked: str | None, rule: str, messages: list[dict[str, str]]
) -> dict[str, Any]:
    """Return the spots where pseudotime starts and ends, and the rule in words."""
    first, last = (
        {key: str(spots.obs[key].iloc[at]) for key in (_keys.SAMPLE, _keys.BARCODE, _keys.DOMAIN)}
        for at in first_and_last
    )
    known = bool(rule)
    if not known:
        rule = (
            f"direction unknown: pseudotime starts at one end of the longest diffusion distance, in domain "
            f"{first[_keys.DOMAIN]}, "
            f"and ends at the other, in domain {last[_keys.DOMAIN]}; give a root to set the direction"
        )
        messages.append({"level": "info", "text": rule})
    return {"asked": asked or None, "rule": rule, "direction_known": known, **first, "end": last}


def _order_facts(
    members: Sequence[NDArray[Any]],
    time: NDArray[np.float64],
    domain: NDArray[np.int64],
    names: list[str],
    candidates: NDArray[np.bool_],
    n_neighbors: int,
    seed: int,
    messages: list[dict[str, str]],
) -> dict[str, Any] | None:
    """Return the agreement of the other members on the order. ``None`` without other members."""
    if not members:
        text = "there is only one embedding: the stability of the order is unknown"
        messages.append({"level": "info", "text": text})
        return None

    def diffuse(
        embedding: NDArray[Any], asked: NDArray[np.bool_]
    ) -> tuple[NDArray[np.bool_], NDArray[np.float64] | None]:
        index = pd.RangeIndex(len(embedding)).astype(str)
        spots = ad.AnnData(obs=pd.DataFrame(index=index), obsm={_keys.EMBEDDING: embedding})
        _join(spots, n_neighbors, seed)
        inside = _part(spots, asked)[1]
        return inside, _points(spots, inside, seed) if inside.sum() >= MIN_SPOTS else None

    result = agreement(members, time, domain, names, candidates, diffuse, seed)
    doubts = doubted(result)
    if doubts:
        messages.append({"level": "warning", "text": f"the order is uncertain: {'; '.join(doubts)}"})
    return {
        "members": len(members),
        "correlation": result.correlation,
        "median_correlation": float(np.median(result.correlation)),
        "pairs": result.pairs,
        "unsure": unsure_pairs(result),
    }


def _blocks(places: Sequence[NDArray[np.float64]]) -> NDArray[np.int64]:
    """Return the tissue block of each spot, about :data:`BLOCKS` in total, (N,)."""
    # Spots have an area of about one squared spacing.
    return spatial_blocks(places, max(BLOCK_SIDE, float(np.sqrt(sum(map(len, places)) / BLOCKS))))


def _medians(spots: ad.AnnData, key: str) -> dict[str, float]:
    """Return the median over spots with a pseudotime, by domain."""
    medians = spots.obs.groupby(_keys.DOMAIN, observed=True)[key].median().dropna()
    return {str(name): float(value) for name, value in medians.items()}


def _genes(
    counts: sp.csr_matrix,
    library: NDArray[np.float64],
    genes: list[str],
    rank: NDArray[np.float64],
    section: NDArray[np.int64],
    blocks: NDArray[np.int64],
    per: float,
    messages: list[dict[str, str]],
) -> tuple[pd.DataFrame, Trends]:
    seen = np.flatnonzero(counts.getnnz(axis=0) >= MIN_SPOTS)
    fitted = trends(sp.csr_matrix(counts[:, seen]), library, rank, section, blocks, per)
    if np.isnan(fitted.error).any():
        text = "too little tissue for standard errors of trends: no gene is listed as changing"
        messages.append({"level": "info", "text": text})
    table = pd.DataFrame(
        {
            "gene": np.asarray(genes, dtype=object)[seen],
            "explained": fitted.explained,
            "error": fitted.error,
            "correlation": fitted.correlation,
            "peak": fitted.peak,
            "change": fitted.change,
            "changing": fitted.explained - SURE * fitted.error >= LEAST_EXPLAINED,
            "column": np.arange(len(seen)),
        }
    )
    return table.sort_values(["explained", "gene"], ascending=[False, True], ignore_index=True), fitted


def _curves(table: pd.DataFrame, fitted: Trends) -> dict[str, Any]:
    """Return the first genes with their fitted curves, for the report."""
    rises = table["correlation"] > 0
    first = table[table["changing"]].groupby(rises).head(LISTED)
    columns = ["gene", "explained", "error", "correlation", "peak", "change"]
    return {
        "grid": fitted.grid.round(4),
        "genes": first[columns].to_dict("records"),
        "curves": dict(zip(first["gene"], fitted.curves[:, first["column"].to_numpy()].T.round(4), strict=True)),
    }


def _edges(spots: ad.AnnData, names: list[str]) -> list[dict[str, Any]]:
    """Return PAGA connectivities of pairs of domains, strongest first."""
    connectivities = sp.coo_matrix(sp.triu(spots.uns["paga"]["connectivities"], k=1))
    edges = [
        {"one": names[i], "other": names[j], "connectivity": float(value)}
        for i, j, value in zip(connectivities.row, connectivities.col, connectivities.data, strict=True)
        if value >= PAGA_EDGE
    ]
    return sorted(edges, key=lambda edge: -edge["connectivity"])


def _write_back(sections: Sequence[ad.AnnData], spots: ad.AnnData) -> None:
    section = section_index(sections)
    for s, adata in enumerate(sections):
        for key in (_keys.PSEUDOTIME, _keys.PSEUDOTIME_RANK):
            adata.obs[key] = spots.obs[key].to_numpy()[section == s]
        adata.obsm[_keys.UMAP] = spots.obsm[_keys.UMAP][section == s]
