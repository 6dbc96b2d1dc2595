"""The sections of a unit with what was found of them, as the stages after ``domains`` take them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

from mmsrl import _keys, geometry
from mmsrl._counts import not_counts
from mmsrl._errors import InputError
from mmsrl._genes import names_in_unit
from mmsrl._hdf5 import read_stage_file
from mmsrl._palette import natural_order
from mmsrl._tables import read_domains, rows_of
from mmsrl.heldout import in_block_unit

CHECKED_VALUES = 1_000_000
"""Values that are looked at at a time for whether they are counts."""

BLOCK_SPOTS = 20_000
"""Spots that are read at a time from a file that stays open."""


def read_unit(counts: Sequence[Path], domains: Path, embedding: Path | None = None) -> list[ad.AnnData]:
    """Read the sections of a unit, sorted by sample, each with ``obs['domain']``.

    Parameters
    ----------
    counts
        ``<sample>.qc.h5ad`` of every section.
    domains
        ``<unit>.domains.csv``.
    embedding
        ``<unit>.embedding.h5ad``; where it is given, sections also have ``obsm['X_mmsrl']`` and the members of the
        ensemble, ``obsm['member_0']`` and so on.

    Raises
    ------
    InputError
        If a file is damaged or not one of mmsrl, a sample is given twice, or a spot has no domain or embedding.
    """
    sections: dict[str, ad.AnnData] = {}
    for path in counts:
        adata = read_stage_file(path, "qc")
        sample = sample_of(adata)
        if sample in sections:
            raise InputError(f"{path.name}: sample {sample} is given twice")
        sections[sample] = adata
    add_domains(list(sections.values()), domains)
    if embedding is not None:
        add_embedding(list(sections.values()), embedding)
    # The order of arrival must not matter for the result.
    return [sections[sample] for sample in sorted(sections)]


def add_domains(sections: Sequence[ad.AnnData], domains: Path) -> None:
    """Read ``<unit>.domains.csv`` and write each section's own rows to its ``obs['domain']``, categorical.

    Raises
    ------
    InputError
        If the file is damaged, or a spot has no domain.
    """
    table = read_domains(domains)
    categories = natural_order(table[_keys.DOMAIN])
    for adata in sections:
        own = table[_keys.DOMAIN].to_numpy()[rows_of(sample_of(adata), adata.obs_names.tolist(), table, domains.name)]
        adata.obs[_keys.DOMAIN] = pd.Categorical(own, categories)


def add_embedding(sections: Sequence[ad.AnnData], embedding: Path) -> None:
    """Read ``<unit>.embedding.h5ad`` and write each section's own rows to ``obsm``: ``X_mmsrl`` and the members.

    Raises
    ------
    InputError
        If the file is damaged or not one of mmsrl, or a spot has no embedding.
    """
    embedded = read_stage_file(embedding, "train")
    located = embedded.obs[[_keys.SAMPLE, _keys.BARCODE]]
    for adata in sections:
        rows = rows_of(sample_of(adata), adata.obs_names.tolist(), located, embedding.name)
        for key in (_keys.EMBEDDING, *member_keys(embedded)):
            adata.obsm[key] = np.asarray(embedded.obsm[key])[rows]


def design_columns(entry: Mapping[str, Any]) -> dict[str, str]:
    """Return what a sample's part in a study is, by column of ``obs``, without what is not given.

    Parameters
    ----------
    entry
        ``condition`` and ``donor``, possibly ``None``, and ``covariates`` by name.
    """
    given = {_keys.CONDITION: entry[_keys.CONDITION], _keys.DONOR: entry[_keys.DONOR]}
    given |= {_keys.COVARIATE + name: value for name, value in entry["covariates"].items()}
    return {name: value for name, value in given.items() if value is not None}


def member_keys(adata: ad.AnnData) -> list[str]:
    """Return the keys of the members of an ensemble in ``obsm``, in the order of their numbers."""
    keys = [key for key in adata.obsm if key.startswith(_keys.MEMBER)]
    return sorted(keys, key=lambda key: int(key.removeprefix(_keys.MEMBER)))


def members_of(sections: Sequence[ad.AnnData]) -> list[np.ndarray]:
    """Return the members of an ensemble, each of all stacked spots, (N, d); none where a section has none."""
    shared = [key for key in member_keys(sections[0]) if all(key in adata.obsm for adata in sections)]
    return [np.concatenate([np.asarray(adata.obsm[key]) for adata in sections]) for key in shared]


def sample_of(adata: ad.AnnData, default: str = "section") -> str:
    """Return the sample that an AnnData is of."""
    return str(adata.uns.get(_keys.UNS, {}).get(_keys.SAMPLE, default))


def sample_names(sections: Sequence[ad.AnnData]) -> list[str]:
    """Return the samples of several sections, all different.

    Raises
    ------
    InputError
        If two have one name.
    """
    names = [sample_of(adata, f"section{i + 1}") for i, adata in enumerate(sections)]
    if len(set(names)) < len(names):
        raise InputError(f"sections must have different names in uns['mmsrl']['sample']; got {', '.join(names)}")
    return names


def section_index(sections: Sequence[ad.AnnData]) -> np.ndarray:
    """Return for every spot of the stacked sections the position of its section, (N,) int64."""
    return np.repeat(np.arange(len(sections)), [adata.n_obs for adata in sections])


def spot_table(samples: Sequence[str], section: np.ndarray, barcodes: Sequence[str]) -> pd.DataFrame:
    """Return sample and barcode of stacked spots, named by barcode, ``<barcode>-<sample>`` of several sections.

    Parameters
    ----------
    samples
        Of the sections.
    section
        (N,), the position of each spot's section.
    barcodes
        (N,).
    """
    rows = np.asarray(samples, dtype=object)[section]
    names = [f"{barcode}-{sample}" for barcode, sample in zip(barcodes, rows, strict=True)]
    index = pd.Index(names if len(samples) > 1 else list(barcodes), dtype=object)
    return pd.DataFrame({_keys.SAMPLE: rows, _keys.BARCODE: list(barcodes)}, index=index)


def um_per_px(about: Mapping[str, Any]) -> float:
    """Return the µm of a full-resolution pixel by ``uns['mmsrl']``; NaN where they are not known."""
    return float(about.get(_keys.UM_PER_PX, np.nan))


def spot_diameter(about: Mapping[str, Any]) -> float:
    """Return the width of a spot in full-resolution pixels by ``uns['mmsrl']``; four fifths of a pitch if not told."""
    told = float(about.get(_keys.SPOT_DIAMETER_PX, np.nan))
    return told if np.isfinite(told) else 0.8 * float(about.get(_keys.PITCH_PX, np.nan))


def finest_image(library: Mapping[str, Any]) -> tuple[np.ndarray, float] | None:
    """Return the finest tissue image of an entry of ``uns['spatial']`` and its scale, ``None`` where there is none."""
    for size in ("hires", "lowres"):
        image = library.get("images", {}).get(size)
        scale = library.get("scalefactors", {}).get(f"tissue_{size}_scalef")
        if image is not None and scale is not None:
            return np.asarray(image), float(scale)
    return None


SEVERAL_CELLS_UM = 30.0
"""Pitch from which a spot covers several cells."""


def in_pitches(adata: ad.AnnData) -> np.ndarray:
    """Return the coordinates of a section, (n, 2) float64, in spot pitches.

    Raises
    ------
    InputError
        If there are none, some are not finite, or no two spots have places of their own.
    """
    if _keys.SPATIAL not in adata.obsm:
        raise InputError(f"obsm['{_keys.SPATIAL}'] is missing: the spots' coordinates are needed")
    points = np.asarray(adata.obsm[_keys.SPATIAL], dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 2:
        raise InputError(f"obsm['{_keys.SPATIAL}'] has shape {points.shape}: x and y of every spot are needed")
    lost = ~np.isfinite(points).all(axis=1)
    if lost.any():
        first = adata.obs_names[int(lost.argmax())]
        raise InputError(f"obsm['{_keys.SPATIAL}']: {lost.sum()} spots have no coordinates, such as {first}")
    pitch = float(adata.uns.get(_keys.UNS, {}).get(_keys.PITCH_PX, np.nan))
    if not np.isfinite(pitch):
        pitch = geometry.measure(points).pitch
    if not np.isfinite(pitch):
        raise InputError(f"obsm['{_keys.SPATIAL}']: no spot lies at a place of its own")
    return points / pitch


def _pitch_um(adata: ad.AnnData) -> float:
    return float(adata.uns.get(_keys.UNS, {}).get(_keys.PITCH_UM, np.nan))


def graph_places(adata: ad.AnnData) -> np.ndarray:
    """Return the coordinates on which the default's graph is built, (n, 2) float64: its widths are in their unit.

    That is a spot pitch, but no more than that of Visium where spots lie further apart (legacy Spatial Transcriptomics:
    200 µm): tissue is as finely built beneath a coarse array.
    """
    pitch_um = _pitch_um(adata)
    widest = geometry.VISIUM_PITCH_UM
    return in_pitches(adata) * (pitch_um / widest if pitch_um > widest else 1.0)


def of_cell_size(adata: ad.AnnData) -> bool:
    """Tell whether spots are cells, or bins of that size, rather than averages of several cells.

    By the pitch where it is known in micrometres; else irregular places are cells, those on a lattice are spots.
    """
    pitch_um = _pitch_um(adata)
    if np.isfinite(pitch_um):
        return pitch_um < SEVERAL_CELLS_UM
    lattice = adata.uns.get(_keys.UNS, {}).get(_keys.LATTICE)
    return (lattice or geometry.measure(np.asarray(adata.obsm[_keys.SPATIAL])).lattice) == "none"


def image_places(adata: ad.AnnData) -> np.ndarray:
    """Return the coordinates by which tissue is held out to judge the image: :func:`mmsrl.heldout.in_block_unit`."""
    return in_block_unit(in_pitches(adata), _pitch_um(adata))


def gene_names(sections: Sequence[ad.AnnData]) -> list[pd.Index[str]]:
    """Return the names that genes of every section have in a unit (:func:`mmsrl._genes.names_in_unit`)."""
    return names_in_unit([adata.var for adata in sections])


def common_genes(sections: Sequence[ad.AnnData]) -> list[str]:
    """Return the genes that all sections have, in the order of the first.

    Genes are the same if their ids are; where a section has no ids, if their names are.

    Raises
    ------
    InputError
        If there are none, or names are not unique.
    """
    for name, adata in zip(sample_names(sections), sections, strict=True):
        if not adata.var_names.is_unique:
            raise InputError(f"sample {name}: gene names are not unique; var_names_make_unique() makes them so")
    names_of = gene_names(sections)
    shared = set.intersection(*map(set, names_of))
    genes = [gene for gene in names_of[0] if gene in shared]
    if not genes:
        names = ", ".join(sample_names(sections))
        raise InputError(f"sections {names} have no gene in common; are they of one species and naming?")
    return genes


def common_target(samples: Sequence[ad.AnnData]) -> float:
    """Return the median total count of all spots of a unit, to which every spot is scaled."""
    totals = np.concatenate([np.asarray(adata.X.sum(axis=1)).ravel() for adata in samples])
    return float(np.median(totals[totals > 0]))


def stacked_counts(sections: Sequence[ad.AnnData]) -> tuple[sp.csr_matrix, list[str]]:
    """Return the raw counts, or normalised values, of the genes that all sections have, and their names.

    (N, G) float32 CSR and (G,).

    Raises
    ------
    InputError
        If no gene is in all sections.
    """
    genes = common_genes(sections)
    return counts_of(sections, genes)[0], genes


def is_counted(adata: ad.AnnData) -> bool:
    """Tell whether ``X`` holds counts of molecules, rather than values that somebody normalised."""
    return bool(adata.uns.get(_keys.UNS, {}).get(_keys.EXPRESSION, _keys.COUNTS) == _keys.COUNTS)


def all_counted(sections: Sequence[ad.AnnData]) -> bool:
    """Tell whether the sections hold counts, rather than normalised values.

    Raises
    ------
    InputError
        If some do and others do not.
    """
    counted = [is_counted(adata) for adata in sections]
    if len(set(counted)) > 1:
        names = np.asarray(sample_names(sections))
        one, other = (", ".join(names[np.asarray(counted) == kind]) for kind in (True, False))
        raise InputError(
            f"sections {one} hold counts, but {other} normalised values; give each kind a group of its own"
        )
    return counted[0]


def counts_of(
    sections: Sequence[ad.AnnData], genes: Sequence[str], spots: np.ndarray | None = None
) -> tuple[sp.csr_matrix, np.ndarray]:
    """Return the raw counts, or normalised values, of some genes, and each spot's total over all genes.

    (N, G) float32 CSR and (N,) float64.

    Only what differs from zero is stored; nothing is copied that can be used as it is. Sections whose file is open
    (``backed="r"``) are read some spots at a time, so that no more is ever in memory than what was asked for.

    Parameters
    ----------
    genes
        All sections have them.
    spots
        (N,), which of the stacked spots, ascending; all if not given.

    Raises
    ------
    InputError
        If values are no counts, and not said to be normalised.
    """
    counts, totals = [], []
    first = 0
    for name, adata, own in zip(sample_names(sections), sections, gene_names(sections), strict=True):
        columns = own.get_indexer(pd.Index(genes))
        whole = np.array_equal(columns, np.arange(adata.n_vars))
        for start, block in _blocks(adata):
            if is_counted(adata):
                must_be_counts(block.data, name, adata)
            if spots is not None:
                low, high = np.searchsorted(spots, [first + start, first + start + block.shape[0]])
                block = block[spots[low:high] - first - start]
            totals.append(np.asarray(block.sum(axis=1), dtype=np.float64).ravel())
            counts.append(block if whole else sp.csr_matrix(block[:, columns]))
        first += adata.n_obs
    stacked = counts[0] if len(counts) == 1 else sp.csr_matrix(sp.vstack(counts, format="csr"))
    if not stacked.data.all():
        stacked = stacked.copy()
        stacked.eliminate_zeros()
    return stacked, np.concatenate(totals)


def must_be_counts(values: np.ndarray, sample: str, adata: ad.AnnData) -> None:
    """Raise InputError where ``values``, of ``X``, are no counts."""
    parts = (values[start : start + CHECKED_VALUES] for start in range(0, len(values), CHECKED_VALUES))
    if any(not_counts(part) for part in parts):
        hint = "; layers['counts'] has some" if "counts" in adata.layers else ""
        raise InputError(f"sample {sample}: X must hold raw counts, but {not_counts(values)}{hint}")


def _blocks(adata: ad.AnnData) -> Iterator[tuple[int, sp.csr_matrix]]:
    """Yield the counts of successive spots with the position of the first; all at once what is in memory."""
    step = BLOCK_SPOTS if adata.isbacked else adata.n_obs
    for start in range(0, adata.n_obs, step):
        part = adata.X[start : start + step] if adata.isbacked else adata.X
        yield start, sp.csr_matrix(part, dtype=np.float32)


def stacked_domains(sections: Sequence[ad.AnnData]) -> tuple[np.ndarray, list[str]]:
    """Return the domain of every spot as its position in the names of the domains, (N,) int64, and these names.

    Raises
    ------
    InputError
        If a section has no domains.
    """
    for name, adata in zip(sample_names(sections), sections, strict=True):
        if _keys.DOMAIN not in adata.obs or adata.obs[_keys.DOMAIN].isna().any():
            raise InputError(f"sample {name}: every spot must have a domain in obs['{_keys.DOMAIN}']")
    labels = np.concatenate([adata.obs[_keys.DOMAIN].astype(str).to_numpy() for adata in sections])
    names = natural_order(labels)
    return pd.Categorical(labels, names).codes.astype(np.int64), names
