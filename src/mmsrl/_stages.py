"""Stages of the pipeline, and the groups of its parameters."""

from __future__ import annotations

STAGES: dict[str, str] = {
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
}
"""Title of each stage, in the order of the data. Each has a folder here and a command, ``mmsrl-<stage>``."""

SAMPLE_STAGES = ("ingest", "qc", "features", "map")
"""Stages that run by sample. The others run by unit, or once for all units."""

WORKFLOW_GROUPS: dict[str, str] = {
    "input_output": "Paths of input and results, and the parts of the pipeline to run.",
    "execution": "Requests to schedulers and clouds. Profiles set or read them.",
    "institutional_config": "Location and description of the configuration profiles of institutions.",
}
"""Description of each group of parameters that belongs to no stage."""

GROUPS: dict[str, str] = {
    "input_output": "Input and output",
    **STAGES,
    "execution": "Execution",
    "institutional_config": "Institutional configuration",
}
"""Title of each group of parameters: one for each stage, and those of ``WORKFLOW_GROUPS``."""
