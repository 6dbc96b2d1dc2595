"""``meta.yml`` of every module, and of the subworkflow for other pipelines, says what its ``main.nf`` does."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

PROJECT = Path(__file__).parents[2]
MODULES = sorted((PROJECT / "modules/local").iterdir())
SUBWORKFLOW = PROJECT / "subworkflows/local/spatial_domains"


def meta_of(module: Path) -> dict[str, Any]:
    return yaml.safe_load((module / "meta.yml").read_text(encoding="utf-8"))


def section_of(module: Path, name: str) -> list[str]:
    """Return the lines of a section of the process, without comments."""
    text = (module / "main.nf").read_text(encoding="utf-8")
    section = re.search(rf"^    {name}:\n(.*?)(?=^    \w+:$)", text, flags=re.MULTILINE | re.DOTALL)
    lines = [re.sub(r"(^|\s)//.*", "", line).strip() for line in section[1].splitlines()]
    return [line for line in lines if line]


def names(channel: Any) -> list[str]:
    """Return the names of what a channel of ``meta.yml`` carries: one element, or a tuple of them."""
    elements = channel if isinstance(channel, list) else [channel]
    return [name for element in elements for name in element]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_inputs_are_those_of_the_process(module):
    declared = [re.findall(r"\b(?:val|path)[ (](\w+)", line) for line in section_of(module, "input")]
    assert [names(channel) for channel in meta_of(module)["input"]] == declared


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_outputs_are_those_of_the_process(module):
    declared = {}
    for line in section_of(module, "output"):
        emit = re.search(r"emit: (\w+)", line)[1]
        declared[emit] = re.findall(r"val\((\w+)\)", line) + re.findall(r"path[ (]['\"]([^'\"]+)['\"]", line)
    described = {emit: [n for channel in channels for n in names(channel)] for emit, channels in output(module)}
    assert described == declared


def output(module: Path) -> list[tuple[str, Any]]:
    return list(meta_of(module)["output"].items())


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_tools_are_those_whose_versions_are_recorded(module):
    text = (module / "main.nf").read_text(encoding="utf-8")
    recorded = (
        re.search(r'mmsrl-versions --process "\$\{task\.process\}"(.*) > versions\.yml', text)[1]
        .replace("--optional", "")
        .split()
    )
    assert [name for tool in meta_of(module)["tools"] for name in tool] == ["mmsrl", *recorded]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_everything_is_typed_and_described(module):
    meta = meta_of(module)
    assert meta["name"] == module.name
    assert meta["description"].endswith(".") and meta["keywords"]
    channels = [*meta["input"], *(channel for _, listed in output(module) for channel in listed)]
    for channel in channels:
        for element in channel if isinstance(channel, list) else [channel]:
            for about in element.values():
                assert about["type"] in ("map", "file", "string", "integer", "float", "list")
                assert about["description"].endswith(".")


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_nf_test_has_a_real_run_a_stub_and_an_input_that_fails(module):
    suite = (module / "tests/main.nf.test").read_text(encoding="utf-8")
    tests = re.split(r"^    test\(", suite, flags=re.MULTILINE)[1:]
    stubs = [test for test in tests if 'options "-stub"' in test]
    real = [test for test in tests if test not in stubs]

    assert any("assert process.success" in test for test in real)
    assert any("assert process.failed" in test and "errorReport.contains" in test for test in real)
    # The stub makes every output that is declared as always there.
    assert len(stubs) == 1
    always = {
        re.search(r"emit: (\w+)", line)[1] for line in section_of(module, "output") if "optional: true" not in line
    }
    assert always <= set(re.findall(r"process\.out\.(\w+)", stubs[0]))


def test_the_subworkflow_is_described_as_it_is():
    meta = meta_of(SUBWORKFLOW)
    text = re.sub(r"//.*", "", (SUBWORKFLOW / "main.nf").read_text(encoding="utf-8"))
    taken = re.search(r"take:(.*?)main:", text, flags=re.DOTALL)[1].split()
    emitted = re.findall(r"^    (\w+) = ", text.split("emit:")[1], flags=re.MULTILINE)

    assert [name for channel in meta["input"] for name in channel] == taken
    assert [name for channel in meta["output"] for name in channel] == emitted
    assert meta["components"] == re.findall(r"modules/local/(\w+)/main", text)
    for listed in [*meta["input"], *meta["output"]]:
        for channel in listed.values():
            assert channel["description"].endswith(".")
            for element in channel.get("structure", [{"itself": channel}]):
                assert all(about["type"] and about["description"].endswith(".") for about in element.values())


@pytest.mark.parametrize(
    "file", [SUBWORKFLOW / "main.nf", *(module / "main.nf" for module in MODULES)], ids=lambda file: file.parent.name
)
def test_what_other_pipelines_include_knows_nothing_of_this_one(file):
    text = re.sub(r"//.*", "", file.read_text(encoding="utf-8"))
    assert not re.findall(r"\bparams\.(?!json)|publishDir|projectDir|launchDir|baseDir", text)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_numba_has_the_cores_of_the_task(module):
    """It comes with scanpy, which also finds variable genes, and takes all cores whatever ``OMP_NUM_THREADS`` says."""
    code = [path.read_text(encoding="utf-8") for path in (PROJECT / "src/mmsrl" / module.name).glob("*.py")]
    assert any(re.search(r"import scanpy|variable_genes\(|= train\(", text) for text in code) == any(
        "NUMBA_NUM_THREADS=${task.cpus}" in line for line in section_of(module, "script")
    )
