"""The stack for AWS Batch is whole, and the document says of it and of its cost what is so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

PROJECT = Path(__file__).parents[2]
TEMPLATE = PROJECT / "assets/aws/batch.yml"
DOCUMENT = (PROJECT / "docs/aws-batch.md").read_text(encoding="utf-8")


class Loader(yaml.SafeLoader):
    """YAML with the short forms of CloudFormation's functions: ``!Ref x`` is ``{"Ref": "x"}``."""


def function(loader: Loader, name: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        return {name: loader.construct_scalar(node)}
    return {name: loader.construct_sequence(node, deep=True)}


Loader.add_multi_constructor("!", function)
STACK = yaml.load(TEMPLATE.read_text(encoding="utf-8"), Loader)
RESOURCES = STACK["Resources"]


def mentioned(value: Any) -> set[str]:
    """Return the names that functions below ``value`` refer to."""
    if isinstance(value, list):
        return {name for item in value for name in mentioned(item)}
    if not isinstance(value, dict):
        return set()
    found = {name for key, item in value.items() if key not in ("Ref", "GetAtt", "Sub") for name in mentioned(item)}
    found |= {value["Ref"]} if "Ref" in value else set()
    found |= {value["GetAtt"].split(".")[0]} if "GetAtt" in value else set()
    return found | {name.split(".")[0] for name in re.findall(r"\$\{([\w.:]+)\}", value.get("Sub", ""))}


def properties(name: str) -> dict[str, Any]:
    return RESOURCES[name]["Properties"]


def actions(policy: str) -> set[str]:
    statements = properties(policy)["PolicyDocument"]["Statement"]
    return {action for s in statements for action in ([s["Action"]] if isinstance(s["Action"], str) else s["Action"])}


def test_references_lead_to_what_is_there_and_nothing_is_left_over():
    names = mentioned([RESOURCES, STACK["Outputs"], STACK["Conditions"]])
    own = {name for name in names if not name.startswith("AWS::")}
    assert own - RESOURCES.keys() - STACK["Parameters"].keys() == set()
    assert STACK["Parameters"].keys() - own == set()
    assert {name for r in RESOURCES.values() for name in re.findall(r"'If': \['(\w+)'", str(r))} == {
        *STACK["Conditions"]
    }


@pytest.mark.parametrize("kind", ["Cpu", "Gpu"])
def test_a_queue_has_an_environment_that_can_grow_and_shrink(kind):
    [order] = properties(f"{kind}Queue")["ComputeEnvironmentOrder"]
    assert order["ComputeEnvironment"] == {"Ref": f"{kind}Environment"}
    machines = properties(f"{kind}Environment")["ComputeResources"]
    assert machines["MinvCpus"] == 0
    assert machines["InstanceRole"] == {"GetAtt": "InstanceProfile.Arn"}  # the profile, not the role
    assert machines["Type"] == {"Ref": "Capacity"}
    assert STACK["Parameters"]["Capacity"]["Default"] == "SPOT"
    # Security groups come by the launch template, which may not be joined by others.
    assert "SecurityGroupIds" not in machines


def test_instances_of_the_gpu_queue_have_a_gpu_and_its_driver():
    machines = properties("GpuEnvironment")["ComputeResources"]
    assert [c["ImageType"] for c in machines["Ec2Configuration"]] == ["ECS_AL2023_NVIDIA"]
    assert all(re.fullmatch(r"g[56]\.[248]xlarge", name) for name in machines["InstanceTypes"])


def test_tasks_reach_the_bucket_and_nothing_else():
    trust = properties("JobRole")["AssumeRolePolicyDocument"]["Statement"]
    assert [s["Principal"]["Service"] for s in trust] == ["ecs-tasks.amazonaws.com"]
    assert properties("JobRole")["ManagedPolicyArns"] == [{"Ref": "DataPolicy"}]
    assert {action.split(":")[0] for action in actions("DataPolicy")} == {"s3"}
    resources = [s["Resource"] for s in properties("DataPolicy")["PolicyDocument"]["Statement"]]
    assert all(mentioned(resource) == {"Bucket"} for resource in resources)


def test_whoever_starts_a_run_may_do_what_nextflow_does():
    assert actions("LauncherPolicy") >= {
        *(f"batch:{name}" for name in ("SubmitJob", "DescribeJobs", "TerminateJob", "RegisterJobDefinition")),
        *(f"batch:{name}" for name in ("DescribeJobQueues", "DescribeComputeEnvironments", "DescribeJobDefinitions")),
        "ecs:DescribeTasks",
        "ecs:DescribeContainerInstances",
        "ec2:DescribeInstances",
        "iam:PassRole",
    }
    passing = [s for s in properties("LauncherPolicy")["PolicyDocument"]["Statement"] if s["Action"] == "iam:PassRole"]
    assert [s["Resource"] for s in passing] == [{"GetAtt": "JobRole.Arn"}]


def test_outputs_are_the_arguments_of_the_documented_command():
    options = {o["Description"].split(",")[0].split(" ")[0] for o in STACK["Outputs"].values()} - {"Policy"}
    assert options == {"--queue", "--gpu_queue", "--aws_job_role", "-work-dir"}
    assert all(f" {option} " in DOCUMENT for option in options)


def test_the_estimate_adds_up():
    rows = re.findall(r"^\| [^|*]+ \| (\d+) \| (\d+) \| (\d+) \| ([\d.]+) \|$", DOCUMENT, flags=re.MULTILINE)
    hours = [int(tasks) * int(cpus) * (int(seconds) + 60) / 3600 for tasks, cpus, seconds, _ in rows]
    assert [f"{value:.2f}" for value in hours] == [row[3] for row in rows]
    assert f"| **together** | | | | **{sum(hours):.2f}** |" in DOCUMENT
    price = float(re.search(r"m6i ([\d.]+) USD per vCPU", DOCUMENT)[1])
    assert f"{12 * sum(hours):.1f} vCPU-hours, **{12 * sum(hours) * price:.2f} USD**" in DOCUMENT
