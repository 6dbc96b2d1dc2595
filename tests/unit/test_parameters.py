"""The parameter table is sound, and what is made from it is up to date."""

import json
import re
from pathlib import Path

import generate
import jsonschema
import pytest
from click.testing import CliRunner

from mmsrl._stages import GROUPS
from mmsrl.check.params import properties_of
from mmsrl.parameters import PARAMETERS

PROJECT = Path(__file__).parents[2]
SCHEMA = json.loads(generate.schema_json())


def test_generated_files_are_up_to_date():
    assert generate.stale(PROJECT) == []


def test_check_lists_what_is_out_of_date_and_writes_nothing(tmp_path):
    for name in generate.FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((PROJECT / name).read_bytes())
    edited = tmp_path / "conf/params.config"
    edited.write_text(edited.read_text() + "// by hand\n")
    result = CliRunner().invoke(generate.main, ["--check", "--project", str(tmp_path)])
    assert (result.exit_code, result.output) == (1, "conf/params.config is out of date; run make generate\n")
    assert edited.read_text().endswith("// by hand\n")

    assert CliRunner().invoke(generate.main, ["--project", str(tmp_path)]).exit_code == 0
    assert CliRunner().invoke(generate.main, ["--check", "--project", str(tmp_path)]).exit_code == 0
    assert edited.read_bytes() == (PROJECT / "conf/params.config").read_bytes()


def test_names_are_unique_and_stages_known():
    names = [parameter.name for parameter in PARAMETERS]
    assert len(names) == len(set(names))
    assert {parameter.stage for parameter in PARAMETERS} <= GROUPS.keys()


@pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda parameter: parameter.name)
def test_parameter_is_spelt_described_and_within_its_own_limits(parameter):
    assert re.fullmatch(r"[a-z][a-z0-9_]*", parameter.name)
    assert parameter.help.endswith(".")
    assert not parameter.choices or parameter.type == "string"
    if parameter.default is not None:
        jsonschema.validate({parameter.name: parameter.default}, {"properties": properties_of(SCHEMA)})
    else:
        assert parameter.type != "boolean" or "set by the preset" in parameter.help


def test_schemas_are_valid_json_schema():
    rows = json.loads((PROJECT / "assets/schema_input.json").read_text(encoding="utf-8"))
    for schema in (SCHEMA, rows):
        assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
        jsonschema.Draft202012Validator.check_schema(schema)


def test_schema_has_every_parameter_once_with_type_and_description():
    listed = [name for group in SCHEMA["$defs"].values() for name in group["properties"]]
    assert sorted(listed) == sorted(parameter.name for parameter in PARAMETERS)
    assert [reference["$ref"] for reference in SCHEMA["allOf"]] == [f"#/$defs/{name}" for name in SCHEMA["$defs"]]
    for name, rule in properties_of(SCHEMA).items():
        assert rule["type"] in ("string", "integer", "number", "boolean"), name
        assert rule["description"], name


def test_schema_and_manifest_name_the_same_pipeline():
    config = (PROJECT / "nextflow.config").read_text(encoding="utf-8")
    manifest = dict(re.findall(r"^\s+(\w+)\s*=\s*'([^']*)'$", config[config.index("manifest {") :], flags=re.MULTILINE))
    assert SCHEMA["title"] == f"{manifest['name']} pipeline parameters"
    assert SCHEMA["description"] == manifest["description"]


def test_config_has_the_defaults_as_groovy():
    text = generate.params_config()
    values = dict(re.findall(r"^    (\w+) += (.*)$", text, flags=re.MULTILINE))
    assert values.keys() == {parameter.name for parameter in PARAMETERS}
    assert values["input"] == "null"
    assert values["use_image"] == "true"
    assert values["n_top_genes"] == "null"
    assert values["min_spots"] == "3"
    assert values["preset"] == "'default'"


def test_text_is_quoted_for_groovy():
    assert generate._groovy("it's a \\ $x") == r"'it\'s a \\ $x'"
