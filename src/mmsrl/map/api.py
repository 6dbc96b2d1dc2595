"""Labels from a trained unit for a section that it was not trained on."""

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
"""Share of the model's genes that a section must have."""

FAR = 0.75
"""Median likeness below which a section that is like the reference is said to be far from it."""

TELLING = 0.7
"""Correlation of the reference's own spots with its domains below which noise hides what is unlike: of 60 genes at a
hundredth of the depth a quarter to a half of another tissue is found."""

SAME_PITCH = 0.05
"""Relative difference of the reference's own pitches up to which they are one."""


class Mapped(NamedTuple):
    """A section, labelled by a reference."""

    table: pd.DataFrame
    """A row a spot: ``barcode``, ``reference_domain``, ``reference_confidence`` (float32, missing where the spot is
    unlike the reference), ``reference_likeness`` (float32)."""
    posterior: NDArray[np.float32]
    """(n, K): probability of each domain, the mean over members, spots unlike the reference included."""
    facts: dict[str, Any]
    """How they were found: for the summary."""
    messages: list[dict[str, str]]
    """What the user should be told: ``level`` and ``text``."""


class _Genes(NamedTuple):
    """Counts of the genes that section and reference share."""

    reference: sp.csr_matrix
    """(r, m)."""
    section: sp.csr_matrix
    """(n, m)."""
    of_model: NDArray[np.int64]
    """Positions among the model's genes of those that are shared."""
    columns: NDArray[np.int64]
    """Their columns in the two matrices."""
    share: float
    """Of the reference's counts, those of shared genes."""


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
        raise InputError(f"sample {name}: its expression was normalised before; counts are needed to map a section")
    found = reference if isinstance(reference, Reference) else read_reference(reference, unit)
    messages: list[dict[str, str]] = []
    genes = _match(name, adata, found, messages)
    if genes.section.nnz == 0:
        raise InputError(f"sample {name}: it has no counts of the genes that it shares with reference {found.unit}")
    domain, names = stacked_domains(found.sections)
    places, pitches = _places(adata, found.sections, messages)
    posterior, depth = _classify(genes, found, places, pitches, domain, seed)
    if depth < 0.5:
        text = f"the section is as deep as {depth:.0%} of the reference, whose domains were learned at that depth"
        messages.append({"level": "info", "text": text})
    around = neighbourhood(places, np.zeros(adata.n_obs), CONFIDENCE_SPOTS)
    section = section_index(found.sections)
    like = likeness(
        genes.section,
        around,
        genes.reference,
        neighbourhood(np.concatenate(pitches), section, CONFIDENCE_SPOTS),
        domain,
        seed,
    )
    labels = posterior.argmax(axis=1)
    unlike = like.values < LEAST
    sure = np.where(unlike, np.float32(np.nan), confidence(posterior, labels, around))
    labelled = np.where(unlike, _keys.UNLIKE, np.asarray(names, dtype=object)[labels])
    columns = {
        _keys.REFERENCE_DOMAIN: pd.Categorical(labelled, [*names, _keys.UNLIKE]),
        _keys.REFERENCE_CONFIDENCE: sure,
        _keys.REFERENCE_LIKENESS: like.values,
    }
    facts = {
        "reference": found.unit,
        "n_genes": len(genes.of_model),
        "genes_of_model": len(found.model["genes"]),
        "domains": {k: int((labelled == k).sum()) for k in names},
        "unlike": int(unlike.sum()),
        "median_confidence": None if unlike.all() else float(np.nanmedian(sure)),
        "median_likeness": float(np.median(like.values)),
        "least_likeness": LEAST,
        "own_correlation": like.own,
        "depth": depth,
    }
    _tell(facts, adata.n_obs, messages)
    table = pd.DataFrame({_keys.BARCODE: adata.obs_names.to_numpy(), **columns})
    return Mapped(table, posterior.astype(np.float32), facts, messages)


def _match(name: str, adata: ad.AnnData, reference: Reference, messages: list[dict[str, str]]) -> _Genes:
    """Find the genes that the section and all sections of the reference have: by id, else by symbol."""
    tables = [section.var for section in reference.sections]
    *known, own = names_in_unit([*tables, adata.var])
    everywhere = set(own).intersection(*known)
    shared = [gene for gene in known[0] if gene in everywhere]
    # The model has the names that genes have in the reference alone.
    model = known[0][names_in_unit(tables)[0].get_indexer(pd.Index(reference.model["genes"]))]
    columns = pd.Index(shared, dtype=object).get_indexer(model)
    of_model = np.flatnonzero(columns >= 0)
    told = f"sample {name} has {len(of_model)} of the {len(model)} genes of reference {reference.unit}"
    components = max(found.projection.axes.shape[1] for found in read_projections(reference.model)[0].values())
    if len(of_model) < max(FEWEST_GENES * len(model), components + 1):
        raise InputError(
            f"{told}, too few to map it ({FEWEST_GENES:.0%} are needed); are they of one species and naming of genes?"
        )
    if len(of_model) < len(model):
        messages.append({"level": "info", "text": f"{told}; scores are solved for on these"})
    must_be_counts(sp.csr_matrix(adata.X).data, name, adata)
    sections = zip(reference.sections, known, strict=True)
    counts = sp.csr_matrix(sp.vstack([_columns(section, genes, shared) for section, genes in sections]))
    total = sum(float(section.X.sum()) for section in reference.sections)
    return _Genes(counts, _columns(adata, own, shared), of_model, columns[of_model], float(counts.sum()) / total)


def _columns(adata: ad.AnnData, names: pd.Index[str], genes: Sequence[str]) -> sp.csr_matrix:
    return sp.csr_matrix(sp.csr_matrix(adata.X, dtype=np.float32)[:, names.get_indexer(pd.Index(genes, dtype=object))])


def _places(
    adata: ad.AnnData, sections: Sequence[ad.AnnData], messages: list[dict[str, str]]
) -> tuple[NDArray[np.float64], list[NDArray[np.float64]]]:
    """Return the coordinates of the section and of the reference in pitches of the reference.

    Where a pitch is not known in micrometres, one of the section is taken for one of the reference.
    """
    own, *of_reference = (float(a.uns.get(_keys.UNS, {}).get(_keys.PITCH_UM, np.nan)) for a in (adata, *sections))
    scale = own / float(np.median(of_reference))
    if not np.isfinite(scale) or np.ptp(of_reference) > SAME_PITCH * min(of_reference):
        scale = 1.0
        text = "the pitch is not known in micrometres of both: tissue is smoothed over as many pitches as the reference"
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
    """Return the probability of each domain at each spot, (n, K), and the section's depth relative to the reference."""
    fitted, smoothings = read_projections(reference.model)
    restricted = {
        name: found._replace(projection=restrict(found.projection, genes.of_model)) for name, found in fitted.items()
    }
    library = _library(genes.section, genes.share)
    depth = float(np.median(library) / np.median(_library(genes.reference, genes.share)))
    known = genes.reference
    if depth < 1.0:
        known = split_counts(known, [depth, 1.0 - depth], seed)[0]
    members, references = (
        embed(
            restricted,
            smoothings,
            sp.csr_matrix(counts[:, genes.columns]),
            _library(counts, genes.share),
            coordinates,
            shifted=shifted,
        )
        for counts, coordinates, shifted in ((genes.section, [places], False), (known, pitches, True))
    )
    return np.asarray(mean_posterior(references, domain, members, smoothings, seed)), depth


def _library(counts: sp.csr_matrix, share: float) -> NDArray[np.float64]:
    """Return the total counts of spots, (n,), as they would be over all genes of the reference."""
    return np.asarray(counts.sum(axis=1), dtype=np.float64).ravel() / share


def _tell(facts: dict[str, Any], n_spots: int, messages: list[dict[str, str]]) -> None:
    """Add what should be known before the labels are used."""
    if min(facts["own_correlation"]) < TELLING:
        text = (
            f"at this depth and with these genes spots of reference {facts['reference']} correlate with its own "
            f"domains by {min(facts['own_correlation']):.2f} only: other tissue may not be told to be unlike"
        )
        messages.append({"level": "warning", "text": text})
    if facts["unlike"] > n_spots / 2:
        text = (
            f"{facts['unlike']} of {n_spots} spots are unlike anything in reference {facts['reference']}: it is of "
            "another tissue, or of too different a technique"
        )
        messages.append({"level": "warning", "text": text})
    elif facts["median_likeness"] < FAR:
        text = (
            f"the section is like reference {facts['reference']}, but far from it (median likeness "
            f"{facts['median_likeness']:.2f}; sections of one donor have 0.9 and more): labels say less than their "
            "confidence does"
        )
        messages.append({"level": "warning", "text": text})
