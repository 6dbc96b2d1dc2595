"""Mapping of a section onto a trained reference."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from mmsrl import _keys
from mmsrl._errors import InputError
from mmsrl._genes import names_in_unit
from mmsrl._sections import in_pitches, is_counted, must_be_counts, sample_of, section_index, stacked_domains
from mmsrl._thinning import split_counts
from mmsrl.domains.neighbourhood import CONFIDENCE_SPOTS, confidence, neighbourhood
from mmsrl.map.embed import embed
from mmsrl.map.label import mean_posterior
from mmsrl.map.likeness import LEAST, likeness
from mmsrl.map.reference import Reference, read_reference
from mmsrl.projection import restrict
from mmsrl.train.projections import read_projections

FEWEST_GENES = 0.1
"""Minimum fraction of the genes of the model that a section must have."""

FAR = 0.75
"""Median likeness below which a section with mostly similar spots is reported as distant from the reference."""

TELLING = 0.7
"""Correlation of the reference spots with their own domains below which noise hides dissimilar tissue. With 60 genes at
a hundredth of the depth, a quarter to a half of another tissue is detected."""

SAME_PITCH = 0.05
"""Maximum relative difference of the spot spacings of the sections of a reference."""


class Mapped(NamedTuple):
    """Result of :func:`map_section`."""

    table: pd.DataFrame
    """One row for each spot: ``barcode``, ``reference_domain``, ``reference_confidence`` (float32, missing for spots
    unlike the reference), ``reference_likeness`` (float32)."""
    posterior: NDArray[np.float32]
    """(n, K): probability of each domain, mean over members, also for spots unlike the reference."""
    facts: dict[str, Any]
    """Summary."""
    messages: list[dict[str, str]]
    """``level`` and ``text`` of every message."""


class _Genes(NamedTuple):
    """Counts of the genes that section and reference share."""

    reference: sp.csr_matrix
    """(r, m)."""
    section: sp.csr_matrix
    """(n, m)."""
    of_model: NDArray[np.int64]
    """Indices of the shared genes in the model."""
    columns: NDArray[np.int64]
    """Their columns in both matrices."""
    share: float
    """Fraction of the counts of the reference in shared genes."""


def map_section(
    adata: ad.AnnData, reference: Reference | Path | str, *, unit: str | None = None, seed: int = 0
) -> Mapped:
    """Label the spots of a section with the domains of a trained reference; see :func:`mmsrl.tl.map`.

    Returns
    -------
    Mapped
        Labels and posterior probabilities. ``adata`` is not modified.

    Raises
    ------
    InputError
        The reference cannot be used, or the section has no counts, no coordinates or too few genes of the model.
    """
    name = sample_of(adata)
    if not is_counted(adata):
        raise InputError(f"sample {name}: its expression is normalised; mapping requires counts")
    trained = reference if isinstance(reference, Reference) else read_reference(reference, unit)
    messages: list[dict[str, str]] = []
    genes = _match(name, adata, trained, messages)
    if genes.section.nnz == 0:
        raise InputError(f"sample {name}: it has no counts of the genes that it shares with reference {trained.unit}")
    domain, names = stacked_domains(trained.sections)
    places, pitches = _places(adata, trained.sections, messages)
    posterior, depth = _classify(genes, trained, places, pitches, domain, seed)
    if depth < 0.5:
        text = f"the section has {depth:.0%} of the depth of the reference, which was thinned to this depth"
        messages.append({"level": "info", "text": text})
    around = neighbourhood(places, np.zeros(adata.n_obs), CONFIDENCE_SPOTS)
    section = section_index(trained.sections)
    similarity = likeness(
        genes.section,
        around,
        genes.reference,
        neighbourhood(np.concatenate(pitches), section, CONFIDENCE_SPOTS),
        domain,
        seed,
    )
    labels = posterior.argmax(axis=1)
    unlike = similarity.values < LEAST
    confident = np.where(unlike, np.float32(np.nan), confidence(posterior, labels, around))
    labelled = np.where(unlike, _keys.UNLIKE, np.asarray(names, dtype=object)[labels])
    columns = {
        _keys.REFERENCE_DOMAIN: pd.Categorical(labelled, [*names, _keys.UNLIKE]),
        _keys.REFERENCE_CONFIDENCE: confident,
        _keys.REFERENCE_LIKENESS: similarity.values,
    }
    facts = {
        "reference": trained.unit,
        "n_genes": len(genes.of_model),
        "genes_of_model": len(trained.model["genes"]),
        "domains": {k: int((labelled == k).sum()) for k in names},
        "unlike": int(unlike.sum()),
        "median_confidence": None if unlike.all() else float(np.nanmedian(confident)),
        "median_likeness": float(np.median(similarity.values)),
        "least_likeness": LEAST,
        "own_correlation": similarity.own,
        "depth": depth,
    }
    _tell(facts, adata.n_obs, messages)
    table = pd.DataFrame({_keys.BARCODE: adata.obs_names.to_numpy(), **columns})
    return Mapped(table, posterior.astype(np.float32), facts, messages)


def _match(name: str, adata: ad.AnnData, reference: Reference, messages: list[dict[str, str]]) -> _Genes:
    """Find the genes of the section and all sections of the reference: by id, else by symbol."""
    tables = [section.var for section in reference.sections]
    *reference_names, names = names_in_unit([*tables, adata.var])
    everywhere = set(names).intersection(*reference_names)
    shared = [gene for gene in reference_names[0] if gene in everywhere]
    # The model uses the gene names of the reference without the section.
    model = reference_names[0][names_in_unit(tables)[0].get_indexer(pd.Index(reference.model["genes"]))]
    columns = pd.Index(shared, dtype=object).get_indexer(model)
    of_model = np.flatnonzero(columns >= 0)
    counted = f"sample {name} has {len(of_model)} of the {len(model)} genes of reference {reference.unit}"
    components = max(found.projection.axes.shape[1] for found in read_projections(reference.model)[0].values())
    if len(of_model) < max(FEWEST_GENES * len(model), components + 1):
        raise InputError(
            f"{counted}, too few to map it ({FEWEST_GENES:.0%} are needed); check that species and gene names agree"
        )
    if len(of_model) < len(model):
        messages.append({"level": "info", "text": f"{counted}; scores are solved by least squares on these"})
    must_be_counts(sp.csr_matrix(adata.X).data, name, adata)
    sections = zip(reference.sections, reference_names, strict=True)
    counts = sp.csr_matrix(sp.vstack([_columns(section, genes, shared) for section, genes in sections]))
    total = sum(float(section.X.sum()) for section in reference.sections)
    return _Genes(counts, _columns(adata, names, shared), of_model, columns[of_model], float(counts.sum()) / total)


def _columns(adata: ad.AnnData, names: pd.Index[str], genes: Sequence[str]) -> sp.csr_matrix:
    return sp.csr_matrix(sp.csr_matrix(adata.X, dtype=np.float32)[:, names.get_indexer(pd.Index(genes, dtype=object))])


def _places(
    adata: ad.AnnData, sections: Sequence[ad.AnnData], messages: list[dict[str, str]]
) -> tuple[NDArray[np.float64], list[NDArray[np.float64]]]:
    """Return the coordinates of the section and of the reference in spot spacings of the reference.

    If the spacing in µm is unknown, both are taken to have the same spacing.
    """
    pitch_um, *reference_pitches_um = (
        float(a.uns.get(_keys.UNS, {}).get(_keys.PITCH_UM, np.nan)) for a in (adata, *sections)
    )
    scale = pitch_um / float(np.median(reference_pitches_um))
    if not np.isfinite(scale) or np.ptp(reference_pitches_um) > SAME_PITCH * min(reference_pitches_um):
        scale = 1.0
        text = "the spot spacing in µm is unknown: bandwidths are taken in spot spacings"
        messages.append({"level": "info", "text": text})
    return in_pitches(adata) * scale, [in_pitches(section) for section in sections]


def _classify(
    genes: _Genes,
    reference: Reference,
    places: NDArray[np.float64],
    pitches: list[NDArray[np.float64]],
    domain: NDArray[np.int64],
    seed: int,
) -> tuple[NDArray[np.float64], float]:
    """Return the probability of each domain at each spot, (n, K), and the relative depth of the section."""
    fitted, smoothings = read_projections(reference.model)
    restricted = {
        name: found._replace(projection=restrict(found.projection, genes.of_model)) for name, found in fitted.items()
    }
    library = _library(genes.section, genes.share)
    depth = float(np.median(library) / np.median(_library(genes.reference, genes.share)))
    reference_counts = genes.reference
    if depth < 1.0:
        reference_counts = split_counts(reference_counts, [depth, 1.0 - depth], seed)[0]
    members, references = (
        embed(
            restricted,
            smoothings,
            sp.csr_matrix(counts[:, genes.columns]),
            _library(counts, genes.share),
            coordinates,
            shifted=shifted,
        )
        for counts, coordinates, shifted in ((genes.section, [places], False), (reference_counts, pitches, True))
    )
    return np.asarray(mean_posterior(references, domain, members, smoothings, seed)), depth


def _library(counts: sp.csr_matrix, share: float) -> NDArray[np.float64]:
    """Return library sizes, (n,), scaled to all genes of the reference."""
    return np.asarray(counts.sum(axis=1), dtype=np.float64).ravel() / share


def _tell(facts: dict[str, Any], n_spots: int, messages: list[dict[str, str]]) -> None:
    """Add warnings about the reliability of the labels."""
    if min(facts["own_correlation"]) < TELLING:
        text = (
            f"at this depth and with these genes spots of reference {facts['reference']} correlate with its own "
            f"domains by only {min(facts['own_correlation']):.2f}: other tissue may not be detected as unlike"
        )
        messages.append({"level": "warning", "text": text})
    if facts["unlike"] > n_spots / 2:
        text = (
            f"{facts['unlike']} of {n_spots} spots are unlike anything in reference {facts['reference']}: the "
            "section is another tissue, or its technique differs too much"
        )
        messages.append({"level": "warning", "text": text})
    elif facts["median_likeness"] < FAR:
        text = (
            f"the section is like reference {facts['reference']}, but far from it (median likeness "
            f"{facts['median_likeness']:.2f}; sections of one donor have at least 0.9): labels are less reliable than "
            "their confidence"
        )
        messages.append({"level": "warning", "text": text})
