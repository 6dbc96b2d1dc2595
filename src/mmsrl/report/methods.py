"""The methods text: what was done with which settings, as one would write it in a paper, with what to cite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmsrl import _keys

PUBLISHED = {"mmsrl": "MMSRL", "stmmr": "stMMR"}
"""References of the published presets."""

REFERENCES = {
    "MMSRL": "Multi-Modal SRT Representation Learning (MMSRL), reference implementation: github.com/bifdog0928/MMSRL.",
    "stMMR": "Zhang D., Yu N. et al. stMMR: accurate and robust spatial domain identification from spatially resolved "
    "transcriptomics with multimodal feature representation. GigaScience 13 (2024).",
    "scanpy": "Wolf F. A., Angerer P., Theis F. J. SCANPY: large-scale single-cell gene expression data analysis. "
    "Genome Biology 19, 15 (2018).",
    "anndata": "Virshup I. et al. anndata: Access and store annotated data matrices. Journal of Open Source Software "
    "9, 4371 (2024).",
    "seurat_v3": "Stuart T. et al. Comprehensive integration of single-cell data. Cell 177, 1888–1902 (2019).",
    "EfficientNet": "Tan M., Le Q. V. EfficientNet: Rethinking model scaling for convolutional neural networks. "
    "ICML (2019).",
    "PyTorch": "Paszke A. et al. PyTorch: An imperative style, high-performance deep learning library. NeurIPS (2019).",
    "harmony": "Korsunsky I. et al. Fast, sensitive and accurate integration of single-cell data with Harmony. "
    "Nature Methods 16, 1289–1296 (2019).",
    "bilateral filter": "Tomasi C., Manduchi R. Bilateral filtering for gray and color images. ICCV, 839–846 (1998).",
    "scikit-learn": "Pedregosa F. et al. Scikit-learn: Machine learning in Python. JMLR 12, 2825–2830 (2011).",
    "Leiden": "Traag V. A., Waltman L., van Eck N. J. From Louvain to Leiden: guaranteeing well-connected communities. "
    "Scientific Reports 9, 5233 (2019).",
    "count splitting": "Neufeld A. et al. Inference after latent variable estimation for single-cell RNA sequencing "
    "data. Biostatistics 25, 270–287 (2024).",
    "limma": "Smyth G. K. Linear models and empirical Bayes methods for assessing differential expression in "
    "microarray experiments. Statistical Applications in Genetics and Molecular Biology 3, 3 (2004).",
    "voom": "Law C. W., Chen Y., Shi W., Smyth G. K. voom: precision weights unlock linear model analysis tools for "
    "RNA-seq read counts. Genome Biology 15, R29 (2014).",
    "camera": "Wu D., Smyth G. K. Camera: a competitive gene set test accounting for inter-gene correlation. Nucleic "
    "Acids Research 40, e133 (2012).",
    "median of ratios": "Anders S., Huber W. Differential expression analysis for sequence count data. Genome Biology "
    "11, R106 (2010).",
    "propeller": "Phipson B. et al. propeller: testing for differences in cell type proportions in single cell data. "
    "Bioinformatics 38, 4720–4726 (2022).",
    "statsmodels": "Seabold S., Perktold J. Statsmodels: econometric and statistical modeling with Python. SciPy, "
    "92–96 (2010).",
    "DPT": "Haghverdi L. et al. Diffusion pseudotime robustly reconstructs lineage branching. Nature Methods 13, "
    "845–848 (2016).",
    "PAGA": "Wolf F. A. et al. PAGA: graph abstraction reconciles clustering with trajectory inference through a "
    "topology preserving map of single cells. Genome Biology 20, 59 (2019).",
    "ARI": "Hubert L., Arabie P. Comparing partitions. Journal of Classification 2, 193–218 (1985).",
    "Nextflow": "Di Tommaso P. et al. Nextflow enables reproducible computational workflows. Nature Biotechnology 35, "
    "316–319 (2017).",
    "plotly": "Plotly Technologies Inc. Plotly: the interactive graphing library. plotly.com (2015).",
    "matplotlib": "Hunter J. D. Matplotlib: a 2D graphics environment. Computing in Science & Engineering 9, 90–95 "
    "(2007).",
    "palette": "Okabe M., Ito K. Color universal design: how to make figures and presentations that are friendly to "
    "colorblind people. jfly.uni-koeln.de/color (2008).",
}


@dataclass(frozen=True)
class Paragraph:
    """One step of the analysis and the keys in :data:`REFERENCES` it rests on."""

    title: str
    text: str
    cites: tuple[str, ...]


def paragraphs(summaries: Sequence[Mapping[str, Any]]) -> list[Paragraph]:
    """Describe the stages that ran.

    Where samples or units differ in a setting, every value that occurs is named.

    Parameters
    ----------
    summaries
        Stage summaries of all samples and units.
    """
    by_stage: dict[str, list[Mapping[str, Any]]] = {}
    for summary in summaries:
        by_stage.setdefault(summary["stage"], []).append(summary)

    def asked(stage: str, name: str) -> list[Any]:
        values = [summary["parameters"].get(name) for summary in by_stage.get(stage, [])]
        return list(dict.fromkeys(value for value in values if value is not None))

    def said(stage: str, name: str) -> str:
        return " or ".join(str(value) for value in asked(stage, name))

    steps = [
        _qc(said) if "qc" in by_stage else None,
        _features(by_stage["features"]) if "features" in by_stage else None,
        _train(asked("train", "preset"), said, by_stage["train"]) if "train" in by_stage else None,
        _domains(asked("domains", "readout"), by_stage["domains"]) if "domains" in by_stage else None,
        _markers(by_stage["markers"]) if "markers" in by_stage else None,
        _trajectory(by_stage["trajectory"]) if "trajectory" in by_stage else None,
        _ENHANCEMENT if any("skipped" not in s["result"] for s in by_stage.get("enhance", [])) else None,
        _evaluate() if "evaluate" in by_stage else None,
        _compare(by_stage["compare"][0]) if "compare" in by_stage else None,
        _map(by_stage["map"]) if "map" in by_stage else None,
        Paragraph(
            "Workflow and figures",
            "All steps ran as a Nextflow pipeline. Figures of this report were drawn with Plotly, those in files "
            "of their own with Matplotlib; the colours of domains begin with those of Okabe and Ito.",
            ("Nextflow", "plotly", "matplotlib", "palette"),
        ),
    ]
    return [step for step in steps if step is not None]


_ENHANCEMENT = Paragraph(
    "De-noised expression",
    "Expression of each gene is a mixture of a linear prediction from the embedding, counts of the neighbourhood, the "
    "spot's own and the gene's mean, with weights that a quarter of the molecules chose for estimates made from "
    "half of them. On the quarter left it is called better where it saves Poisson deviance of counts by library, of "
    "counts of the neighbourhood and of the gene's mean alike (one-sided t-tests at 2.5 %, standard errors by a "
    "jackknife over blocks of tissue; not corrected for the number of genes).",
    ("count splitting",),
)


def _qc(said: Any) -> Paragraph:
    filters = [
        f"spots with a total count below {said('qc', 'min_counts')}" if said("qc", "min_counts") else "",
        f"spots with a number of detected genes below {said('qc', 'min_genes')}" if said("qc", "min_genes") else "",
        f"spots with more than {said('qc', 'max_pct_mt')} % mitochondrial counts" if said("qc", "max_pct_mt") else "",
        f"spots more than {said('qc', 'nmads')} median absolute deviations below the median of log counts or log "
        "genes, or above that of mitochondrial percentage"
        if said("qc", "nmads")
        else "",
        f"genes detected in fewer than {said('qc', 'min_spots')} spots" if said("qc", "min_spots") else "",
    ]
    removed = "; ".join(part for part in filters if part)
    return Paragraph(
        "Quality control",
        f"Spots outside tissue were left out. Removed were then: {removed}. Metrics were computed with scanpy and data "
        "kept as AnnData.",
        ("scanpy", "anndata"),
    )


def _features(summaries: Sequence[Mapping[str, Any]]) -> Paragraph:
    described = [s["result"] for s in summaries if s["result"].get("components")]
    if not described:
        return Paragraph("Image features", "No histology image was used.", ())
    names = " or ".join(dict.fromkeys(str(result.get("descriptor")) for result in described))
    text = (
        f"The histology around every spot was described ({names}) and reduced by principal component analysis. "
        f"This was done for {len(described)} of {len(summaries)} samples."
    )
    cites = ("EfficientNet", "PyTorch", "scikit-learn") if "efficientnet" in names else ("scikit-learn",)
    return Paragraph("Image features", text, cites)


def _train(presets: Sequence[str], said: Any, summaries: Sequence[Mapping[str, Any]]) -> Paragraph:
    numbers = sorted({int(summary["result"]["n_genes"]) for summary in summaries})
    genes = " or ".join(f"{number:,}" for number in numbers)
    seed = f" (seed {said('train', 'seed')})" if said("train", "seed") else ""
    published = " and ".join(f"the {PUBLISHED[preset]} model as published" for preset in presets if preset in PUBLISHED)
    parts = []
    if "default" in presets:
        image = _image([summary for summary in summaries if summary["parameters"]["preset"] == "default"])
        parts.append(
            f"The default embedding{seed} is in closed form: principal components of {genes} highly variable genes, "
            f"each scaled to unit variance, from {_taken_from(summaries)}. Components with spatial structure were "
            "smoothed over neighbouring spots by a bilateral filter, which keeps borders sharp, and by a Gaussian, "
            "with bandwidths around the one that leave-one-out "
            f"cross-validation chose{image}."
        )
    if published:
        parts.append(
            f"Expression, histology and location of every spot were embedded by {published}, on {genes} highly "
            f"variable genes{seed} and a sparse graph of neighbouring spots. The embedding was read out in evaluation "
            "mode, after a number of epochs that does not depend on labels."
        )
    text = " ".join(parts)
    corrected = any(
        len(summary["result"].get("samples", [])) > 1 and summary["parameters"].get("batch_correction")
        for summary in summaries
    )
    if corrected:
        text += " Sections trained together were corrected for batch"
        text += " by mutual nearest neighbours (images: Harmony)." if "default" in presets else " with Harmony."
    models = tuple(PUBLISHED[preset] for preset in presets if preset in PUBLISHED)
    filtered = ("bilateral filter",) if "default" in presets else ()
    cites = (*models, *filtered, "scikit-learn", "seurat_v3", "PyTorch", *(("harmony",) if corrected else ()))
    return Paragraph("Embedding", text, cites)


def _taken_from(summaries: Sequence[Mapping[str, Any]]) -> str:
    """Say what expression the default's components are taken from."""
    kinds = {summary["result"].get("expression", _keys.COUNTS) for summary in summaries}
    from_counts = "log-normalised counts, less what depth alone makes of them, and from Pearson residuals"
    from_values = "the logarithm of values that were normalised before, as they were and scaled to equal totals"
    return ", or ".join(
        text for kind, text in ((_keys.COUNTS, from_counts), (_keys.NORMALISED, from_values)) if kind in kinds
    )


def _image(summaries: Sequence[Mapping[str, Any]]) -> str:
    """Say what the image had to do with the default's components, as the end of a sentence about them."""
    weights = [image["mean_weight"] for summary in summaries if (image := summary["result"].get("image"))]
    if not any(weights):
        return "; the image added nothing to them in tissue held out" if weights else ""
    used = sum(weight > 0 for weight in weights)
    where = f" (in {used} of {len(summaries)} trainings)" if used < len(summaries) else ""
    return f", and averaged with what the image predicts of them in tissue held out, as far as that adds to them{where}"


def _domains(readouts: Sequence[str], summaries: Sequence[Mapping[str, Any]]) -> Paragraph:
    ways = {
        "gmm": "a Gaussian mixture with one covariance shared by all domains",
        "gmm_full": "a Gaussian mixture with a covariance for each domain",
        "kmeans": "k-means",
        "leiden": "Leiden clustering of the nearest-neighbour graph",
    }
    used = " or ".join(ways.get(readout, readout) for readout in readouts)
    cites = tuple(dict.fromkeys("Leiden" if readout == "leiden" else "scikit-learn" for readout in readouts))
    text = f"Spots were grouped into domains on the embedding by {used}."
    members = list(dict.fromkeys(summary["result"]["members"] for summary in summaries))
    if max(members) > 1:
        kept = [number for summary in summaries for number in summary["result"]["components"]]
        differing = f" with {min(kept)} to {max(kept)} components" if len(set(kept)) > 1 else ""
        text += (
            f" This was done for {' or '.join(map(str, members))} members of an ensemble of embeddings{differing}; "
            "matching domains were paired and their probabilities averaged."
        )
    return Paragraph("Spatial domains", text, cites)


def _markers(summaries: Sequence[Mapping[str, Any]]) -> Paragraph:
    counted = [s for s in summaries if s["result"].get("expression", _keys.COUNTS) == _keys.COUNTS]
    effects = (
        "Where expression was normalised before, means of domains were compared with those elsewhere in the section, "
        "in standard deviations of the gene, with 95 % intervals from a jackknife over blocks of tissue; genes that "
        "follow the tissue were found by Moran's I of their values. "
        if len(counted) < len(summaries)
        else ""
    )
    if not counted:
        return Paragraph("Markers", effects.strip(), ())
    anew = [bool(summary["result"].get("found_anew")) for summary in counted]
    test = (
        "Molecules were divided at random into halves; domains were found anew in one half, by the same training and "
        "read-out, and genes tested between them in the other: molecules in the domain against those that its share "
        "of the library lets expect, within sections (one-sided score test of a negative binomial model, Pearson III "
        "distribution with its first three moments; Benjamini-Hochberg). "
    )
    least = [number for summary in summaries if (number := summary["result"].get("pseudobulk", {}).get("sections"))]
    over = (
        f"Of domains in enough sections ({min(least)} or more) molecules of the same half "
        "gave one estimate of the excess a section, whose mean was tested by limma's one-sided moderated t test "
        "(Benjamini-Hochberg); its markers are significant in both. "
        if least
        else ""
    )
    untested = "Domains of published models were not found anew, and their genes not tested. "
    text = (
        f"{test if any(anew) else ''}{over}{'' if all(anew) else untested}Fold changes are ratios of molecules per "
        "molecule of the library, pooled over sections as by Mantel and Haenszel, with 95 % intervals for negative "
        "binomial counts. Genes that follow the tissue were found by Moran's I over adjoining spots of observed less "
        "expected molecules, with the moments that it has under the same model. "
        f"{effects}"
    ).strip()
    cites = (*(("count splitting",) if any(anew) else ()), *(("limma",) if least else ()))
    return Paragraph("Markers", text, cites)


def _trajectory(summaries: Sequence[Mapping[str, Any]]) -> Paragraph:
    roots = [summary["result"]["root"] for summary in summaries]
    rules = list(dict.fromkeys(root["rule"] for root in roots))
    if not any(root["direction_known"] for root in roots):
        way = " along the longest way in diffusion distance, whose direction is not known"
    elif len(rules) == 1:
        way = f" from {rules[0]}"
    else:
        way = " from the root that each page names"
    numbers = " or ".join(str(number) for number in dict.fromkeys(s["result"]["n_neighbors"] for s in summaries))
    return Paragraph(
        "Trajectory",
        f"Spots were ordered by diffusion pseudotime{way}, on the graph of the {numbers} nearest neighbours in the "
        "embedding; connections of domains are those of PAGA. Rates of genes were fitted by natural cubic splines of "
        "the rank of pseudotime, with a level for each section; standard errors are from leaving out blocks of tissue.",
        ("scanpy", "DPT", "PAGA"),
    )


def _evaluate() -> Paragraph:
    return Paragraph(
        "Evaluation",
        "Where labels were given, domains were compared with them (adjusted Rand index and others); spots without a "
        "label were left out. No other step read the labels.",
        ("ARI", "scikit-learn"),
    )


def _compare(summary: Mapping[str, Any]) -> Paragraph:
    result = summary["result"]
    tested = any(row["n_tested"] for row in result["expression"])
    replicates = "sections" if result["replicate"] == "section" else "donors, whose sections of a condition were summed"
    paired = ", with donors as blocks" if result["paired"] else ""
    shared = (
        f" Domains of units trained apart were paired with those of {result['domains_of']} where each was the other's "
        "most similar by its expression profile, in most draws of a bootstrap over regions of tissue."
        if result["matches"]
        else ""
    )
    expression = (
        " For expression, molecules were summed by replicate and domain and every gene was tested by limma's moderated "
        "t-test on log counts with the weights of voom and library sizes by the median of ratios (Benjamini-Hochberg "
        "over the genes of all domains of a condition)."
        if tested
        else ""
    )
    model = f" ({result['model']})" if result["model"] else ""
    of_sets = " Gene sets were tested by camera, which estimates the correlation of their genes from the residuals."
    sets = of_sets if tested and summary["parameters"].get("gene_sets") else ""
    text = (
        f"Sections of {', '.join(result['conditions'][1:])} were compared with those of {result['control']}, each "
        f"condition on its own, by a linear model{model}{paired}; replicates were {replicates}.{shared} "
        "Shares of domains were "
        "compared as logits, with half a spot of the smallest replicate, and of others in proportion, added to a "
        "domain and to all others, by least squares and two-sided "
        f"t-tests (Benjamini-Hochberg over domains).{expression}{sets}"
    )
    cites = (
        "propeller",
        "statsmodels",
        *(("limma", "voom", "median of ratios") if tested else ()),
        *(("camera",) if sets else ()),
    )
    return Paragraph("Comparison of conditions", text, cites)


def _map(summaries: Sequence[Mapping[str, Any]]) -> Paragraph:
    units = ", ".join(dict.fromkeys(str(summary["result"]["reference"]) for summary in summaries))
    return Paragraph(
        "Mapping onto a reference",
        f"Sections were also labelled by the domains of {units}, without training. Counts were normalised by the "
        "constants of the reference, projected on its components, smoothed over the same length of tissue and moved "
        "onto it by mutual nearest neighbours; domains were told by linear discriminant analysis with equal priors, "
        "the mean over the members of the ensemble. Spots whose neighbourhood correlates with no domain as well as the "
        "reference's own spots do at that depth are called unlike it.",
        ("scikit-learn",),
    )
