"""Kinds of result files and their descriptions. No file is read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from mmsrl._errors import InputError
from mmsrl._palette import natural_order


class Kind(NamedTuple):
    """Kind of result file."""

    folder: str
    """Folder in the results."""
    ending: str
    """Suffix of the file name, after the id of the sample or unit and a dot."""
    kind: str
    description: str


KINDS = (
    Kind("ingest", "outlines.parquet", "outlines", "Cell outlines, in pixels of the spot coordinates."),
    Kind("qc", "qc.h5ad", "counts", "Raw counts of spots and genes that passed quality control."),
    Kind("qc", "qc.png", "figure", "Quality metrics on the tissue, with kept and removed spots."),
    Kind("features", "features.h5ad", "image_features", "Image features of every spot."),
    Kind("features", "tiles.tif", "pictures", "Image tiles at spots."),
    Kind("train", "embedding.h5ad", "embedding", "Latent representation of every spot of a unit."),
    Kind("train", "training.tsv", "training_log", "Training losses per epoch."),
    Kind("train", "model.npz", "model", "Trained model: settings, genes, weights and projections."),
    Kind("domains", "domains.h5ad", "posteriors", "Domain probabilities of every spot in each ensemble member."),
    Kind("domains", "domains.csv", "domains", "Domain and confidence of every spot of a unit."),
    Kind("markers", "markers.tsv", "markers", "Marker genes of each domain, tested on held-out molecules."),
    Kind("markers", "spatial_genes.tsv", "spatial_genes", "Spatially variable genes: Moran's I of every gene."),
    Kind(
        "markers",
        "neighbours.tsv",
        "neighbours",
        "Neighbourhood enrichment: adjacency of domains compared with chance.",
    ),
    Kind("markers", "gene_sets.tsv", "gene_sets", "Gene set over-representation among the markers of each domain."),
    Kind(
        "trajectory",
        "trajectory.h5ad",
        "trajectory",
        "Pseudotime, UMAP layout and neighbour graph of the spots of a unit.",
    ),
    Kind("trajectory", "trends.tsv", "trends", "Gene expression trends along pseudotime."),
    Kind("enhance", "enhanced.h5ad", "enhanced", "De-noised expression of the selected genes."),
    Kind(
        "enhance",
        "enhanced_genes.tsv",
        "enhanced_genes",
        "Evaluation of de-noising for each gene, on held-out molecules.",
    ),
    Kind("map", "map.csv", "mapped", "Reference domain, confidence and likeness of every spot of a sample."),
    Kind("evaluate", "scores.csv", "scores", "Agreement of the domains with the labels."),
    Kind(
        "compare",
        "composition.tsv",
        "composition",
        "Differential abundance: proportion of each domain between conditions.",
    ),
    Kind("compare", "expression.tsv", "expression", "Differential expression between conditions within each domain."),
    Kind("compare", "gene_sets.tsv", "changed_gene_sets", "Gene set tests between conditions within each domain."),
    Kind("compare", "shares.tsv", "shares", "Proportion of each domain in every section of the study."),
    Kind("compare", "matches.tsv", "matches", "Matched domains of different units."),
    Kind(
        "assemble",
        "mmsrl.h5ad",
        "assembled",
        "All results of a section, or of a group, in one AnnData.",
    ),
    Kind(
        "assemble",
        "spatialdata.zarr",
        "spatialdata",
        "All results as SpatialData, with spots or cells as shapes.",
    ),
    Kind("assemble", "spots.csv", "spots", "Domain, confidence, pseudotime and its rank for every spot of a sample."),
    Kind("assemble", "loupe.csv", "loupe", "Domain of every spot of a sample, for import into Loupe Browser."),
    Kind("assemble", "domains.geojson", "qupath", "Spots, cells or bins with their domains, for import into QuPath."),
    Kind(
        "assemble",
        "coordinates.csv.gz",
        "coordinates",
        "Coordinates, UMAP layout and latent representation of every spot of a sample.",
    ),
    *(
        Kind("figures", f"{name}.{form}", "figure", f"{words}, as {form.upper()}.")
        for name, words in {
            "domains": "Domains on the tissue",
            "confidence": "Confidence of the domains on the tissue",
            "pseudotime": "Rank of pseudotime on the tissue",
            "umap": "UMAP layout of the latent representation",
            "paga": "PAGA graph of the domains",
            "quality": "Quality metrics on the tissue",
        }.items()
        for form in ("png", "pdf")
    ),
    Kind("report", "mmsrl_report.html", "report", "The report: start here."),
    Kind("report/assets", "plotly.min.js", "asset", "Plotting library of report and pages."),
    Kind("report/assets", "sections.js", "asset", "List of the pages, for navigation."),
    Kind("report/sections", "html", "page", "All results of a section, interactive."),
    Kind("multiqc", "mqc.json", "multiqc", "Report section for MultiQC."),
    Kind("multiqc", "mqc_versions.yml", "multiqc", "Package versions for MultiQC."),
    Kind("pipeline_info", "manifest.json", "manifest", "Parameters, inputs and versions needed to repeat the run."),
)


DESIGN = ("condition", "donor", "covariates")
"""Columns of the samplesheet that describe the study design."""


def described(path: str, n_bytes: int) -> dict[str, Any]:
    """Return the index entry of one file.

    Parameters
    ----------
    path
        Folder and name in the results.
    n_bytes
        Size in bytes; for a folder, the total of its files.

    Raises
    ------
    InputError
        No stage writes such a file.
    """
    folder, _, name = path.rpartition("/")
    entry: dict[str, Any] = {"path": path, "stage": folder, "id": None, "format": _format(name)}
    summary = f".{folder}.json"
    if name.endswith(summary):
        about = "Parameters, messages and results of the stage."
        return entry | {"id": name.removesuffix(summary), "kind": "summary", "bytes": n_bytes, "description": about}
    for kind in KINDS:
        if folder == kind.folder and (name == kind.ending or name.endswith((f".{kind.ending}", f"_{kind.ending}"))):
            of = name.removesuffix(f".{kind.ending}") if name.endswith(f".{kind.ending}") else None
            return entry | {"id": of, "kind": kind.kind, "bytes": n_bytes, "description": kind.description}
    raise InputError(f"{path}: no stage writes such a file; is this version of mmsrl that of the pipeline?")


def _format(name: str) -> str:
    parts = name.split(".")
    return ".".join(parts[-2:]) if parts[-1] in ("gz", "zip") else parts[-1]


def index(
    files: Iterable[Mapping[str, Any]], units: Iterable[Mapping[str, Any]], samples: Iterable[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the index of a run: its files, the samples of each unit, and the design of the study.

    Parameters
    ----------
    files
        ``path`` and ``bytes`` of each file.
    units
        ``id`` and ``samples`` of each unit.
    samples
        ``id``, ``condition``, ``donor`` and ``covariates`` of each sample. Samples without unit are left out.

    Returns
    -------
    dict
        ``units``, ``samples`` and ``files``, each sorted.

    Raises
    ------
    InputError
        No stage writes one of the files, or a path is duplicated.
    """
    members: dict[str, Sequence[str]] = {str(unit["id"]): unit["samples"] for unit in units}
    entries = {}
    for file in files:
        if file["path"] in entries:
            raise InputError(f"{file['path']}: two files of this name; one of them overwrites the other")
        entries[file["path"]] = described(file["path"], file["bytes"])
    about = {str(sample["id"]): sample for sample in samples}
    listed = natural_order(sample for unit in members.values() for sample in unit if sample in about)
    return {
        "units": [{"id": unit, "samples": natural_order(members[unit])} for unit in natural_order(members)],
        "samples": [{key: about[sample][key] for key in ("id", *DESIGN)} for sample in listed],
        "files": [entries[path] for path in sorted(entries)],
    }
