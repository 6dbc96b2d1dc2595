"""Every profile is evaluated by the engine, and tasks get of it what they should: above all, the GPU stays.

One start of the engine builds the configuration for all questions of this file (``profiles.groovy``).
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from pipeline.runs import ROOT

from jars import NEXTFLOW, java_command

ENGINES = ("docker", "podman", "singularity", "apptainer", "charliecloud")
CLOUDS = {
    "awsbatch": "awsbatch",
    "googlebatch": "google-batch",
    "google-batch": "google-batch",
    "azurebatch": "azurebatch",
    "azure-batch": "azurebatch",
    "k8s": "k8s",
    "slurm": "slurm",
}
OTHERS = ("local", "conda", "mamba", "arm64", "debug", "demo", "test", "test_gpu", "test_full", "gpu")
PROFILES = (*ENGINES, *CLOUDS, *OTHERS)
QUEUES = {"queue": "long", "gpu_queue": "gpus"}
GIB = 2**30


INSTITUTION = """
profiles {
    facility {
        params.config_profile_name = 'Facility'
        process.clusterOptions = '--account tissue'
    }
    awsbatch {
        aws.batch.cliPath = '/elsewhere'
        process.executor = 'other'
    }
}
"""


def ask(process: str, profile: str, attempt: int = 1, exit: int = 0, **more: Any) -> dict[str, Any]:
    """Return a question: what does a task of this process get, at this attempt, after one that ended so?"""
    files = {"counts": 0, "image": 0, "source": 0, "embeddings": 0, "assembled": 0}
    text = (ROOT / f"modules/local/{process.lower()}/main.nf").read_text(encoding="utf-8")
    return {
        "process": process,
        "label": re.search(r"label '(\w+)'", text)[1],
        "profile": profile,
        "params": {"custom_config_base": "/nowhere"} | more.pop("params", {}),
        "attempt": attempt,
        "exit": exit,
        "meta": {"id": "a"} | more.pop("meta", {}),
        "ending": more.pop("ending", ".h5ad"),
        "files": files | more,
    }


OOM, RECLAIMED = 137, 2147483647
SITE = QUEUES | {"aws_region": "eu-west-1", "aws_job_role": "arn:role", "aws_cli": "/opt/aws"}
SIZED = {
    "INGEST": "source",
    "QC": "counts",
    "FEATURES": "image",
    "TRAIN": "counts",
    "DOMAINS": "embeddings",
    "MARKERS": "counts",
    "TRAJECTORY": "counts",
    "ENHANCE": "counts",
    "COMPARE": "counts",
    "ASSEMBLE": "counts",
    "FIGURES": "assembled",
}
"""Process to the file that its memory follows."""


WHOLE_SLIDE, DEMO = {"spots": 399_000, "entries": 43_600_000}, {"spots": 3_639, "entries": 3_169_302}
PEAKS_GB = {"TRAIN": 6.9, "DOMAINS": 2.7, "ENHANCE": 7.7, "TRAJECTORY": 3.6}
"""Of a whole slide of bins of 8 µm, as `make bench-scale` measures them."""


PUBLISHED = {"preset": "mmsrl"}
"""Training that has a network."""


BACKBONES = {"texture": False, "efficientnet_lite0": True, "texture+timm/resnet18": True}
"""Backbone to whether it has a network."""
SKIPS = {
    "MARKERS": ["skip_markers"],
    "TRAJECTORY": ["skip_trajectory"],
    "ENHANCE": ["skip_enhance"],
    "FIGURES": ["skip_figures", "skip_report"],
    "REPORT": ["skip_report"],
}
"""Process to the parameters that leave it out."""


def gpu(process: str, profile: str, *more: Any, **files: Any) -> dict[str, Any]:
    """Ask the same, where GPUs are asked for, networks run and the site has named its queues."""
    return ask(process, f"{profile},gpu", *more, params=SITE | PUBLISHED, **files)


# A configuration takes half a second to build, so that questions share as few as can be.
QUESTIONS: dict[str, dict[str, Any]] = {
    **{
        f"{process} {profile}": gpu(process, profile) for profile in PROFILES for process in ("TRAIN", "FEATURES", "QC")
    },
    **{f"end {p} {status}": gpu("QC", p, 2, status) for p in ("docker", *CLOUDS) for status in (1, 2, OOM, RECLAIMED)},
    **{f"large {process}": gpu(process, "docker", **{file: GIB}) for process, file in SIZED.items()},
    **{f"small {process}": gpu(process, "docker") for process in SIZED},
    **{
        f"{name} {process}": ask(process, "docker", meta=sizes)
        for name, sizes in {"whole slide": WHOLE_SLIDE, "demo": DEMO}.items()
        for process in PEAKS_GB
    },
    "whole archive": gpu("INGEST", "docker", source=100 * GIB, ending=".tar.gz"),
    "second oom": gpu("TRAIN", "docker", 2, OOM),
    "third oom": gpu("TRAIN", "docker", 3, OOM),
    "given block": ask("TRAIN", "docker", 2, OOM, params=PUBLISHED | {"block_size": "100"}),
    "default second oom": ask("TRAIN", "docker", 2, OOM),
    "third oom features": gpu("FEATURES", "docker", 3, OOM),
    "third reclaimed": gpu("TRAIN", "awsbatch", 3, RECLAIMED),
    "given up": gpu("QC", "docker", 3, OOM),
    "needed by all": gpu("REPORT", "docker", 2, 1),
    "stop": ask("QC", "docker", 2, 2, params={"on_sample_error": "stop"}),
    "limited": gpu("TRAIN", "awsbatch", 3, OOM, counts=100 * GIB),
    "plain slurm": ask("TRAIN", "slurm"),
    "one queue": ask("TRAIN", "awsbatch,gpu", params=PUBLISHED | {"queue": "long"}),
    "docker on arm64": ask("TRAIN", "docker,arm64"),
    "default": ask("TRAIN", "awsbatch,gpu", params=SITE),
    "no preset": ask("TRAIN", "docker,gpu", params={"preset": ""}),
    **{f"backbone {name}": ask("FEATURES", "docker,gpu", params={"backbone": name}) for name in BACKBONES},
    "no image": ask("FEATURES", "docker,gpu", params={"use_image": "false"}),
    "cuda": ask("TRAIN", "docker,test_gpu", params=PUBLISHED),
    "cuda enhance": ask("ENHANCE", "docker,test_gpu"),
    "cuda third oom": ask("TRAIN", "docker,test_gpu", 3, OOM, params=PUBLISHED),
    **{
        f"skip {process}": ask(process, "docker", params=dict.fromkeys(skips, "true"))
        for process, skips in SKIPS.items()
    },
    "figures alone": ask("FIGURES", "docker", params={"skip_report": True}),
    "page alone": ask("FIGURES", "docker", params={"skip_figures": True, "skip_report": "false"}),
    "cuda without a scheduler": ask("ENHANCE", "local", params={"device": "cuda"}),
    "slurm account": ask("TRAIN", "slurm,gpu", params=PUBLISHED | {"cluster_options": "--account=tissue"}),
    "text false": ask("TRAIN", "docker", params=PUBLISHED | {"use_gpu": "false"}),
    "institution": ask("TRAIN", "facility,awsbatch,gpu", params=PUBLISHED | {"custom_config_base": "INSTITUTION"}),
    "no network": ask("TRAIN", "docker", params={"custom_config_base": "https://configs.invalid"}),
}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("profiles")
    (folder / "nfcore_custom.config").write_text(INSTITUTION)
    questions = json.dumps(list(QUESTIONS.values())).replace('"INSTITUTION"', json.dumps(str(folder)))
    command = [*java_command(NEXTFLOW, "groovy.ui.GroovyMain"), str(Path(__file__).with_name("profiles.groovy"))]
    done = subprocess.run(
        [*command, str(ROOT), questions],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if name != "NXF_OFFLINE"},
        text=True,
        capture_output=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return dict(zip(QUESTIONS, json.loads(done.stdout.split("RESULT\n")[1]), strict=True))


def test_all_profiles_are_asked_about() -> None:
    text = (ROOT / "nextflow.config").read_text(encoding="utf-8")
    block = re.search(r"^profiles \{$(.*?)^\}$", text, flags=re.MULTILINE | re.DOTALL)
    assert set(re.findall(r"^    '?([\w-]+)'? \{$", block[1], flags=re.MULTILINE)) == set(PROFILES)


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_is_evaluated(answers: dict[str, Any], profile: str) -> None:
    answer = answers[f"QC {profile}"]
    assert "error" not in answer, answer
    assert answer["process"]["executor"] == CLOUDS.get(profile, "local" if profile == "local" else None)
    assert answer["engine"] == (profile if profile in ENGINES else None)


@pytest.mark.parametrize("profile", PROFILES)
def test_training_and_image_features_keep_their_gpu_in_every_profile(answers: dict[str, Any], profile: str) -> None:
    assert answers[f"TRAIN {profile}"]["task"]["accelerator"]["request"] == 1
    assert answers[f"FEATURES {profile}"]["task"]["accelerator"]["request"] == 1
    assert answers[f"QC {profile}"]["task"]["accelerator"] is None


@pytest.mark.parametrize(
    ("profile", "options"),
    [
        ("docker", "--gpus all --shm-size 8g"),
        ("podman", "--device nvidia.com/gpu=all --shm-size 8g"),
        ("singularity", "--nv"),
        ("apptainer", "--nv"),
        ("charliecloud", None),
        ("awsbatch", "--shm-size 8g"),
        ("googlebatch", "--user root --shm-size 8g"),
    ],
)
def test_containers_get_the_gpu_and_shared_memory(answers: dict[str, Any], profile: str, options: str | None) -> None:
    for process in ("TRAIN", "FEATURES"):
        assert answers[f"{process} {profile}"]["task"]["containerOptions"] == options
    assert answers[f"QC {profile}"]["task"]["containerOptions"] == ("--user root" if "google" in profile else None)


@pytest.mark.parametrize("profile", [profile for profile in CLOUDS if "oogle" not in profile and profile != "k8s"])
def test_tasks_with_a_gpu_go_to_the_queue_that_has_some(answers: dict[str, Any], profile: str) -> None:
    assert answers[f"TRAIN {profile}"]["task"]["queue"] == "gpus"
    assert answers[f"QC {profile}"]["task"]["queue"] == "long"


def test_one_queue_is_enough(answers: dict[str, Any]) -> None:
    assert answers["one queue"]["task"]["queue"] == "long"
    assert answers["plain slurm"]["task"]["queue"] is None


def test_schedulers_that_do_not_know_accelerators_are_told_in_their_own_words(answers: dict[str, Any]) -> None:
    assert answers["TRAIN slurm"]["task"]["clusterOptions"] == "--gres=gpu:1"
    assert answers["plain slurm"]["task"]["clusterOptions"] is None
    assert answers["slurm account"]["task"]["clusterOptions"] == "--account=tissue --gres=gpu:1"
    google = answers["TRAIN google-batch"]["task"]
    assert (google["machineType"], google["accelerator"]["type"]) == ("g2-standard-16", "nvidia-l4")
    assert {"emptyDir": {"medium": "Memory"}, "mountPath": "/dev/shm"} in answers["TRAIN k8s"]["process"]["pod"]


@pytest.mark.parametrize("profile", ["docker", *CLOUDS])
def test_what_another_attempt_can_mend_is_tried_again(answers: dict[str, Any], profile: str) -> None:
    strategies = {status: answers[f"end {profile} {status}"]["task"]["errorStrategy"] for status in (2, OOM, RECLAIMED)}
    assert strategies == {2: "IGNORE", OOM: "RETRY", RECLAIMED: "RETRY"}
    assert answers[f"end {profile} 1"]["task"]["errorStrategy"] == ("RETRY" if profile == "awsbatch" else "IGNORE")


def test_what_cannot_be_mended_ends_its_section_or_the_run(answers: dict[str, Any]) -> None:
    assert answers["given up"]["task"]["errorStrategy"] == "IGNORE"
    assert answers["needed by all"]["task"]["errorStrategy"] == "FINISH"
    assert answers["stop"]["task"]["errorStrategy"] == "FINISH"


def test_only_want_of_memory_makes_tasks_grow(answers: dict[str, Any]) -> None:
    assert answers["end awsbatch 137"]["task"]["memory_gb"] == 4
    assert answers["end awsbatch 137"]["task"]["time_h"] == 4
    assert answers[f"end awsbatch {RECLAIMED}"]["task"]["memory_gb"] == 2
    assert answers["end awsbatch 1"]["task"]["time_h"] == 2


def test_the_cpu_is_fallen_back_on_after_two_attempts_without_enough_memory(answers: dict[str, Any]) -> None:
    assert answers["second oom"]["task"]["accelerator"]["request"] == 1
    assert (
        answers["third oom"]["task"] | {"accelerator": None, "containerOptions": None} == answers["third oom"]["task"]
    )
    assert answers["third oom"]["task"]["tries"] == 3
    # An instance that is taken away says nothing about the GPU.
    assert answers["third reclaimed"]["task"]["accelerator"]["request"] == 1
    assert answers["third reclaimed"]["task"]["tries"] == 1
    assert answers["third oom features"]["task"]["accelerator"] is None
    assert [answers[f"{name} oom"]["task"]["device"] for name in ("second", "third", "cuda third")] == [
        "auto",
        "cpu",
        "cpu",
    ]


def test_blocks_of_pairs_shrink_only_for_want_of_memory(answers: dict[str, Any]) -> None:
    sizes = {name: answers[name]["task"]["block_size"] for name in ("second oom", "third oom", "third reclaimed")}
    assert sizes == {"second oom": 4096 // 4, "third oom": 512 // 16, "third reclaimed": None}
    assert answers["given block"]["task"]["block_size"] == 25
    assert answers["default second oom"]["task"]["block_size"] is None


def test_published_presets_have_more_memory(answers: dict[str, Any]) -> None:
    assert answers["default"]["task"]["memory_gb"] == 1
    assert answers["small TRAIN"]["task"]["memory_gb"] == 24
    assert (answers["default"]["task"]["cpus"], answers["small TRAIN"]["task"]["cpus"]) == (2, 8)


@pytest.mark.parametrize("process", PEAKS_GB)
def test_units_ask_for_what_their_spots_and_counts_need(answers: dict[str, Any], process: str) -> None:
    assert PEAKS_GB[process] < answers[f"whole slide {process}"]["task"]["memory_gb"] <= 16
    assert answers[f"demo {process}"]["task"]["memory_gb"] <= 2


def test_only_networks_ask_for_a_gpu(answers: dict[str, Any]) -> None:
    for name in ("default", "no preset", "backbone texture", "no image"):
        task = answers[name]["task"]
        assert (task["network"], task["accelerator"], task["device"]) == (False, None, "auto"), name
    assert answers["default"]["task"]["queue"] == "long"
    for name, has_network in BACKBONES.items():
        task = answers[f"backbone {name}"]["task"]
        assert (task["network"], bool(task["accelerator"])) == (has_network, has_network), name


def test_what_is_skipped_does_not_run(answers: dict[str, Any]) -> None:
    assert [answers[f"skip {process}"]["task"]["when"] for process in SKIPS] == [False] * len(SKIPS)
    assert answers["needed by all"]["task"]["when"] is True
    switches = [
        [answers[name]["task"][key] for key in ("when", "page", "figures")] for name in ("figures alone", "page alone")
    ]
    assert switches == [[True, False, True], [True, True, False]]


def test_cuda_is_demanded_where_a_gpu_was_asked_for_alone(answers: dict[str, Any]) -> None:
    assert answers["cuda"]["task"]["accelerator"]["request"] == 1
    assert answers["cuda"]["task"]["device"] == "cuda"
    assert answers["cuda enhance"]["task"]["accelerator"] is None
    assert answers["cuda enhance"]["task"]["device"] == "auto"
    # Where nothing is asked for, as on one's own machine, every task sees what there is.
    assert answers["cuda without a scheduler"]["task"]["device"] == "cuda"


def test_false_as_text_asks_for_no_gpu(answers: dict[str, Any]) -> None:
    assert answers["text false"]["task"]["accelerator"] is None


@pytest.mark.parametrize("process", SIZED)
def test_memory_follows_the_size_of_the_input(answers: dict[str, Any], process: str) -> None:
    assert answers[f"large {process}"]["task"]["memory_gb"] >= answers[f"small {process}"]["task"]["memory_gb"] + 10


def test_an_archive_of_all_that_an_instrument_wrote_asks_for_no_more_than_its_counts_need(
    answers: dict[str, Any],
) -> None:
    assert answers["whole archive"]["task"]["memory_gb"] == answers["small INGEST"]["task"]["memory_gb"] + 24


def test_limits_hold(answers: dict[str, Any]) -> None:
    assert answers["limited"]["task"]["memory_gb"] == 120
    assert answers["TRAIN test"]["task"]["cpus"] == 2


def test_aws_batch_is_complete(answers: dict[str, Any]) -> None:
    config = answers["TRAIN awsbatch"]["config"]["aws"]
    assert config["region"] == "eu-west-1"
    assert config["batch"] | {"jobRole": "arn:role", "cliPath": "/opt/aws", "maxSpotAttempts": 5} == config["batch"]
    assert answers["TRAIN awsbatch"]["task"]["maxRetries"] == 5


def test_architecture_and_environments(answers: dict[str, Any]) -> None:
    arm = answers["docker on arm64"]
    assert arm["process"]["arch"] == "linux/arm64"
    assert "--platform linux/arm64" in arm["config"]["docker"]["runOptions"]
    for profile in ("conda", "mamba"):
        assert Path(answers[f"QC {profile}"]["process"]["conda"]).is_file()
        assert answers[f"QC {profile}"]["config"]["conda"]["enabled"]
        assert answers[f"QC {profile}"]["config"]["env"]["PYTHONPATH"] == str(ROOT / "src")
    assert answers["QC mamba"]["config"]["conda"]["useMamba"]


def test_tasks_can_write_their_folder_whoever_the_user_of_the_image_is(answers: dict[str, Any]) -> None:
    assert "--user 0:0" in answers["QC podman"]["config"]["podman"]["runOptions"]
    assert {"runAsUser": 0} in answers["QC k8s"]["process"]["pod"]


def test_images_come_from_the_registry_of_the_site(answers: dict[str, Any]) -> None:
    for engine in ENGINES:
        assert answers["QC docker"]["config"][engine]["registry"] == "docker.io"


@pytest.mark.parametrize(
    ("options", "variants"),
    [
        ([], {"TRAIN": "cpu", "FEATURES": "cuda"}),
        (["--preset", "stmmr", "--backbone", "texture"], {"TRAIN": "cuda", "FEATURES": "cpu"}),
    ],
)
def test_only_tasks_with_a_network_take_the_image_that_has_one(
    tmp_path: Path, options: list[str], variants: dict[str, str]
) -> None:
    command = [str(ROOT / "engine/nextflow"), "-q", "inspect", str(ROOT / "main.nf"), "-profile", "docker,test"]
    done = subprocess.run(
        [*command, "--outdir", str(tmp_path / "results"), *options],
        cwd=tmp_path,
        env={**os.environ, "NXF_OFFLINE": "true"},
        text=True,
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout[done.stdout.index("{") :])["processes"]
    images = {process["name"].split(":")[-1]: process["container"].rpartition("-")[2] for process in found}
    assert {process: images[process] for process in variants} == variants
    assert {image for process, image in images.items() if process not in variants} == {"cpu"}


def test_nextflow_itself_shows_the_same(tmp_path: Path) -> None:
    done = subprocess.run(
        [str(ROOT / "engine/nextflow"), "config", str(ROOT), "-profile", "awsbatch,gpu"],
        cwd=tmp_path,
        env={**os.environ, "NXF_OFFLINE": "true"},
        text=True,
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "executor = 'awsbatch'" in done.stdout
    assert "use_gpu = true" in done.stdout
    train = re.search(r"^   withName:TRAIN \{$(.*?)^   \}$", done.stdout, flags=re.MULTILINE | re.DOTALL)
    assert "accelerator = {" in train[1]


@pytest.mark.parametrize("offline", [False, True])
def test_the_folder_is_run_as_well_as_its_main_script(tmp_path: Path, offline: bool) -> None:
    # Of a folder or repository Nextflow reads the configuration once by itself, without what it includes.
    (tmp_path / "nfcore_custom.config").write_text(INSTITUTION)
    own = ["-profile", "facility", "--custom_config_base", str(tmp_path)] if offline else []
    env = {name: value for name, value in os.environ.items() if name != "NXF_OFFLINE"}
    done = subprocess.run(
        [str(ROOT / "engine/nextflow"), "run", str(ROOT), *own, "--help", "true", "-ansi-log", "false"],
        cwd=tmp_path,
        env=env | ({"NXF_OFFLINE": "true"} if offline else {}),
        text=True,
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "--n_top_genes" in done.stdout


def test_profiles_of_institutions_are_read_and_give_way_to_our_own(answers: dict[str, Any]) -> None:
    answer = answers["institution"]
    assert answer["config"]["params"]["config_profile_name"] == "Facility"
    assert answer["task"]["clusterOptions"] == "--account tissue"
    assert answer["task"]["accelerator"]["request"] == 1
    assert answer["process"]["executor"] == "awsbatch"
    assert answer["config"]["aws"]["batch"]["cliPath"] is None


def test_a_place_without_network_is_no_reason_to_fail(answers: dict[str, Any]) -> None:
    assert answers["no network"]["task"]["cpus"] == 2
