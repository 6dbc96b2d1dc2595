"""Parameters of schedulers, clouds and institutions, which end the table in :mod:`mmsrl.parameters`."""

from __future__ import annotations

from mmsrl._parameter import Parameter

SITE_PARAMETERS: tuple[Parameter, ...] = (
    Parameter(
        "use_gpu",
        "execution",
        "boolean",
        False,
        "Request a GPU for image features by a network and for training of a published preset. Profile `gpu` sets it.",
    ),
    Parameter(
        "gpu_type",
        "execution",
        "string",
        None,
        "GPU type, for schedulers that need one: `a100` (Slurm), `nvidia-l4` (Google Batch). On AWS Batch the GPU "
        "queue sets it.",
    ),
    Parameter(
        "queue", "execution", "string", None, "Queue, partition or pool for tasks. Empty: the default of the scheduler."
    ),
    Parameter("gpu_queue", "execution", "string", None, "Queue, partition or pool for tasks that request a GPU."),
    Parameter(
        "cluster_options",
        "execution",
        "string",
        None,
        "Further Slurm options for every task, such as `--account=tissue`.",
    ),
    Parameter(
        "container_registry",
        "execution",
        "string",
        "docker.io",
        "Container registry of the images `mmsrl/mmsrl`.",
    ),
    Parameter("aws_region", "execution", "string", None, "AWS region of the queues, for profile `awsbatch`."),
    Parameter(
        "aws_cli",
        "execution",
        "string",
        None,
        "Path to the AWS command line tool on the instances (custom AMI). Empty: the tool in the image.",
    ),
    Parameter("aws_job_role", "execution", "string", None, "ARN of the job role of tasks on AWS Batch."),
    Parameter(
        "custom_config_version",
        "institutional_config",
        "string",
        "master",
        "Branch or commit of nf-core/configs for institutional profiles.",
        hidden=True,
    ),
    Parameter(
        "custom_config_base",
        "institutional_config",
        "string",
        None,
        "Folder or URL of institutional profiles. Empty: nf-core/configs, if it can be reached.",
        hidden=True,
    ),
    Parameter(
        "config_profile_name", "institutional_config", "string", None, "Name of the institutional profile.", hidden=True
    ),
    Parameter(
        "config_profile_description",
        "institutional_config",
        "string",
        None,
        "Description of the institutional profile.",
        hidden=True,
    ),
    Parameter(
        "config_profile_contact",
        "institutional_config",
        "string",
        None,
        "Contact for the institutional profile.",
        hidden=True,
    ),
    Parameter(
        "config_profile_url", "institutional_config", "string", None, "URL of the institutional profile.", hidden=True
    ),
)
