"""Cleaning of count tables: control features, duplicate cells and missing coordinates. Works on arrays only."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse
from scipy.spatial import cKDTree

from mmsrl._errors import InputError, error_prefix
from mmsrl._genes import is_gene_id
from mmsrl.ingest.matrix import Counts
from mmsrl.ingest.species import without_genome

GENE_EXPRESSION = "Gene Expression"

CONTROL_NAMES = {
    "xenium": r"(?:NegControl(?:Probe|Codeword)|(?:Deprecated|Unassigned)Codeword|BLANK|antisense"
    r"|Intergenic[-_.]Region)[-_.]",
    "cosmx": r"(?:Negative[-_. ]?|NegPrb[-_.]?|NegProbe[-_.]?|SystemControl[-_.]?|FalseCode[-_.]?)\d",
    "geomx": r"NegProbe[-_.]|Negative[-_. ]?Probe",
    "merfish": r"Blank(?:[-_. ]|\d+$)",
    "visium": r"DEPRECATED[-_]",
    "spike-ins": r"ERCC[-_.]\d{5}$",
}
"""Prefixes of control features by platform, for files without feature types. R replaces `_` by `.` or `-`. Genes such
as ERCC1 to ERCC8, BLNK and NEGR1 do not match."""

CONTROLS = re.compile("|".join(CONTROL_NAMES.values()), re.IGNORECASE)

_ANTIBODIES = re.compile(
    r"(?:ADT|HTO|CITE|TotalSeq|prot(?:ein)?)[-_.: ]|.*(?:TotalSeq[A-D]?$|isotype|[-_ .]Ig[GMA]\d?[a-z]?\b)",
    re.IGNORECASE,
)
"""Names of antibodies."""

_GENE_TYPES = (
    *("gene expression", "gene", "genes", "gex", "rna", "mrna", "transcript", "transcripts", "expression"),
    *("endogenous", "housekeeping", "custom gene", "gene expression custom"),
)
_OTHER_TYPES = {
    "protein": ("antibody capture", "antibody", "antibodies", "protein", "proteins", "prot", "adt", "adts")
    + ("protein expression", "antibody derived tag", "antibody derived tags", "cite", "cite seq"),
    "hashtag": ("multiplexing capture", "hto", "htos", "hashtag", "hashtags", "cell hashing", "cmo"),
    "guide": ("crispr guide capture", "crispr", "guide", "guides", "grna", "sgrna"),
    "antigen": ("antigen capture",),
    "atac": ("peaks", "peak", "atac", "chromatin accessibility"),
}
_KINDS = dict.fromkeys(_GENE_TYPES, "gene") | {name: kind for kind, names in _OTHER_TYPES.items() for name in names}

_CONTROL_TYPE = re.compile(r"control|codeword|blank|negative|spike|false code|synthetic|\bercc\b")
_BIOTYPE = re.compile(
    r"protein coding|(?:\w+ )?lnc ?rna|linc ?rna|(?:\w+ )*pseudogene|(?:ig|tr) \w gene|\w*rna|mt [rt]rna|misc rna|tec"
    r"|ribozyme|processed transcript|antisense|sense (?:intronic|overlapping)|non coding|non stop decay"
    r"|nonsense mediated decay|retained intron|artifact"
)
"""Gene biotypes of GENCODE, all of which count as genes."""

MAX_WITHOUT_ID, MAX_FOREIGN = 0.1, 0.05
"""Features without an identifier are foreign if they are fewer than the first share of all features. They may have
at most the second share of the counts without a warning."""

MAX_DOUBLED = 0.25
"""Share of duplicate cells above which a file is taken for several sections. osmFISH has 10 %."""

FAR = 10.0
"""Distance from all other cells, in neighbour distances, at which a coordinate of 0 counts as missing."""


def kinds_of(types: pd.Series[str]) -> pd.Series[str]:
    """Return the kind of each feature type, (n_features,): `gene`, `control`, `protein` and so on; empty if unknown."""

    def kind(text: str) -> str:
        plain = re.sub(r"[-_.\s]+", " ", text).strip().lower()
        if plain in _KINDS:
            return _KINDS[plain]
        if _CONTROL_TYPE.search(plain):
            return "control"
        return "gene" if _BIOTYPE.fullmatch(plain) else ""

    return types.map({text: kind(text) for text in types.unique()})


def must_have_genes(features: pd.DataFrame, source: str) -> None:
    """Raise InputError, which names the file ``source``, if no feature is a gene."""
    with error_prefix(source):
        _classified(features)


def _classified(features: pd.DataFrame) -> tuple[pd.Series[str], list[str]]:
    """Return the kind of every feature, (n_features,), and notes on those that are not genes."""
    types = features["feature_types"].astype(str).str.strip().reset_index(drop=True)
    # Types are empty in tables joined from one without types.
    kinds = kinds_of(types).mask(types == "", "gene")
    symbols = features["symbol"].astype(str).reset_index(drop=True)
    notes = []
    genes = kinds == "gene"
    if not genes.all():
        others = ", ".join(f"{n} {name}" for name, n in types[~genes].value_counts().items())
        if not genes.any():
            raise InputError(f"no features of type {GENE_EXPRESSION!r}, only {others}; correct feature_types")
        notes.append(f"features of other types left out: {others}")
    named = genes & symbols.map(without_genome).str.match(CONTROLS)
    if named.any():
        examples = ", ".join(symbols[named].head(3))
        if named.equals(genes):
            raise InputError(f"no genes, only control features such as {examples}; give a file with genes")
        notes.append(f"{named.sum()} control features left out, by their names ({examples})")
    unknown = types.map(lambda text: re.sub(r"\W+", "_", text.lower()))
    return kinds.mask(named, "control").mask(kinds == "", unknown), notes


def gene_expression(counts: Counts) -> tuple[Counts, dict[str, NDArray[np.float64]], list[str], list[str]]:
    """Select the genes among the features.

    Parameters
    ----------
    counts
        Expression of all features, (n_spots, n_features).

    Returns
    -------
    counts
        Expression of the features with a gene type or without type, except those named like controls.
    totals
        Total of the other features of each spot, (n_spots,) float64, by kind (`control`, `protein` and so on).
    notes
        Features left out.
    warnings
        Features that were kept but may not be genes.

    Raises
    ------
    InputError
        No gene is left.
    """
    kinds, notes = _classified(counts.features)
    keep = (kinds == "gene").to_numpy()
    totals = {
        str(kind): np.asarray(counts.matrix[:, (kinds == kind).to_numpy()].sum(axis=1), dtype=np.float64).ravel()
        for kind in sorted(kinds[~keep].unique())
    }
    kept = Counts(counts.matrix[:, keep], counts.barcodes, counts.features[keep])
    warnings = _like_proteins(kept)
    return kept._replace(features=kept.features.assign(feature_types=GENE_EXPRESSION)), totals, notes, warnings


def _like_proteins(counts: Counts) -> list[str]:
    """Return a warning if features are named like antibodies, or have no identifier but many counts.

    Transgenes (GFP) have no Ensembl identifier either, but few counts. Typed features are never reported.
    """
    features = counts.features
    untyped = (features["feature_types"] == "").to_numpy()
    without_id = untyped & ~is_gene_id(features["gene_ids"].astype(str)).to_numpy()
    named = without_id & features["symbol"].astype(str).str.match(_ANTIBODIES).to_numpy()
    totals = np.asarray(counts.matrix.sum(axis=0), dtype=np.float64).ravel()
    foreign = without_id if without_id.mean() < MAX_WITHOUT_ID else named
    share = totals[foreign].sum() / totals.sum() if foreign.any() else 0.0
    if not named.any() and share < MAX_FOREIGN:
        return []
    examples = ", ".join(features["symbol"][foreign].head(3))
    return [
        f"{foreign.sum()} features such as {examples} have no gene id, and {share:.0%} of the counts: if they are "
        "proteins, set their feature_types to Antibody Capture, which leaves them out"
    ]


def first_of_doubled(counts: sparse.csr_matrix, spatial: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return a mask of the cells to keep, (n_cells,) bool: the first of each set with equal coordinates and counts.

    All cells are kept if the share of duplicates exceeds :data:`MAX_DOUBLED`, which indicates several sections.
    """
    keep = np.ones(len(spatial), dtype=bool)
    places = pd.DataFrame(spatial)
    shared = np.flatnonzero(places.duplicated(keep=False).to_numpy() & np.isfinite(spatial).all(axis=1))
    if not len(shared):
        return keep
    part = counts[shared]
    rows = [
        part.indices[start:end].tobytes() + part.data[start:end].tobytes()
        for start, end in zip(part.indptr[:-1], part.indptr[1:], strict=True)
    ]
    keep[shared] = ~places.iloc[shared].assign(counts=rows).duplicated().to_numpy()
    return keep if np.mean(~keep) <= MAX_DOUBLED else np.ones_like(keep)


def lost_places(spatial: NDArray[np.float64], neighbour_distance: float) -> NDArray[np.bool_]:
    """Return a mask of the cells, (n_cells,) bool, with a coordinate of 0 and far from all cells without."""
    zero: NDArray[np.bool_] = np.any(spatial == 0, axis=1)
    if not zero.any() or zero.all():
        return np.zeros(len(spatial), dtype=bool)
    distances, _ = cKDTree(spatial[~zero]).query(spatial[zero])
    zero[zero] = distances > FAR * neighbour_distance
    return zero
