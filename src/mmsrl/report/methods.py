"""Methods text of a run with its settings and references, ready for a paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmsrl import _keys

PUBLISHED = {"mmsrl": "MMSRL", "stmmr": "stMMR"}
"""Keys in :data:`REFERENCES` of the published presets."""

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
    """Step of the analysis with its references, as keys in :data:`REFERENCES`."""

    title: str
    text: str
    cites: tuple[str, ...]


def paragraphs(summaries: Sequence[Mapping[str, Any]]) -> list[Paragraph]:
    """Describe the stages that ran.

    If samples or units differ in a setting, the text lists all values.

    Parameters
    ----------
    summaries
        Summaries of the stages of all samples and units.
    """
    by_stage: dict[str, list[Mapping[str, Any]]] = {}
    for summary in summaries:
        by_stage.setdefault(summary["stage"], []).append(summary)

    def settings(stage: str, name: str) -> list[Any]:
        values = [summary["parameters"].get(name) for summary in by_stage.get(stage, [])]
        return list(dict.fromkeys(value for value in values if value is not None))

    def setting(stage: str, name: str) -> str:
        return " or ".join(str(value) for value in settings(stage, name))

    steps = [
        _qc(setting) if "qc" in by_stage else None,
        _features(by_stage["features"]) if "features" in by_stage else None,
        _train(settings("train", "preset"), setting, by_stage["train"]) if "train" in by_stage else None,
        _domains(settings("domains", "readout"), by_stage["domains"]) if "domains" in by_stage else None,
        _markers(by_stage["markers"]) if "markers" in by_stage else None,
        _trajectory(by_stage["trajectory"]) if "trajectory" in by_stage else None,
        _ENHANCEMENT if any("skipped" not in s["result"] for s in by_stage.get("enhance", [])) else None,
        _evaluate() if "evaluate" in by_stage else None,
        _compare(by_stage["compare"][0]) if "compare" in by_stage else None,
        _map(by_stage["map"]) if "map" in by_stage else None,
        Paragraph(
            "Workflow and figures",
            "All steps ran as a Nextflow pipeline. The figures of this report were drawn with Plotly, and the figure "
            "files with Matplotlib. The colour palette of the domains starts with the colours of Okabe and Ito.",
            ("Nextflow", "plotly", "matplotlib", "palette"),
        ),
    ]
    return [step for step in steps if step is not None]


_ENHANCEMENT = Paragraph(
    "De-noised expression",
    "The de-noised expression of each gene is a weighted mean of four estimates: a linear prediction from the "
    "embedding, counts of the neighbourhood, counts of the spot, and the gene’s mean. The estimates used half of the "
    "molecules, and a quarter of the molecules determined the weights. The remaining quarter was held out. De-noising "
    "was called better if it reduced the Poisson deviance of the held-out molecules compared with library-normalised "
    "counts, counts of the neighbourhood and the gene’s mean (one-sided t-tests at 2.5 %, standard errors from a "
    "jackknife over blocks of tissue, no correction for the number of genes).",
    ("count splitting",),
)


def _qc(setting: Any) -> Paragraph:
    filters = [
        f"spots with a total count below {setting('qc', 'min_counts')}" if setting("qc", "min_counts") else "",
        f"spots with a number of detected genes below {setting('qc', 'min_genes')}"
        if setting("qc", "min_genes")
        else "",
        f"spots with more than {setting('qc', 'max_pct_mt')} % mitochondrial counts"
        if setting("qc", "max_pct_mt")
        else "",
        f"spots more than {setting('qc', 'nmads')} median absolute deviations below the median of log counts or log "
        "genes, or above that of mitochondrial percentage"
        if setting("qc", "nmads")
        else "",
        f"genes detected in fewer than {setting('qc', 'min_spots')} spots" if setting("qc", "min_spots") else "",
    ]
    removed = "; ".join(part for part in filters if part)
    return Paragraph(
        "Quality control",
        f"Spots outside the tissue were removed first. The following filters were then applied: {removed}. Quality "
        "metrics were computed with scanpy, and data were stored as AnnData.",
        ("scanpy", "anndata"),
    )


def _features(summaries: Sequence[Mapping[str, Any]]) -> Paragraph:
    described = [s["result"] for s in summaries if s["result"].get("components")]
    if not described:
        return Paragraph("Image features", "No histology image was used.", ())
    names = " or ".join(dict.fromkeys(str(result.get("descriptor")) for result in described))
    text = (
        f"Image descriptors ({names}) were computed from tiles around every spot and reduced by principal component "
        f"analysis, for {len(described)} of {len(summaries)} samples."
    )
    cites = ("EfficientNet", "PyTorch", "scikit-learn") if "efficientnet" in names else ("scikit-learn",)
    return Paragraph("Image features", text, cites)


def _train(presets: Sequence[str], setting: Any, summaries: Sequence[Mapping[str, Any]]) -> Paragraph:
    gene_numbers = sorted({int(summary["result"]["n_genes"]) for summary in summaries})
    genes = " or ".join(f"{number:,}" for number in gene_numbers)
    seed = f" (random seed {setting('train', 'seed')})" if setting("train", "seed") else ""
    published = " and ".join(f"the published {PUBLISHED[preset]} model" for preset in presets if preset in PUBLISHED)
    parts = []
    if "default" in presets:
        image = _image([summary for summary in summaries if summary["parameters"]["preset"] == "default"])
        parts.append(
            f"The default embedding{seed} has a closed-form solution. Principal components of {genes} highly variable "
            f"genes, each scaled to unit variance, were computed from {_expression_of(summaries)}. Components with "
            "spatial structure were smoothed over neighbouring spots by a bilateral filter, which preserves edges, and "
            f"by a Gaussian kernel. Bandwidths were chosen around the leave-one-out cross-validation optimum.{image}"
        )
    if published:
        parts.append(
            f"Expression, histology and location of every spot were embedded by {published}, on {genes} highly "
            f"variable genes{seed} and a sparse graph of neighbouring spots. The embedding was taken in evaluation "
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


def _expression_of(summaries: Sequence[Mapping[str, Any]]) -> str:
    """Name the expression values from which the default embedding is computed."""
    kinds = {summary["result"].get("expression", _keys.COUNTS) for summary in summaries}
    from_counts = "log-normalised counts, corrected for sequencing depth, and from Pearson residuals"
    from_values = "the logarithm of the given normalised values, unscaled and scaled to equal totals"
    return ", or ".join(
        text for kind, text in ((_keys.COUNTS, from_counts), (_keys.NORMALISED, from_values)) if kind in kinds
    )


def _image(summaries: Sequence[Mapping[str, Any]]) -> str:
    """Describe the contribution of the image to the default embedding, as a sentence after a space."""
    weights = [image["mean_weight"] for summary in summaries if (image := summary["result"].get("image"))]
    if not any(weights):
        return " The image did not improve the components in held-out tissue." if weights else ""
    used = sum(weight > 0 for weight in weights)
    where = f" (in {used} of {len(summaries)} trainings)" if used < len(summaries) else ""
    return (
        " The components were averaged with their prediction from the image, with weights by its gain in held-out "
        f"tissue{where}."
    )


def _domains(readouts: Sequence[str], summaries: Sequence[Mapping[str, Any]]) -> Paragraph:
    ways = {
        "gmm": "a Gaussian mixture model with tied covariance",
        "gmm_full": "a Gaussian mixture model with one full covariance per domain",
        "kmeans": "k-means",
        "leiden": "Leiden clustering of the nearest-neighbour graph",
    }
    used = " or ".join(ways.get(readout, readout) for readout in readouts)
    cites = tuple(dict.fromkeys("Leiden" if readout == "leiden" else "scikit-learn" for readout in readouts))
    text = f"Spots were clustered into domains on the embedding by {used}."
    members = list(dict.fromkeys(summary["result"]["members"] for summary in summaries))
    if max(members) > 1:
        kept = [number for summary in summaries for number in summary["result"]["components"]]
        differing = f" with {min(kept)} to {max(kept)} components" if len(set(kept)) > 1 else ""
        text += (
            f" The clustering was repeated for {' or '.join(map(str, members))} ensemble members{differing}. Domains "
            "of the members were matched and their probabilities averaged."
        )
    return Paragraph("Spatial domains", text, cites)


def _markers(summaries: Sequence[Mapping[str, Any]]) -> Paragraph:
    counted = [s for s in summaries if s["result"].get("expression", _keys.COUNTS) == _keys.COUNTS]
    effects = (
        "For expression that was normalised before, the mean of each domain was compared with the rest of the section, "
        "in standard deviations of the gene, with 95 % confidence intervals from a jackknife over blocks of tissue. "
        "Spatially variable genes were found by Moran’s I of their values. "
        if len(counted) < len(summaries)
        else ""
    )
    if not counted:
        return Paragraph("Markers", effects.strip(), ())
    anew = [bool(summary["result"].get("found_anew")) for summary in counted]
    test = (
        "Molecules were split at random into two halves. Domains were found again in one half, by the same training "
        "and clustering, and genes were tested in the other half. The test compares the molecules in a domain with the "
        "number expected from its share of the library size, within sections (one-sided score test of a negative "
        "binomial model, Pearson type III distribution with matched first three moments, Benjamini-Hochberg). "
    )
    least = [number for summary in summaries if (number := summary["result"].get("pseudobulk", {}).get("sections"))]
    over = (
        f"For domains in enough sections ({min(least)} or more), the excess of molecules of the same half was also "
        "estimated per section, and its mean was tested by limma’s one-sided moderated t-test (Benjamini-Hochberg). "
        "Markers of these domains are significant in both tests. "
        if least
        else ""
    )
    untested = "For published models, domains were not found again and genes were not tested. "
    text = (
        f"{test if any(anew) else ''}{over}{'' if all(anew) else untested}Fold changes are ratios of molecules per "
        "unit of library size, pooled over sections by the Mantel-Haenszel method, with 95 % confidence intervals for "
        "negative binomial counts. Spatially variable genes were found by Moran’s I of observed minus expected "
        "molecules over adjacent spots, with its moments under the same model. "
        f"{effects}"
    ).strip()
    cites = (*(("count splitting",) if any(anew) else ()), *(("limma",) if least else ()))
    return Paragraph("Markers", text, cites)


def _trajectory(summaries: Sequence[Mapping[str, Any]]) -> Paragraph:
    roots = [summary["result"]["root"] for summary in summaries]
    rules = list(dict.fromkeys(root["rule"] for root in roots))
    if not any(root["direction_known"] for root in roots):
        way = " along the longest path in diffusion distance, whose direction is not known"
    elif len(rules) == 1:
        way = f" from {rules[0]}"
    else:
        way = " from the root that each page names"
    numbers = " or ".join(str(number) for number in dict.fromkeys(s["result"]["n_neighbors"] for s in summaries))
    return Paragraph(
        "Trajectory",
        f"Spots were ordered by diffusion pseudotime{way}, on the {numbers}-nearest-neighbour graph of the embedding. "
        "PAGA estimated the connectivity of the domains. Expression rates were fitted by natural cubic splines of the "
        "pseudotime rank, with an intercept for each section. Standard errors come from leaving out blocks of tissue.",
        ("scanpy", "DPT", "PAGA"),
    )


def _evaluate() -> Paragraph:
    return Paragraph(
        "Evaluation",
        "Domains were compared with labels, if given (adjusted Rand index and others). Spots without a label were left "
        "out. No other step read the labels.",
        ("ARI", "scikit-learn"),
    )


def _compare(summary: Mapping[str, Any]) -> Paragraph:
    result = summary["result"]
    tested = any(row["n_tested"] for row in result["expression"])
    replicates = (
        "sections" if result["replicate"] == "section" else "donors, with sections of the same condition summed"
    )
    paired = ", with donors as blocks" if result["paired"] else ""
    shared = (
        f" Domains of separately trained units were matched with the domains of {result['domains_of']} if each was the "
        "other’s most similar by expression profile in most draws of a bootstrap over regions of tissue."
        if result["matches"]
        else ""
    )
    expression = (
        " For expression, pseudobulk counts were summed by replicate and domain. Every gene was tested by limma’s "
        "moderated t-test on log counts with voom weights and library sizes by the median of ratios "
        "(Benjamini-Hochberg over the genes of all domains of a condition)."
        if tested
        else ""
    )
    model = f" ({result['model']})" if result["model"] else ""
    of_sets = " Gene sets were tested by camera, which estimates the correlation of genes from the residuals."
    sets = of_sets if tested and summary["parameters"].get("gene_sets") else ""
    control, *others = result["conditions"]
    compared = f"The condition {others[0]}" if len(others) == 1 else f"Each of the conditions {', '.join(others)}"
    text = (
        f"{compared} was compared with {control} by a linear model{model}{paired}. Replicates were "
        f"{replicates}.{shared} Shares of domains were compared as logits by least squares and two-sided t-tests "
        "(Benjamini-Hochberg over domains). A pseudocount was added to each domain and to the rest: half a spot in the "
        f"smallest replicate, and in proportion to size in the others.{expression}{sets}"
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
        f"Sections were also labelled with the domains of {units}, without training. Counts were normalised by the "
        "constants of the reference, projected onto its principal components, smoothed with the same bandwidth and "
        "aligned by mutual nearest neighbours. Domains were predicted by linear discriminant analysis with equal "
        "priors, averaged over the ensemble members. A spot is called unlike the reference if its neighbourhood "
        "correlates with every domain less than the spots of the reference do at the same depth.",
        ("scikit-learn",),
    )
