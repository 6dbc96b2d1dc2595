"""Table of all parameters, the single source of their names, types, limits and descriptions.

Console commands take their options from this table. ``make generate`` writes ``nextflow_schema.json``,
``conf/params.config``, ``conf/args.config`` and ``docs/parameters.md`` from it. A parameter is spelt
``--n_top_genes`` for the pipeline and ``--n-top-genes`` for a console command.
"""

from __future__ import annotations

from dataclasses import replace

from mmsrl._parameter import Parameter
from mmsrl._site_parameters import SITE_PARAMETERS

PRESETS = ("default", "mmsrl", "stmmr")

PARAMETERS: tuple[Parameter, ...] = (
    Parameter(
        "input",
        "input_output",
        "string",
        None,
        "Path to the samplesheet (CSV, TSV, YAML or JSON), with one row per section.",
        format="file-path",
        schema="assets/schema_input.json",
        required=True,
    ),
    Parameter(
        "outdir",
        "input_output",
        "string",
        None,
        "Path to the folder for the results.",
        format="directory-path",
        required=True,
    ),
    Parameter(
        "publish_dir_mode",
        "input_output",
        "string",
        "copy",
        "Method that publishes results from the work directory to `outdir`.",
        choices=("copy", "symlink", "link", "rellink", "copyNoFollow"),
        hidden=True,
    ),
    Parameter(
        "n_seeds",
        "input_output",
        "integer",
        None,
        "Number of trainings of a published preset, with the random seeds `seed`, `seed` + 1 and so on. Their "
        "embeddings are the members of the ensemble behind the consensus domains. Empty: 1. `default` gets its "
        "whole ensemble from one training.",
        minimum=1,
    ),
    Parameter(
        "backbone_weights",
        "input_output",
        "string",
        None,
        "Path to the weights (PyTorch or safetensors) of the timm model in `backbone`. Empty: weights from the hub.",
        format="file-path",
        also={"features": None},
    ),
    Parameter(
        "gene_sets",
        "input_output",
        "string",
        None,
        "Path to a GMT file of gene sets (tab-separated name, description, genes), to test for enrichment among "
        "the markers of domains and between conditions.",
        format="file-path",
        also={"markers": None, "compare": None},
    ),
    Parameter(
        "reference",
        "input_output",
        "string",
        None,
        "Path to the results of an earlier run with preset `default`. Every section is also labelled with the "
        "domains of that run.",
        format="directory-path",
        also={"map": None},
    ),
    Parameter(
        "reference_unit",
        "input_output",
        "string",
        None,
        "Unit of `reference`, a sample or a group. Needed only if `reference` has several units.",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        pattern_words="the name of a sample or group",
        also={"map": None},
    ),
    Parameter(
        "on_sample_error",
        "input_output",
        "string",
        "skip",
        "Reaction if a section cannot be analysed. `skip` leaves out the section and its group, finishes all "
        "others, names it in the report and ends with an exit status other than 0. `stop` starts no further task.",
        choices=("skip", "stop"),
    ),
    Parameter(
        "start_from",
        "input_output",
        "string",
        None,
        "Path to the results (`outdir`) of an earlier run of the same sections. Files up to `start_after` are "
        "taken from there and not computed again.",
        format="directory-path",
    ),
    Parameter(
        "start_after",
        "input_output",
        "string",
        None,
        "Last stage whose results are taken from `start_from`: `qc` or `train`. Empty: `train`.",
        choices=("qc", "train"),
    ),
    *(
        Parameter(f"skip_{stage}", "input_output", "boolean", False, f"Skip {words}.")
        for stage, words in {
            "markers": "markers of domains, spatially variable genes and gene sets",
            "trajectory": "pseudotime and all results that depend on it",
            "enhance": "de-noised expression",
            "figures": "figure files",
            "report": "the report, the section pages, the manifest and the MultiQC sections",
        }.items()
    ),
    Parameter("help", "input_output", "boolean", False, "Print the parameters and stop.", hidden=True),
    Parameter("min_counts", "qc", "integer", 1, "Remove spots with fewer counts (UMIs).", minimum=0),
    Parameter("min_genes", "qc", "integer", 1, "Remove spots with fewer detected genes.", minimum=0),
    Parameter(
        "max_pct_mt",
        "qc",
        "number",
        None,
        "Remove spots with a higher percentage of mitochondrial counts. Empty: no such filter.",
        minimum=0,
        maximum=100,
    ),
    Parameter(
        "nmads",
        "qc",
        "number",
        None,
        "Remove outlier spots: more than this many median absolute deviations below the median of log counts or "
        "log genes, or above the median of the mitochondrial percentage. Empty: no such filter.",
        minimum=0,
    ),
    Parameter("min_spots", "qc", "integer", 3, "Remove genes detected in fewer spots.", minimum=0),
    Parameter(
        "species",
        "qc",
        "string",
        "auto",
        "Species whose mitochondrial, ribosomal and haemoglobin genes are counted. `auto` infers it from the genes.",
        choices=("auto", "human", "mouse"),
    ),
    Parameter("use_image", "features", "boolean", True, "Use the histology image of sections that have a usable one."),
    Parameter(
        "backbone",
        "features",
        "string",
        "efficientnet_lite0+texture",
        "Descriptors of the image around each spot, joined by `+`: `efficientnet_lite0`, `texture` (colour, stain "
        "and texture), or `timm/` followed by the name of a timm model.",
        pattern=r"^(efficientnet_lite0|texture|timm/[\w./:-]+)(\+(efficientnet_lite0|texture|timm/[\w./:-]+))*$",
        pattern_words="efficientnet_lite0, texture or timm/<name of a model of timm>, or several joined by +",
    ),
    Parameter(
        "backbone_options",
        "features",
        "string",
        None,
        "Further arguments of the timm model, as `name=value` joined by commas.",
        pattern=r"^\w+=[\w.+-]+(,\w+=[\w.+-]+)*$",
        pattern_words="name=value, or several joined by commas",
    ),
    Parameter(
        "tile_um",
        "features",
        "string",
        None,
        "Side lengths of the image tiles around a spot in micrometres, joined by commas. Empty: one and three "
        "spot pitches, where a pitch counts as at least 100 µm if the scale of the section is known.",
        pattern=r"^[0-9]+([.][0-9]+)?(,[0-9]+([.][0-9]+)?)*$",
        pattern_words="numbers joined by commas, such as 100,300",
    ),
    Parameter(
        "stain_normalisation",
        "features",
        "string",
        "none",
        "Stain normalisation of every section before tiles are described: `none` or `reinhard`.",
        choices=("none", "reinhard"),
    ),
    Parameter(
        "n_image_components",
        "features",
        "integer",
        50,
        "Maximum number of principal components of the image descriptors.",
        minimum=1,
    ),
    Parameter(
        "image_variance",
        "features",
        "number",
        0.99,
        "Fraction of the variance of the image descriptors that the principal components retain.",
        minimum=0,
        maximum=1,
    ),
    Parameter(
        "image_smoothing",
        "features",
        "number",
        0,
        "Bandwidth, in spot pitches, of the Gaussian that smooths image descriptors over neighbouring spots. 0: "
        "no smoothing.",
        minimum=0,
    ),
    Parameter(
        "image_cache",
        "features",
        "string",
        None,
        "Folder that caches image descriptors by image, tile and weights, for runs that differ in other settings. "
        "In containers, use a mounted folder.",
        pattern=r"^[\w./:@~+=,-]+$",
        pattern_words="the path of a folder, without spaces",
    ),
    Parameter(
        "preset",
        "train",
        "string",
        "default",
        "Model: `default` (recommended), or one of the published models `mmsrl` and `stmmr`.",
        choices=PRESETS,
    ),
    Parameter(
        "n_top_genes",
        "train",
        "integer",
        None,
        "Number of highly variable genes to learn from. Empty: set by the preset (8000 for `default`, 3000 for "
        "the published presets).",
        minimum=1,
        also={"enhance": None},
    ),
    Parameter("epochs", "train", "integer", None, "Number of training epochs. Empty: set by the preset.", minimum=1),
    Parameter(
        "learning_rate", "train", "number", None, "Learning rate of the optimiser. Empty: set by the preset.", above=0
    ),
    Parameter(
        "hidden_dim",
        "train",
        "integer",
        None,
        "Width of the hidden layers of `mmsrl` and `stmmr`. Empty: set by the preset.",
        minimum=1,
    ),
    Parameter(
        "kernel_width",
        "train",
        "number",
        None,
        "Bandwidth of the Gaussian kernel of the spatial graph, in the unit of the preset: spot pitches for "
        "`default`, array coordinates for `mmsrl` and `stmmr`. Empty: set by the preset, and by cross-validation "
        "for `default`.",
        above=0,
    ),
    Parameter(
        "reconstruction_weight",
        "train",
        "number",
        None,
        "Weight of the reconstruction likelihood in the loss of `mmsrl` and `stmmr` (published value for several "
        "slices: 100). Empty: set by the preset.",
        minimum=0,
    ),
    Parameter(
        "masked_weight",
        "train",
        "number",
        None,
        "Weight of the masked reconstruction in the loss of `mmsrl`. Empty: set by the preset.",
        minimum=0,
    ),
    Parameter(
        "consistency_loss",
        "train",
        "string",
        None,
        "Loss by which `mmsrl` and `stmmr` compare expression and image. Empty: set by the preset.",
        choices=("consistency", "contrastive"),
    ),
    Parameter(
        "batch_correction",
        "train",
        "boolean",
        None,
        "Correct batch effects in expression and image features of sections that are trained jointly (batch key: the "
        "section). Empty: set by the preset (true for `default`, false for the published presets).",
        also={"enhance": True},
    ),
    Parameter(
        "block_size",
        "train",
        "integer",
        None,
        "Number of spots per block in computations over pairs of spots. A smaller value needs less memory. Empty: "
        "512, or 4096 on a GPU.",
        minimum=1,
        hidden=True,
    ),
    Parameter(
        "seed",
        "train",
        "integer",
        None,
        "Random seed. Empty: set by the preset (0 for `default`, 110 for training and clustering of the published "
        "presets).",
        minimum=0,
        maximum=2**32 - 1,
        also={"domains": None, "trajectory": 0, "enhance": 0, "map": 0},
    ),
    Parameter(
        "device",
        "train",
        "string",
        "auto",
        "Device for image features by a network and for training of the published presets. `auto` uses a GPU if "
        "there is one.",
        choices=("auto", "cpu", "cuda"),
        also={"features": "auto"},
    ),
    Parameter(
        "readout",
        "domains",
        "string",
        None,
        "Clustering of the embedding: `gmm` (Gaussian mixture with tied covariance), `gmm_full` (Gaussian mixture "
        "with one covariance per domain), `kmeans` or `leiden`. Empty: set by the preset (`gmm` for `default`, "
        "`kmeans` for the published presets).",
        choices=("gmm", "gmm_full", "kmeans", "leiden"),
    ),
    Parameter(
        "refine",
        "domains",
        "integer",
        None,
        "Number of nearest spots whose majority vote replaces the domain of a spot, for `mmsrl` and `stmmr` (50 in the "
        "published breast cancer tutorial). Empty: no refinement.",
        minimum=1,
    ),
    Parameter(
        "root",
        "trajectory",
        "string",
        None,
        "Root of pseudotime: `domain:NAME`, `gene:NAME` (the domain with the highest expression of the gene) or "
        "`spot:BARCODE`. Empty: pseudotime follows the longest path, and its direction is unknown.",
        pattern=r"^(domain|gene|spot):.+$",
        pattern_words="domain:NAME, gene:NAME or spot:BARCODE",
    ),
    Parameter(
        "n_enhanced_genes",
        "enhance",
        "integer",
        None,
        "Number of de-noised genes to write, the most spatially structured first. Empty: the genes for which "
        "de-noising improves the prediction of held-out molecules, up to 20 million values.",
        minimum=1,
    ),
    Parameter(
        "enhanced_genes",
        "enhance",
        "string",
        None,
        "De-noised genes to write, joined by commas, whatever their result on held-out molecules.",
        pattern=r"^[\w.:/@+-]+(,[\w.:/@+-]+)*$",
        pattern_words="names of genes joined by commas, without spaces",
    ),
    Parameter(
        "label_order",
        "evaluate",
        "string",
        None,
        "Labels in the order in which pseudotime should reach them, joined by commas, such as "
        "`WM,L6,L5,L4,L3,L2,L1`. Only the scores read it.",
    ),
    Parameter(
        "control",
        "compare",
        "string",
        None,
        "Control condition that all other conditions are compared with. Empty: the first condition in the samplesheet.",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        pattern_words="a condition: letters, digits, '.', '_' and '-', the first a letter or digit",
    ),
    Parameter(
        "spatialdata",
        "assemble",
        "boolean",
        False,
        "Also write each section, and each group, as SpatialData (`.zarr`).",
    ),
    Parameter(
        "report_genes",
        "page",
        "string",
        None,
        "Genes to show on the tissue in the report, raw and de-noised side by side, joined by commas. The first "
        "markers of each domain and the genes that de-noising improves most are always shown. The report names "
        "genes that no sample has.",
    ),
    Parameter("report_title", "report", "string", "Spatial domains", "Title of the report."),
    *SITE_PARAMETERS,
)


def parameters_of(stage: str) -> list[Parameter]:
    """Return the parameters that the command of a stage takes with their defaults there, its own first."""
    own = [parameter for parameter in PARAMETERS if parameter.stage == stage]
    return own + [replace(p, default=p.also[stage]) for p in PARAMETERS if stage in p.also]
