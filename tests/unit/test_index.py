"""The index of the results."""

from __future__ import annotations

import json
import re
from fnmatch import fnmatch
from itertools import product
from pathlib import Path

import jsonschema
import pytest
import yaml
from click.testing import CliRunner

from mmsrl._errors import InputError
from mmsrl.index.cli import main
from mmsrl.index.kinds import KINDS, described, index

PROJECT = Path(__file__).parents[2]
ELSEWHERE = {
    "mmsrl_report.html": "report",
    "plotly.min.js": "report/assets",
    "sections.js": "report/assets",
    "*.html": "report/sections",
    "manifest.json": "pipeline_info",
}
"""What `figures` and `report` leave, and the folder it goes to; what is for MultiQC goes to `multiqc`."""

UNPUBLISHED = ("versions.yml", "*.card.json")


def endings() -> list[tuple[str, str]]:
    """Return every module with the pattern of each of its published files, by `meta.yml`."""
    found = []
    for path in sorted((PROJECT / "modules/local").glob("*/meta.yml")):
        module = yaml.safe_load(path.read_text(encoding="utf-8"))
        if module["name"] in ("check", "ingest", "index"):  # they publish nothing, or the index itself
            continue
        for channels in module["output"].values():
            for element in (
                part for channel in channels for part in (channel if isinstance(channel, list) else [channel])
            ):
                found += [(module["name"], about["pattern"]) for about in element.values() if about["type"] == "file"]
    return [(name, pattern) for name, pattern in found if pattern not in UNPUBLISHED]


def alternatives(pattern: str) -> list[str]:
    """Spell out the braces of a pattern."""
    parts = re.split(r"\{([^}]*)\}", pattern)
    return [
        "".join(chosen) for chosen in product(*(part.split(",") if i % 2 else [part] for i, part in enumerate(parts)))
    ]


@pytest.mark.parametrize(("module", "pattern"), endings())
def test_everything_that_modules_publish_is_known(module: str, pattern: str) -> None:
    for one in alternatives(pattern):
        folder = "multiqc" if "_mqc" in one else ELSEWHERE.get(one, module)
        named = {kind.ending for kind in KINDS if kind.folder == folder}
        known = one in named or any(fnmatch(f"x.{ending}", one.replace("*_", "*.")) for ending in named)
        assert known or one == f"*.{module}.json", one


def test_entry_says_what_a_file_is_and_of_what() -> None:
    entry = described("assemble/a.b.mmsrl.h5ad", 12)
    assert entry["id"] == "a.b"
    assert (entry["stage"], entry["format"], entry["kind"], entry["bytes"]) == ("assemble", "h5ad", "assembled", 12)
    assert described("assemble/a.coordinates.csv.gz", 1)["format"] == "csv.gz"
    assert described("assemble/a.domains.geojson", 1)["kind"] == "qupath"
    assert described("assemble/a.spots.csv", 1)["kind"] == "spots"
    assert described("markers/a.markers.tsv", 1)["kind"] == "markers"
    assert described("qc/a.qc.json", 1) == {**described("qc/b.qc.json", 1), "id": "a", "path": "qc/a.qc.json"}
    assert described("compare/study.expression.tsv", 1)["id"] == "study"
    assert described("report/mmsrl_report.html", 1)["id"] is None
    assert described("report/assets/plotly.min.js", 1)["id"] is None
    assert described("report/sections/a.b.html", 1)["id"] == "a.b"
    assert described("multiqc/mmsrl_general_mqc.json", 1)["id"] is None


def test_unknown_and_doubled_files_are_errors() -> None:
    with pytest.raises(InputError, match=r"qc/a\.odd: no stage writes such a file"):
        described("qc/a.odd", 1)
    with pytest.raises(InputError, match=r"qc/a\.qc\.png: two files of this name"):
        index([{"path": "qc/a.qc.png", "bytes": 1}] * 2, [], [])


def test_index_has_the_form_that_its_schema_promises_in_a_stable_order(tmp_path: Path) -> None:
    files = [{"path": f"qc/s{i}.qc.h5ad", "bytes": i} for i in (2, 10, 1)]
    units = [{"id": "u10", "samples": ["s10", "s2"]}, {"id": "u2", "samples": ["s1"]}]
    samples = [
        {"id": f"s{i}", "condition": c, "donor": None, "covariates": {"sex": "f"}, "group": "u"}
        for i, c in ((10, "a"), (2, None), (3, "of a section that failed"), (1, "b"))
    ]
    for order in (1, -1):
        (tmp_path / "files.json").write_text(
            json.dumps({"files": files[::order], "units": units[::order], "samples": samples[::order]})
        )
        result = CliRunner().invoke(main, ["--files", str(tmp_path / "files.json"), "--output-dir", str(tmp_path)])
        assert result.exit_code == 0, result.output
        content = json.loads((tmp_path / "index.json").read_text())
        assert [entry["path"] for entry in content["files"]] == ["qc/s1.qc.h5ad", "qc/s10.qc.h5ad", "qc/s2.qc.h5ad"]
        assert content["units"] == [{"id": "u2", "samples": ["s1"]}, {"id": "u10", "samples": ["s2", "s10"]}]
        assert content["samples"] == [
            {"id": f"s{i}", "condition": c, "donor": None, "covariates": {"sex": "f"}}
            for i, c in ((1, "b"), (2, None), (10, "a"))
        ]
    schema = json.loads((PROJECT / "assets/schema_index.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(content, schema)


def test_foreign_list_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "files.json").write_text("[]")
    result = CliRunner().invoke(main, ["--files", str(tmp_path / "files.json"), "--output-dir", str(tmp_path)])
    assert result.exit_code == 2
    assert "files.json: expected a map with files, units and samples" in result.output
