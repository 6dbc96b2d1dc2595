"""The one table of parameters.

Console commands take their options from it; ``make generate`` writes ``nextflow_schema.json``,
``conf/params.config`` and ``docs/parameters.md`` from it. A parameter is spelt ``--n_top_genes`` for the pipeline
and ``--n-top-genes`` for a console command.
"""

from __future__ import annotations

from mmsrl._parameter import Parameter
from mmsrl._site_parameters import SITE_PARAMETERS

PRESETS = ("default", "mmsrl", "stmmr")


STAGES: dict[str, str] = {
    "pipeline": "Input and output",
    "ingest": "Ingest",
    "qc": "Quality control",
    "features": "Image features",
    "train": "Training",
    "domains": "Spatial domains",
    "markers": "Markers",
    "trajectory": "Trajectory",
    "enhance": "Enhancement",
    "evaluate": "Evaluation",
    "map": "Reference mapping",
    "compare": "Comparison of conditions",
    "assemble": "Assembly",
    "page": "Section pages",
    "figures": "Figures",
    "report": "Report",
    "index": "Index",
    "execution": "Where tasks run",
    "institutional_config": "Institutional configuration",
}
"""Stages that have parameters, in the order of the data, with the title of their group; last what is no stage's."""

WORKFLOW_GROUPS: dict[str, str] = {
    "pipeline": "Where the input is and where the results go.",
    "execution": "What schedulers and clouds are asked for; profiles set or read it.",
    "institutional_config": "What the configurations of institutions say about themselves, and where they are.",
}
"""Groups of parameters that no command takes, with a description."""

PARAMETERS: tuple[Parameter, ...] = (
    Parameter(
        "input",
        "pipeline",
        "string",
        None,
        "Samplesheet (CSV, TSV, YAML or JSON): one row a section.",
        format="file-path",
        schema="assets/schema_input.json",
        required=True,
    ),
    Parameter("outdir", "pipeline", "string", None, "Folder for the results.", format="directory-path", required=True),
    Parameter(
        "publish_dir_mode",
        "pipeline",
        "string",
        "copy",
        "How results get from the work directory to `outdir`.",
        choices=("copy", "symlink", "link", "rellink", "copyNoFollow"),
        hidden=True,
    ),
    Parameter(
        "n_seeds",
        "pipeline",
        "integer",
        None,
        "Trainings of a published preset, with the seeds `seed`, `seed` + 1 and so on: the members of the ensemble "
        "that the domains are the consensus of; empty: 1. `default` has its whole ensemble from one training.",
        minimum=1,
    ),
    Parameter(
        "backbone_weights",
        "pipeline",
        "string",
        None,
        "File of weights (PyTorch or safetensors) for the model of timm in `backbone`; empty: those of the hub.",
        format="file-path",
    ),
    Parameter(
        "gene_sets",
        "pipeline",
        "string",
        None,
        "Gene sets (GMT: name, description, genes, with tabs between) to compare markers of domains, and conditions, "
        "with.",
        format="file-path",
    ),
    Parameter(
        "reference",
        "pipeline",
        "string",
        None,
        "Results of an earlier run with preset `default`: the spots of every section are also labelled by its domains.",
        format="directory-path",
    ),
    Parameter(
        "reference_unit",
        "pipeline",
        "string",
        None,
        "Which unit of `reference`, a sample or a group; needed only where it has several.",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        pattern_words="the name of a sample or group",
    ),
    Parameter(
        "on_sample_error",
        "pipeline",
        "string",
        "skip",
        "When a section cannot be analysed: `skip` leaves it out, with the sections of its group, finishes all others, "
        "names it in the report and ends with an exit status other than 0; `stop` starts nothing more.",
        choices=("skip", "stop"),
    ),
    Parameter(
        "start_from",
        "pipeline",
        "string",
        None,
        "Results of an earlier run of the same sections, its `outdir`: files up to `start_after` are taken from it, "
        "not made again.",
        format="directory-path",
    ),
    Parameter(
        "start_after",
        "pipeline",
        "string",
        None,
        "The last stage whose results are taken from `start_from`: `qc` or `train`; empty: `train`.",
        choices=("qc", "train"),
    ),
    *(
        Parameter(f"skip_{stage}", "pipeline", "boolean", False, f"Leave out {words}.")
        for stage, words in {
            "markers": "markers of domains, genes that follow the tissue, and gene sets",
            "trajectory": "pseudotime and what depends on it",
            "enhance": "de-noised expression",
            "figures": "figures as files",
            "report": "the report, the pages of sections, the manifest and the sections for MultiQC",
        }.items()
    ),
    Parameter("help", "pipeline", "boolean", False, "Print the parameters and stop.", hidden=True),
    Parameter("min_counts", "qc", "integer", 1, "Spots with fewer counts (UMIs) are removed.", minimum=0),
    Parameter("min_genes", "qc", "integer", 1, "Spots with fewer detected genes are removed.", minimum=0),
    Parameter(
        "max_pct_mt",
        "qc",
        "number",
        None,
        "Spots with a higher percentage of mitochondrial counts are removed; empty: no such filter.",
        minimum=0,
        maximum=100,
    ),
    Parameter(
        "nmads",
        "qc",
        "number",
        None,
        "Spots further than this many median absolute deviations below the median of log counts or log genes, or above "
        "that of mitochondrial percentage, are removed; empty: no such filter.",
        minimum=0,
    ),
    Parameter("min_spots", "qc", "integer", 3, "Genes detected in fewer spots are removed.", minimum=0),
    Parameter(
        "species",
        "qc",
        "string",
        "auto",
        "Names of mitochondrial, ribosomal and haemoglobin genes to look for; `auto` tells from the genes.",
        choices=("auto", "human", "mouse"),
    ),
    Parameter("use_image", "features", "boolean", True, "Use the histology image where there is a usable one."),
    Parameter(
        "backbone",
        "features",
        "string",
        "efficientnet_lite0+texture",
        "What describes the image around each spot, joined by `+`: `efficientnet_lite0`, `texture` (colour, stain and "
        "texture), or `timm/` and the name of a model of timm.",
        pattern=r"^(efficientnet_lite0|texture|timm/[\w./:-]+)(\+(efficientnet_lite0|texture|timm/[\w./:-]+))*$",
        pattern_words="efficientnet_lite0, texture or timm/<name of a model of timm>, or several joined by +",
    ),
    Parameter(
        "backbone_options",
        "features",
        "string",
        None,
        "Further arguments for the model of timm, as `name=value` joined by commas.",
        pattern=r"^\w+=[\w.+-]+(,\w+=[\w.+-]+)*$",
        pattern_words="name=value, or several joined by commas",
    ),
    Parameter(
        "tile_um",
        "features",
        "string",
        None,
        "Sides of the tiles around a spot in micrometres, joined by commas; empty: one spot pitch and three, a pitch "
        "being 100 µm at least where the scale of the section is known.",
        pattern=r"^[0-9]+([.][0-9]+)?(,[0-9]+([.][0-9]+)?)*$",
        pattern_words="numbers joined by commas, such as 100,300",
    ),
    Parameter(
        "stain_normalisation",
        "features",
        "string",
        "none",
        "Bring the stain of every section to the same colours before tiles are described: `none` or `reinhard`.",
        choices=("none", "reinhard"),
    ),
    Parameter(
        "n_image_components",
        "features",
        "integer",
        50,
        "Principal components kept of the image descriptor at most.",
        minimum=1,
    ),
    Parameter(
        "image_variance",
        "features",
        "number",
        0.99,
        "Share of the image descriptor's variance after which no more principal components are kept.",
        minimum=0,
        maximum=1,
    ),
    Parameter(
        "image_smoothing",
        "features",
        "number",
        0,
        "Width, in spot pitches, of a Gaussian over which image descriptors are averaged; 0: none.",
        minimum=0,
    ),
    Parameter(
        "image_cache",
        "features",
        "string",
        None,
        "Folder that keeps image descriptors by image, tile and weights, for runs that differ in other things; in "
        "containers, one that is mounted.",
        pattern=r"^[\w./:@~+=,-]+$",
        pattern_words="the path of a folder, without spaces",
    ),
    Parameter(
        "preset",
        "train",
        "string",
        "default",
        "Model: `default`, or one of the published ones exactly as published.",
        choices=PRESETS,
    ),
    Parameter(
        "n_top_genes",
        "train",
        "integer",
        None,
        "Highly variable genes to learn from; empty: what the preset says (8000 for `default`, 3000 as published).",
        minimum=1,
    ),
    Parameter("epochs", "train", "integer", None, "Training epochs; empty: what the preset says.", minimum=1),
    Parameter(
        "learning_rate", "train", "number", None, "Step size of the optimiser; empty: what the preset says.", above=0
    ),
    Parameter(
        "hidden_dim", "train", "integer", None, "Width of the layers of `mmsrl` and `stmmr`; empty: theirs.", minimum=1
    ),
    Parameter(
        "kernel_width",
        "train",
        "number",
        None,
        "Bandwidth of the spatial graph's Gaussian, in the preset's own unit (spot pitches for `default`, array "
        "coordinates for `mmsrl` and `stmmr`); empty: what the preset says, for `default` by cross-validation.",
        above=0,
    ),
    Parameter(
        "reconstruction_weight",
        "train",
        "number",
        None,
        "Weight of the likelihood among the losses of `mmsrl` and `stmmr` (several slices as published: 100); empty: "
        "what the preset says.",
        minimum=0,
    ),
    Parameter(
        "masked_weight",
        "train",
        "number",
        None,
        "Weight of masked reconstruction among the losses of `mmsrl`; empty: what the preset says.",
        minimum=0,
    ),
    Parameter(
        "consistency_loss",
        "train",
        "string",
        None,
        "How `mmsrl` and `stmmr` compare expression and image; empty: what the preset says.",
        choices=("consistency", "contrastive"),
    ),
    Parameter(
        "batch_correction",
        "train",
        "boolean",
        True,
        "Correct expression and image features for the section where several are trained jointly.",
    ),
    Parameter(
        "block_size",
        "train",
        "integer",
        None,
        "Spots of a block where pairs of spots are visited; smaller takes less memory; empty: 512, on a GPU 4096.",
        minimum=1,
        hidden=True,
    ),
    Parameter("seed", "train", "integer", 0, "Seed of everything random.", minimum=0, maximum=2**32 - 1),
    Parameter(
        "device",
        "train",
        "string",
        "auto",
        "Where networks run, of image features and of the published presets; `auto` takes a GPU if there is one.",
        choices=("auto", "cpu", "cuda"),
    ),
    Parameter(
        "readout",
        "domains",
        "string",
        "gmm",
        "How spots are grouped: `gmm` (Gaussian mixture with one covariance for all domains), `gmm_full` (with one for "
        "each), `kmeans`, or `leiden`.",
        choices=("gmm", "gmm_full", "kmeans", "leiden"),
    ),
    Parameter(
        "root",
        "trajectory",
        "string",
        None,
        "Where pseudotime starts: `domain:NAME`, `gene:NAME` (the domain that has the most of it) or `spot:BARCODE`; "
        "empty: along the longest way, its direction not known.",
        pattern=r"^(domain|gene|spot):.+$",
        pattern_words="domain:NAME, gene:NAME or spot:BARCODE",
    ),
    Parameter(
        "n_enhanced_genes",
        "enhance",
        "integer",
        None,
        "Genes whose de-noised expression is written, those with most pattern first; empty: those for which held-out "
        "molecules show that de-noising is better, as many as 20 million values hold.",
        minimum=1,
    ),
    Parameter(
        "enhanced_genes",
        "enhance",
        "string",
        None,
        "Genes whose de-noised expression is written, with commas between, whatever held-out molecules say of them.",
        pattern=r"^[\w.:/@+-]+(,[\w.:/@+-]+)*$",
        pattern_words="names of genes joined by commas, without spaces",
    ),
    Parameter(
        "label_order",
        "evaluate",
        "string",
        None,
        "Labels in the order in which pseudotime should meet them, with commas between, such as "
        "`WM,L6,L5,L4,L3,L2,L1`; read for a score and for nothing else.",
    ),
    Parameter(
        "control",
        "compare",
        "string",
        None,
        "Condition of the samplesheet that the others are compared with; empty: that of the first row that has one.",
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
        "Genes to look at on the tissue in the report, with commas between, raw and de-noised side by side; besides "
        "them the first markers of each domain and the genes that gain most. What no sample has is said there.",
    ),
    Parameter("report_title", "report", "string", "Spatial domains", "Title of the report."),
    *SITE_PARAMETERS,
)
