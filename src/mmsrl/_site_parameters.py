"""Parameters about the place where tasks run: the end of the table in :mod:`mmsrl.parameters`."""

from __future__ import annotations

from mmsrl._parameter import Parameter

SITE_PARAMETERS: tuple[Parameter, ...] = (
    Parameter(
        "use_gpu",
        "execution",
        "boolean",
        False,
        "Ask the scheduler for a GPU for image features by a network and for training of a published preset; profile "
        "`gpu` sets it.",
    ),
    Parameter(
        "gpu_type",
        "execution",
        "string",
        None,
        "Type of GPU where the scheduler wants one named: `a100` (Slurm), `nvidia-l4` (Google Batch). On AWS Batch it "
        "is the one that the GPU queue has.",
    ),
    Parameter(
        "queue", "execution", "string", None, "Queue, partition or pool for tasks; empty: what the scheduler says."
    ),
    Parameter("gpu_queue", "execution", "string", None, "The same for tasks that ask for a GPU."),
    Parameter(
        "cluster_options", "execution", "string", None, "What else Slurm is told of every task: `--account=tissue`."
    ),
    Parameter(
        "container_registry",
        "execution",
        "string",
        "docker.io",
        "Registry that the images `mmsrl/mmsrl` are pulled from.",
    ),
    Parameter("aws_region", "execution", "string", None, "Region of the queues, for profile `awsbatch`."),
    Parameter(
        "aws_cli",
        "execution",
        "string",
        None,
        "Path of the AWS command line tool on the instances (custom AMI); empty: the one in the image.",
    ),
    Parameter("aws_job_role", "execution", "string", None, "ARN of the role that tasks have on AWS Batch."),
    Parameter(
        "custom_config_version",
        "institutional_config",
        "string",
        "master",
        "Branch or commit of nf-core/configs to read institutional profiles from.",
        hidden=True,
    ),
    Parameter(
        "custom_config_base",
        "institutional_config",
        "string",
        None,
        "Folder or address of institutional profiles; empty: nf-core/configs, where it can be reached.",
        hidden=True,
    ),
    Parameter("config_profile_name", "institutional_config", "string", None, "Name of the profile.", hidden=True),
    Parameter("config_profile_description", "institutional_config", "string", None, "What it is for.", hidden=True),
    Parameter("config_profile_contact", "institutional_config", "string", None, "Who looks after it.", hidden=True),
    Parameter("config_profile_url", "institutional_config", "string", None, "More about the profile.", hidden=True),
)
