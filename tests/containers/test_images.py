"""The images are built, hold what their stages need and nothing more, and run the whole test profile.

Asked for by ``make test-containers``; skipped, visibly, where no container tool is at work. ``BASE_IMAGE``, ``TOOL``
and ``BUILD_ARGS`` are those of ``containers/build``.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
from pathlib import Path

import pytest

from mmsrl import __version__

ROOT = Path(__file__).parents[2]
READ_ONLY = ["--read-only", "--tmpfs", "/tmp:rw,mode=1777", "--user", "1000:1000"]


def works(tool: str) -> bool:
    try:
        return subprocess.run([tool, "info"], capture_output=True, timeout=60, check=False).returncode == 0
    except OSError:
        return False


@pytest.fixture(scope="session")
def tool() -> str:
    if "TEST_CONTAINERS" not in os.environ:
        pytest.skip("images are built and run by make test-containers")
    for name in [os.environ["TOOL"]] if os.environ.get("TOOL") else ["docker", "podman"]:
        if works(name):
            return name
    pytest.skip("neither docker nor podman is at work here")


@pytest.fixture(scope="session", params=["cpu", "cuda"])
def image(request: pytest.FixtureRequest, tool: str) -> str:
    # Named as the pipeline names them, also where REGISTRY is set for a push that comes later.
    environment = {**os.environ, "TOOL": tool, "REGISTRY": "docker.io"}
    subprocess.run([ROOT / "containers/build", request.param], check=True, env=environment)
    return f"docker.io/mmsrl/mmsrl:{__version__}-{request.param}"


def inside(tool: str, image: str, command: str) -> str:
    done = subprocess.run(
        [tool, "run", "--rm", *READ_ONLY, image, "bash", "-c", command],
        text=True,
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_an_image_holds_what_nextflow_and_its_stages_need(tool: str, image: str) -> None:
    text = inside(
        tool, image, "id -u; ps -e > /dev/null; aws --version; mmsrl-versions --process X; touch /x || echo sealed"
    )
    assert text.startswith("1000\n")
    assert f"mmsrl: {__version__}" in text
    assert "aws-cli" in text
    assert text.endswith("sealed\n")


def test_the_image_without_pytorch_is_small(tool: str, image: str) -> None:
    if image.endswith("-cpu"):
        assert int(inside(tool, image, "du -sxm / 2> /dev/null | cut -f 1 || true")) < 2000


def test_only_the_cuda_image_has_a_network_in_it(tool: str, image: str) -> None:
    asked = "import importlib.util as u; print(bool(u.find_spec('torch')))"
    assert inside(tool, image, f'python -c "{asked}"').strip() == str(image.endswith("-cuda"))
    if image.endswith("-cuda"):
        assert float(inside(tool, image, "python -c 'import torch; print(torch.version.cuda)'")) >= 12


def test_the_bill_of_materials_names_every_package(tool: str, image: str) -> None:
    bill = json.loads(inside(tool, image, "cat /opt/mmsrl/share/sbom/python.cdx.json"))
    named = {f"{part['name']}=={part['version']}".lower() for part in bill["components"]}
    installed = json.loads(inside(tool, image, "python -m pip list --format json --disable-pip-version-check"))
    missing = {f"{p['name']}=={p['version']}".lower() for p in installed} - named
    assert missing <= {name for name in missing if name.startswith(("pip==", "mmsrl=="))}
    assert "procps\t" in inside(tool, image, "cat /opt/mmsrl/share/sbom/debian.tsv")


def test_the_test_profile_runs_in_the_images_without_rights_and_read_only(
    tool: str, image: str, tmp_path: Path
) -> None:
    if not image.endswith("-cuda"):
        pytest.skip("runs once, when both images are there")
    config = tmp_path / "read_only.config"
    config.write_text(f"{tool}.runOptions = '{' '.join(READ_ONLY)}'\n")
    # Task folders belong to whoever started Nextflow; the user inside may be another.
    done = subprocess.run(
        [str(ROOT / "engine/nextflow"), "-q", "run", str(ROOT / "main.nf")]
        + ["-profile", f"{tool},test", "-c", str(config), "--outdir", "results", "-ansi-log", "false"],
        cwd=tmp_path,
        env={**os.environ, "NXF_OFFLINE": "true"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=3600,
        umask=0,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    assert (tmp_path / "results/report/mmsrl_report.html").stat().st_size > 10_000
    with (tmp_path / "results/pipeline_info/execution_trace.txt").open(newline="") as handle:
        tasks = {row["name"]: row["status"] for row in csv.DictReader(handle, delimiter="\t")}
    assert {name.split(":")[-1].split(" ")[0] for name in tasks} >= {"CHECK", "INGEST", "TRAIN", "REPORT"}
    assert set(tasks.values()) == {"COMPLETED"}
