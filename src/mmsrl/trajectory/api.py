"""The trajectory of a unit."""

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
from scipy.stats import false_discovery_control

from mmsrl import _keys
from mmsrl._errors import InputError
from mmsrl._sections import sample_names, section_index, spot_table, stacked_counts, stacked_domains
from mmsrl.expression import log_normalised
from mmsrl.trajectory.root import Root, ends, parse, pseudotime, scaled_components, tip
from mmsrl.trajectory.trends import Trends, trends

COMPONENTS = 15
"""Of the diffusion map."""

MIN_SPOTS = 10
"""A component of the graph with fewer spots has no order of its own; genes seen in fewer are not tested."""

FDR = 0.05
LEAST_EXPLAINED = 0.05
"""Share of its variance over spots that pseudotime explains of a gene that changes along it; p-values alone, which are
too small, call half of the genes changing."""

LISTED = 20
"""Genes that rise, and genes that fall, that go into the summary with their curves."""

PAGA_EDGE = 0.05
"""Connections between domains that are weaker than this are not listed."""


class Trajectory(NamedTuple):
    """Order of the spots of a unit."""

    spots: ad.AnnData
    """``obs``: ``sample``, ``barcode``, ``pseudotime`` (0 to 1, NaN where the root cannot be reached), ``component``;
    ``obsm['X_umap']``; ``uns['paga']``."""
    genes: pd.DataFrame
    """``gene``, ``f``, ``p_value``, ``p_adjusted``, ``explained``, ``correlation``, ``peak``, ``change``; those that
    follow pseudotime best come first."""
    facts: dict[str, Any]
    messages: list[dict[str, str]]


def trajectory(
    data: ad.AnnData | Sequence[ad.AnnData], *, root: str | None = None, n_neighbors: int = 15, seed: int = 0
) -> Trajectory:
    """Order spots by diffusion pseudotime on the embedding, and find the genes that change along it.

    Writes ``obs['pseudotime']`` and ``obsm['X_umap']`` to the sections. Spots that are not connected to the root have
    no pseudotime (NaN), as nothing says how far they are.

    Parameters
    ----------
    data
        Sections of one unit: raw counts in ``X``, ``obs['domain']``, ``obsm['X_mmsrl']``.
    root
        ``domain:NAME``, ``gene:NAME`` (the domain with the most of it) or ``spot:BARCODE``, in a group
        ``spot:BARCODE-SAMPLE`` where several of its sections have the barcode; of a domain, the spot
        furthest from all others in diffusion distance. Without it, one of the two ends of the longest way in diffusion
        distance: the one around which more genes are detected, as they are in less differentiated cells (Gulati et
        al., Science 367, 405-411, 2020).
    n_neighbors
        Neighbours in the graph, 2 or more.
    seed
        Of the layout and the nearest neighbours.

    Raises
    ------
    InputError
        If ``root`` cannot be read, or a section has no embedding or domains.
    """
    wanted = parse(root)
    if n_neighbors < 2:
        raise InputError(f"n_neighbors {n_neighbors}: must be 2 or more")
    sections = [data] if isinstance(data, ad.AnnData) else list(data)
    messages: list[dict[str, str]] = []
    counts, genes = stacked_counts(sections)
    domain, names = stacked_domains(sections)
    spots = _graph(sections, domain, names, n_neighbors, seed)
    n_components, component = connected_components(spots.obsp["connectivities"], directed=False)
    candidates, rule = _asked(wanted, spots, counts, genes, domain, names, messages)
    # Of what was asked for, the part of the graph that holds most of it; else the largest part.
    inside = component == np.bincount(component[candidates] if candidates.any() else component).argmax()
    part = spots[inside].copy()
    if part.n_obs < MIN_SPOTS:
        raise InputError(f"the root's part of the graph has {part.n_obs} spots; give a root within the tissue")
    sc.tl.diffmap(part, n_comps=min(COMPONENTS, part.n_obs - 2), random_state=seed)
    points = scaled_components(part.obsm["X_diffmap"], part.uns["diffmap_evals"])
    if candidates.any():
        at = tip(points, candidates[inside])
    else:
        at = _richer_end(part, points, counts[inside])
        rule = "of the two ends of the longest way in diffusion distance, the one around which more genes are detected"
    time = np.full(spots.n_obs, np.nan, dtype=np.float32)
    time[inside] = pseudotime(points, at)
    spots.obs[_keys.PSEUDOTIME] = time
    spots.obs["component"] = component.astype(np.int64)
    if n_components > 1:
        sizes = np.bincount(component)
        largest = ", ".join(map(str, np.sort(sizes)[::-1][:5]))
        text = (
            f"the spots form {n_components} parts that nothing connects (the largest of {largest} spots): "
            f"{int((~inside).sum())} spots outside of the root's part have no pseudotime"
        )
        messages.append({"level": "warning", "text": text})
    table, fitted = _genes(counts[inside], genes, time[inside])
    root_spot = int(np.flatnonzero(inside)[at])
    medians = {name: float(np.nanmedian(time[own])) for name, own in _reached(time, domain, names)}
    facts = {
        "root": {
            "asked": root or None,
            "rule": rule,
            "sample": str(spots.obs[_keys.SAMPLE].iloc[root_spot]),
            "barcode": str(spots.obs[_keys.BARCODE].iloc[root_spot]),
            "domain": names[domain[root_spot]],
        },
        "n_neighbors": n_neighbors,
        "components": int(n_components),
        "spots_without": int((~inside).sum()),
        "domains": names,
        "median_pseudotime": medians,
        "paga": _edges(spots, names),
        "n_genes_tested": len(table),
        "n_changing": int(((table["p_adjusted"] < FDR) & (table["explained"] >= LEAST_EXPLAINED)).sum()),
        **_curves(table, fitted),
    }
    _write_back(sections, spots)
    return Trajectory(spots, table.drop(columns="column"), facts, messages)


def _graph(
    sections: Sequence[ad.AnnData], domain: NDArray[np.int64], names: list[str], n_neighbors: int, seed: int
) -> ad.AnnData:
    """Return the stacked spots with neighbours, UMAP and PAGA."""
    for name, adata in zip(sample_names(sections), sections, strict=True):
        if _keys.EMBEDDING not in adata.obsm:
            raise InputError(f"sample {name}: obsm['{_keys.EMBEDDING}'] is missing; train first")
    barcodes = [barcode for adata in sections for barcode in adata.obs_names]
    spots = ad.AnnData(
        obs=spot_table(sample_names(sections), section_index(sections), barcodes),
        obsm={_keys.EMBEDDING: np.concatenate([np.asarray(adata.obsm[_keys.EMBEDDING]) for adata in sections])},
    )
    spots.obs[_keys.DOMAIN] = pd.Categorical(np.asarray(names)[domain], names)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # umap says that a seed means one thread
        neighbours = min(n_neighbors, spots.n_obs - 1)
        sc.pp.neighbors(spots, n_neighbors=neighbours, use_rep=_keys.EMBEDDING, random_state=seed)
        _connect(spots, domain, names)
        sc.tl.umap(spots, random_state=seed)
    return spots


def _connect(spots: ad.AnnData, domain: NDArray[np.int64], names: list[str]) -> None:
    """Write how strongly domains connect to ``uns['paga']``; scanpy fails where nothing connects any two."""
    joined = sp.coo_matrix(spots.obsp["distances"])
    if (domain[joined.row] != domain[joined.col]).any():
        sc.tl.paga(spots, _keys.DOMAIN)
    else:
        none = {kind: sp.csr_matrix((len(names),) * 2) for kind in ("connectivities", "connectivities_tree")}
        spots.uns["paga"] = {**none, "groups": _keys.DOMAIN}


def _asked(
    wanted: Root | None,
    spots: ad.AnnData,
    counts: sp.csr_matrix,
    genes: list[str],
    domain: NDArray[np.int64],
    names: list[str],
    messages: list[dict[str, str]],
) -> tuple[NDArray[np.bool_], str]:
    """Return the spots that are what was asked for, (N,), none where it is not in this unit, and the rule in words."""
    nowhere = np.zeros(spots.n_obs, dtype=bool)
    if wanted is None:
        return nowhere, ""
    furthest = "furthest from all others in diffusion distance"
    if wanted.kind == "spot":
        named = spots.obs_names == wanted.name
        found = np.asarray(named if named.any() else spots.obs[_keys.BARCODE] == wanted.name)
        rule = f"spot {wanted.name}, as given"
    elif wanted.kind == "domain":
        found = domain == (names.index(wanted.name) if wanted.name in names else -1)
        rule = f"the spot of domain {wanted.name} {furthest}"
    elif wanted.name in genes:
        values = np.asarray(counts[:, [genes.index(wanted.name)]].todense()).ravel()
        library = np.asarray(counts.sum(axis=1)).ravel()
        rate = np.bincount(domain, weights=values) / np.maximum(np.bincount(domain, weights=library), 1.0)
        found = domain == rate.argmax()
        rule = f"the spot of domain {names[rate.argmax()]}, which has the most {wanted.name}, {furthest}"
    else:
        found, rule = nowhere, ""
    fault = "" if found.any() else "is not in this unit"
    if wanted.kind == "spot" and found.sum() > 1:
        told = " or ".join(f"spot:{name}" for name in spots.obs_names[found])
        fault, found = f"is in {found.sum()} sections ({told} says which)", nowhere
    if fault:
        text = f"root: {wanted.kind} {wanted.name} {fault}; the root was found as without one"
        messages.append({"level": "warning", "text": text})
    return found, rule


def _richer_end(part: ad.AnnData, points: NDArray[np.float64], counts: sp.csr_matrix) -> int:
    """Return the end of the longest way around which more genes are detected."""
    graph = part.obsp["connectivities"]
    detected = graph @ np.diff(counts.indptr).astype(np.float64) / np.asarray(graph.sum(axis=1)).ravel()
    one, other = ends(points)
    return one if detected[one] >= detected[other] else other


def _reached(
    time: NDArray[np.float32], domain: NDArray[np.int64], names: list[str]
) -> list[tuple[str, NDArray[np.bool_]]]:
    """Return the domains that have spots with a pseudotime, and all their spots, (N,)."""
    return [(name, domain == k) for k, name in enumerate(names) if np.isfinite(time[domain == k]).any()]


def _genes(counts: sp.csr_matrix, genes: list[str], time: NDArray[np.float32]) -> tuple[pd.DataFrame, Trends]:
    library = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
    seen = np.flatnonzero(counts.getnnz(axis=0) >= MIN_SPOTS)
    fitted = trends(log_normalised(sp.csr_matrix(counts[:, seen]), library), time)
    table = pd.DataFrame(
        {
            "gene": np.asarray(genes, dtype=object)[seen],
            "f": fitted.f,
            "p_value": fitted.p_value,
            "p_adjusted": false_discovery_control(fitted.p_value) if len(seen) else [],
            "explained": fitted.explained,
            "correlation": fitted.correlation,
            "peak": fitted.peak,
            "change": fitted.change,
            "column": np.arange(len(seen)),
        }
    )
    return table.sort_values(["explained", "gene"], ascending=[False, True], ignore_index=True), fitted


def _curves(table: pd.DataFrame, fitted: Trends) -> dict[str, Any]:
    """Return the first genes with their curves, for the report."""
    rises = table["correlation"] > 0
    first = table[table["p_adjusted"] < FDR].groupby(rises).head(LISTED)
    columns = ["gene", "explained", "correlation", "peak", "change", "p_adjusted"]
    return {
        "grid": fitted.grid.round(4),
        "genes": first[columns].to_dict("records"),
        "curves": dict(zip(first["gene"], fitted.curves[:, first["column"].to_numpy()].T.round(4), strict=True)),
    }


def _edges(spots: ad.AnnData, names: list[str]) -> list[dict[str, Any]]:
    """Return the connections between domains as PAGA measures them, the strongest first."""
    found = sp.coo_matrix(sp.triu(spots.uns["paga"]["connectivities"], k=1))
    edges = [
        {"one": names[i], "other": names[j], "connectivity": float(value)}
        for i, j, value in zip(found.row, found.col, found.data, strict=True)
        if value >= PAGA_EDGE
    ]
    return sorted(edges, key=lambda edge: -edge["connectivity"])


def _write_back(sections: Sequence[ad.AnnData], spots: ad.AnnData) -> None:
    section = section_index(sections)
    for s, adata in enumerate(sections):
        adata.obs[_keys.PSEUDOTIME] = spots.obs[_keys.PSEUDOTIME].to_numpy()[section == s]
        adata.obsm[_keys.UMAP] = spots.obsm[_keys.UMAP][section == s]
