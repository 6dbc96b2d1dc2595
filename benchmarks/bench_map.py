"""Map sections onto similar and dissimilar references.

    make bench-map SECTIONS=folder          folder with dlpfc/151673 and so on

Sections are read and filtered as in the pipeline. References are trained with the default preset, with K the number of
their labels. Labels serve only for the scores: ``own`` is the adjusted Rand index of the section's own consensus, and
``mapped`` the adjusted Rand index of its mapped domains, on the same labelled spots.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp
from sklearn.metrics import adjusted_rand_score

from mmsrl import pp
from mmsrl._errors import InputError
from mmsrl._thinning import split_counts
from mmsrl.domains.api import domains
from mmsrl.evaluate.truth import read_truth
from mmsrl.map.api import map_section
from mmsrl.map.reference import Reference
from mmsrl.train.api import as_anndata, train

PLACES = {
    "151673": "dlpfc/151673",
    "151674": "dlpfc/151674",
    "A1": "her2st/A1",
    "H1": "her2st/H1",
    "C2": "her2st/C2",
    "breast, Visium": "breast_visium_crop",
    "muscle, Visium HD": "visium_hd_crop/binned_outputs/square_016um",
    "olfactory bulb, ST": "labelled/mob_st_rep11",
    "embryo, Visium": "mouse_embryo_cytassist",
    "visual cortex, STARmap": "labelled/starmap_visp",
    "brain, Xenium": "xenium_brain_subset",
}

Change = Callable[[ad.AnnData], ad.AnnData]


class Pair(NamedTuple):
    """Section and the reference that it is mapped onto."""

    reference: str
    section: str
    alike: bool | None
    """Whether the section has the tissue of the reference; ``None`` if this is a matter of degree."""
    how: str = ""
    change: Change | None = None
    lacking: tuple[str, ...] = ()
    """Labels removed from the reference. Likeness is then measured on spots of the section with these labels."""


def read(folder: Path, name: str) -> ad.AnnData:
    """Read and filter a section."""
    place = folder / PLACES[name]
    if place.parent.name == "labelled":
        found = pp.read_h5ad(place / f"{place.name}.h5ad", name)
    elif place.name == "xenium_brain_subset":
        found = pp.read_instrument(place, name)
    else:
        found = pp.read_spaceranger(place, name)
    pp.quality_control(found)
    return found


def labels_of(folder: Path, name: str, adata: ad.AnnData) -> np.ndarray | None:
    """Return the label of every spot, "" if unlabelled; ``None`` for a section without labels."""
    path = folder / PLACES[name] / "truth.csv"
    if not path.exists():
        return None
    return pd.Series(adata.obs_names).map(read_truth(path, sample=name)).fillna("").to_numpy()


def thinned(share: float) -> Change:
    """Return a change that keeps a fraction of the molecules."""

    def change(adata: ad.AnnData) -> ad.AnnData:
        adata.X = split_counts(sp.csr_matrix(adata.X), [share, 1.0 - share], 0)[0]
        return adata

    return change


def batch(deviation: float) -> Change:
    """Return a change that multiplies every gene by a log-normal batch effect."""

    def change(adata: ad.AnnData) -> ad.AnnData:
        random = np.random.default_rng(1)
        factor = np.exp(random.normal(0.0, deviation, adata.n_vars))
        counts = sp.csr_matrix(adata.X, copy=True)
        expected = counts.data * factor[counts.indices]
        whole = np.floor(expected)
        counts.data = (whole + (random.random(len(whole)) < expected - whole)).astype(np.float32)
        counts.eliminate_zeros()
        adata.X = counts
        return adata

    return change


def fewer_genes(share: float) -> Change:
    """Return a change that keeps a random fraction of the genes."""
    return lambda adata: adata[:, np.random.default_rng(2).random(adata.n_vars) < share].copy()


def part(adata: ad.AnnData) -> ad.AnnData:
    """Return the two fifths of a cortical section furthest from the upper layers, by two marker genes of these."""
    upper = np.asarray(adata[:, ["CUX2", "HPCAL1"]].X.sum(axis=1)).ravel()
    places = np.asarray(adata.obsm["spatial"]) - np.mean(adata.obsm["spatial"], axis=0)
    along = places @ (upper @ places)
    return adata[along < np.quantile(along, 0.4)].copy()


PAIRS = [
    Pair("151673", "151674", True),
    Pair("151674", "151673", True),
    Pair("151673", "151674", True, "a quarter of its depth", thinned(0.25)),
    Pair("151673", "151674", True, "a tenth of its depth", thinned(0.1)),
    Pair("151673", "151674", True, "batch of genes, sd 0.5", batch(0.5)),
    Pair("151673", "151674", True, "batch of genes, sd 1", batch(1.0)),
    Pair("151673", "151674", True, "half of its genes", fewer_genes(0.5)),
    Pair("151673", "151674", True, "a quarter of its genes", fewer_genes(0.25)),
    Pair("151673", "151674", True, "two fifths of the tissue", part),
    Pair("151673", "151674", None, "white matter, not in the reference", lacking=("WM",)),
    Pair("151673", "151674", None, "white matter and layer 6, not in the reference", lacking=("WM", "L6")),
    Pair("A1", "H1", True),
    Pair("H1", "A1", True),
    Pair("A1", "C2", True),
    Pair("H1", "C2", True),
    Pair("A1", "breast, Visium", True),
    Pair("H1", "breast, Visium", True),
    Pair("151673", "A1", False),
    Pair("151673", "H1", False),
    Pair("151673", "C2", False),
    Pair("151674", "H1", False),
    Pair("151673", "breast, Visium", False),
    Pair("151673", "muscle, Visium HD", False),
    Pair("A1", "151673", False),
    Pair("H1", "151674", False),
    Pair("A1", "muscle, Visium HD", None),
    Pair("olfactory bulb, ST", "embryo, Visium", False),
    Pair("olfactory bulb, ST", "visual cortex, STARmap", None),
    Pair("olfactory bulb, ST", "brain, Xenium", None),
]


def trained(folder: Path, name: str) -> tuple[Reference, pd.DataFrame]:
    """Train a section, and return it as a reference with its domains."""
    adata = read(folder, name)
    labels = labels_of(folder, name, adata)
    assert labels is not None
    result = train(adata, show_progress=False)
    table = domains(as_anndata(result), len(set(labels) - {""})).table
    adata.obs["domain"] = pd.Categorical(table["domain"].to_numpy())
    return Reference(name, result.model, [adata]), table


def without(folder: Path, reference: Reference, lacking: tuple[str, ...]) -> Reference:
    """Return a reference of one section without the spots with some labels."""
    if not lacking:
        return reference
    (section,) = reference.sections
    kept = ~np.isin(np.asarray(labels_of(folder, reference.unit, section)), lacking)
    return reference._replace(sections=[section[kept].copy()])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--output-dir", type=Path, default=Path("results/benchmarks"))
    arguments = parser.parse_args()
    references: dict[str, tuple[Reference, pd.DataFrame]] = {}
    rows = []
    for pair in PAIRS:
        for name in {pair.reference, *({"151673", "151674"} & {pair.section})}:
            if name not in references:
                references[name] = trained(arguments.folder, name)
        adata = read(arguments.folder, pair.section)
        if pair.change:
            adata = pair.change(adata)
            adata = adata[np.asarray(adata.X.sum(axis=1)).ravel() > 0].copy()
        row: dict[str, object] = {"reference": pair.reference, "section": pair.section, "changed": pair.how}
        row["alike"] = {True: "yes", False: "no", None: "?"}[pair.alike]
        began = time.perf_counter()
        try:
            reference = without(arguments.folder, references[pair.reference][0], pair.lacking)
            found = map_section(adata, reference)
        except InputError as error:
            print(row, error, flush=True)
            rows.append(row | {"unlike": "refused"})
            continue
        row["seconds"] = round(time.perf_counter() - began, 1)
        facts = found.facts
        labels = labels_of(arguments.folder, pair.section, adata)
        compared = np.isin(labels, pair.lacking) if pair.lacking else np.ones(adata.n_obs, bool)  # type: ignore[arg-type]
        row |= {
            "genes": facts["n_genes"],
            "depth": round(facts["depth"], 2),
            "likeness": round(float(found.table["reference_likeness"][compared].median()), 3),
            "unlike": round(float((found.table["reference_domain"] == "unlike")[compared].mean()), 3),
        }
        if pair.alike and pair.section in references and labels is not None:
            known = labels != ""
            own = references[pair.section][1].set_index("barcode")["domain"].reindex(adata.obs_names)
            row["own"] = round(adjusted_rand_score(labels[known], own[known]), 3)
            row["mapped"] = round(adjusted_rand_score(labels[known], found.table["reference_domain"][known]), 3)
            row["confidence"] = round(facts["median_confidence"] or np.nan, 2)
        rows.append(row)
        print(row, flush=True)
    table = pd.DataFrame(rows)
    arguments.output_dir.mkdir(parents=True, exist_ok=True)
    table.to_csv(arguments.output_dir / "map.tsv", sep="\t", index=False)
    print(table.fillna("").to_string(index=False))


if __name__ == "__main__":
    main()
