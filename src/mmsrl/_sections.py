"""Access to the sections of a unit: counts, coordinates, domains and embeddings for the later stages."""

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
"""Number of values tested for counts at a time."""

BLOCK_SPOTS = 20_000
"""Number of spots read at a time from a backed file."""


def read_unit(counts: Sequence[Path], domains: Path, embedding: Path | None = None) -> list[ad.AnnData]:
    """Read the sections of a unit, sorted by sample, each with ``obs['domain']``.

    Parameters
    ----------
    counts
        ``<sample>.qc.h5ad`` of every section.
    domains
        ``<unit>.domains.csv``.
    embedding
        ``<unit>.embedding.h5ad``. If given, sections get ``obsm['X_mmsrl']`` and the members of the ensemble,
        ``obsm['member_0']`` and so on.

    Raises
    ------
    InputError
        A file is damaged or not from mmsrl, a sample is duplicated, or a spot has no domain or embedding.
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
    # The result must not depend on the order of the input files.
    return [sections[sample] for sample in sorted(sections)]


def add_domains(sections: Sequence[ad.AnnData], domains: Path) -> None:
    """Read ``<unit>.domains.csv``, and write ``obs['domain']`` (categorical) of each section.

    Raises
    ------
    InputError
        The file is damaged, or a spot has no domain.
    """
    table = read_domains(domains)
    categories = natural_order(table[_keys.DOMAIN])
    for adata in sections:
        own = table[_keys.DOMAIN].to_numpy()[rows_of(sample_of(adata), adata.obs_names.tolist(), table, domains.name)]
        adata.obs[_keys.DOMAIN] = pd.Categorical(own, categories)


def add_embedding(sections: Sequence[ad.AnnData], embedding: Path, *, latent: bool = False) -> None:
    """Read ``<unit>.embedding.h5ad``, and write ``obsm['X_mmsrl']`` and the members of each section.

    With ``latent``, the latent representation of a published preset, which is large, is written too.

    Raises
    ------
    InputError
        The file is damaged or not from mmsrl, or a spot has no embedding.
    """
    embedded = read_stage_file(embedding, "train")
    located = embedded.obs[[_keys.SAMPLE, _keys.BARCODE]]
    representation = [_keys.LATENT] if latent and _keys.LATENT in embedded.obsm else []
    for adata in sections:
        rows = rows_of(sample_of(adata), adata.obs_names.tolist(), located, embedding.name)
        for key in (_keys.EMBEDDING, *representation, *member_keys(embedded)):
            adata.obsm[key] = np.asarray(embedded.obsm[key])[rows]


def design_columns(entry: Mapping[str, Any]) -> dict[str, str]:
    """Return condition, donor and covariates of a sample by column of ``obs``, without missing values.

    Parameters
    ----------
    entry
        ``condition`` and ``donor``, possibly ``None``, and ``covariates`` by name.
    """
    given = {_keys.CONDITION: entry[_keys.CONDITION], _keys.DONOR: entry[_keys.DONOR]}
    given |= {_keys.COVARIATE + name: value for name, value in entry["covariates"].items()}
    return {name: value for name, value in given.items() if value is not None}


def member_keys(adata: ad.AnnData) -> list[str]:
    """Return the keys of the ensemble members in ``obsm``, in numerical order."""
    keys = [key for key in adata.obsm if key.startswith(_keys.MEMBER)]
    return sorted(keys, key=lambda key: int(key.removeprefix(_keys.MEMBER)))


def members_of(sections: Sequence[ad.AnnData]) -> list[np.ndarray]:
    """Return the ensemble members of all stacked spots, (N, d) each; empty if a section has none."""
    shared = [key for key in member_keys(sections[0]) if all(key in adata.obsm for adata in sections)]
    return [np.concatenate([np.asarray(adata.obsm[key]) for adata in sections]) for key in shared]


def sample_of(adata: ad.AnnData, default: str = "section") -> str:
    """Return the name of the sample of an AnnData."""
    return str(adata.uns.get(_keys.UNS, {}).get(_keys.SAMPLE, default))


def sample_names(sections: Sequence[ad.AnnData]) -> list[str]:
    """Return the sample names of several sections.

    Raises
    ------
    InputError
        A name is duplicated.
    """
    names = [sample_of(adata, f"section{i + 1}") for i, adata in enumerate(sections)]
    if len(set(names)) < len(names):
        raise InputError(f"sections must have different names in uns['mmsrl']['sample']; got {', '.join(names)}")
    return names


def section_index(sections: Sequence[ad.AnnData]) -> np.ndarray:
    """Return the section index of every stacked spot, (N,) int64."""
    return np.repeat(np.arange(len(sections)), [adata.n_obs for adata in sections])


def spot_table(samples: Sequence[str], section: np.ndarray, barcodes: Sequence[str]) -> pd.DataFrame:
    """Return sample and barcode of stacked spots, indexed by barcode, or ``<barcode>-<sample>`` of several sections.

    Parameters
    ----------
    samples
        Names of the sections.
    section
        (N,) section index of each spot.
    barcodes
        (N,) barcodes.
    """
    rows = np.asarray(samples, dtype=object)[section]
    names = [f"{barcode}-{sample}" for barcode, sample in zip(barcodes, rows, strict=True)]
    index = pd.Index(names if len(samples) > 1 else list(barcodes), dtype=object)
    return pd.DataFrame({_keys.SAMPLE: rows, _keys.BARCODE: list(barcodes)}, index=index)


def um_per_px(about: Mapping[str, Any]) -> float:
    """Return the size of a full-resolution pixel in µm from ``uns['mmsrl']``; NaN if unknown."""
    return float(about.get(_keys.UM_PER_PX, np.nan))


def spot_diameter(about: Mapping[str, Any]) -> float:
    """Return the spot diameter in full-resolution pixels from ``uns['mmsrl']``, else 0.8 spot spacings."""
    diameter_px = float(about.get(_keys.SPOT_DIAMETER_PX, np.nan))
    return diameter_px if np.isfinite(diameter_px) else 0.8 * float(about.get(_keys.PITCH_PX, np.nan))


def finest_image(library: Mapping[str, Any]) -> tuple[np.ndarray, float] | None:
    """Return the largest image of an entry of ``uns['spatial']`` and its scale factor; ``None`` without image."""
    for size in ("hires", "lowres"):
        image = library.get("images", {}).get(size)
        scale = library.get("scalefactors", {}).get(f"tissue_{size}_scalef")
        if image is not None and scale is not None:
            return np.asarray(image), float(scale)
    return None


SEVERAL_CELLS_UM = 30.0
"""Spot spacing in µm from which a spot covers several cells."""


def in_pitches(adata: ad.AnnData) -> np.ndarray:
    """Return the coordinates of a section in units of the spot spacing, (n_spots, 2) float64.

    Raises
    ------
    InputError
        There are no coordinates, some are not finite, or all spots have the same.
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
    """Return the coordinates for the spatial graph of the default preset, (n_spots, 2) float64.

    The unit, in which bandwidths are given, is the spot spacing, but at most that of Visium: tissue under a coarser
    array (legacy Spatial Transcriptomics, 200 µm) has the same fine structure.
    """
    pitch_um = _pitch_um(adata)
    widest = geometry.VISIUM_PITCH_UM
    return in_pitches(adata) * (pitch_um / widest if pitch_um > widest else 1.0)


def has_square_bins(facts: Mapping[str, Any]) -> bool:
    """Return whether the spots of a section are adjacent square bins; ``facts`` is its ``uns['mmsrl']``."""
    return bool(facts.get(_keys.PLATFORM) == "visium_hd")


def of_cell_size(adata: ad.AnnData) -> bool:
    """Return whether spots are single cells, or bins of that size.

    The spot spacing in µm decides. If it is unknown, irregular positions are cells, and positions on a lattice are
    spots.
    """
    pitch_um = _pitch_um(adata)
    if np.isfinite(pitch_um):
        return pitch_um < SEVERAL_CELLS_UM
    lattice = adata.uns.get(_keys.UNS, {}).get(_keys.LATTICE)
    return (lattice or geometry.measure(np.asarray(adata.obsm[_keys.SPATIAL])).lattice) == "none"


def image_places(adata: ad.AnnData) -> np.ndarray:
    """Return the coordinates for held-out blocks of tissue (:func:`mmsrl.heldout.in_block_unit`)."""
    return in_block_unit(in_pitches(adata), _pitch_um(adata))


def gene_names(sections: Sequence[ad.AnnData]) -> list[pd.Index[str]]:
    """Return the gene names of every section, consistent in the unit (:func:`mmsrl._genes.names_in_unit`)."""
    return names_in_unit([adata.var for adata in sections])


def common_genes(sections: Sequence[ad.AnnData]) -> list[str]:
    """Return the genes in common of all sections, in the order of the first.

    Genes are matched by identifier, or by name if a section has no identifiers.

    Raises
    ------
    InputError
        There are no genes in common, or names are not unique.
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
    """Return the median library size of all spots of a unit, the target of normalisation."""
    totals = np.concatenate([np.asarray(adata.X.sum(axis=1)).ravel() for adata in samples])
    return float(np.median(totals[totals > 0]))


def stacked_counts(sections: Sequence[ad.AnnData]) -> tuple[sp.csr_matrix, list[str]]:
    """Return raw counts (or normalised values) of the genes in common, (N, G) float32 CSR, and their names, (G,).

    Raises
    ------
    InputError
        There are no genes in common.
    """
    genes = common_genes(sections)
    return counts_of(sections, genes)[0], genes


def is_counted(adata: ad.AnnData) -> bool:
    """Return whether ``X`` holds raw counts instead of normalised values."""
    return bool(adata.uns.get(_keys.UNS, {}).get(_keys.EXPRESSION, _keys.COUNTS) == _keys.COUNTS)


def all_counted(sections: Sequence[ad.AnnData]) -> bool:
    """Return whether the sections hold raw counts instead of normalised values.

    Raises
    ------
    InputError
        Some sections hold counts and others do not.
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
    """Return raw counts (or normalised values) of some genes, (N, G) float32 CSR, and library sizes, (N,) float64.

    Library sizes are totals over all genes. Backed sections are read in blocks of spots, so that memory holds the
    requested genes only.

    Parameters
    ----------
    genes
        Genes in common of all sections.
    spots
        Ascending positions of stacked spots; all spots by default.

    Raises
    ------
    InputError
        Values are not counts, although not marked as normalised.
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
    """Raise InputError if ``values`` of ``X`` are not counts."""
    parts = (values[start : start + CHECKED_VALUES] for start in range(0, len(values), CHECKED_VALUES))
    if any(not_counts(part) for part in parts):
        hint = "; layers['counts'] has some" if "counts" in adata.layers else ""
        raise InputError(f"sample {sample}: X must hold raw counts, but {not_counts(values)}{hint}")


def _blocks(adata: ad.AnnData) -> Iterator[tuple[int, sp.csr_matrix]]:
    """Yield blocks of counts with the position of their first spot. In-memory data are a single block."""
    step = BLOCK_SPOTS if adata.isbacked else adata.n_obs
    for start in range(0, adata.n_obs, step):
        part = adata.X[start : start + step] if adata.isbacked else adata.X
        yield start, sp.csr_matrix(part, dtype=np.float32)


def stacked_domains(sections: Sequence[ad.AnnData]) -> tuple[np.ndarray, list[str]]:
    """Return the domain index of every stacked spot, (N,) int64, and the names of the domains.

    Raises
    ------
    InputError
        A section has no domains.
    """
    for name, adata in zip(sample_names(sections), sections, strict=True):
        if _keys.DOMAIN not in adata.obs or adata.obs[_keys.DOMAIN].isna().any():
            raise InputError(f"sample {name}: every spot must have a domain in obs['{_keys.DOMAIN}']")
    labels = np.concatenate([adata.obs[_keys.DOMAIN].astype(str).to_numpy() for adata in sections])
    names = natural_order(labels)
    return pd.Categorical(labels, names).codes.astype(np.int64), names
