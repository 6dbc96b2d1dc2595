"""Any valid table survives any format; any fault is said with its place; garbage never ends in a traceback."""

import csv
import io
import json
from pathlib import Path

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmsrl._errors import InputError
from mmsrl.check.problems import report
from mmsrl.check.rows import check_rows
from mmsrl.check.table import read_table

SCHEMA = json.loads((Path(__file__).parents[2] / "assets/schema_input.json").read_text(encoding="utf-8"))
COLUMNS = tuple(SCHEMA["items"]["properties"])
FORMATS = (".csv", ".tsv", ".yaml", ".yml", ".json")


def write(path: Path, rows: list[dict[str, object]], *, ends: str = "\n", bom: bool = False) -> Path:
    """Write rows in the format of the suffix, as another program would."""
    if path.suffix in (".csv", ".tsv"):
        text = io.StringIO(newline="")
        columns = list(dict.fromkeys(column for row in rows for column in row))
        writer = csv.DictWriter(text, columns, delimiter="," if path.suffix == ".csv" else "\t", lineterminator=ends)
        writer.writeheader()
        writer.writerows(rows)
        content = text.getvalue()
    elif path.suffix == ".json":
        content = json.dumps(rows, ensure_ascii=False)
    else:
        content = yaml.safe_dump(rows, allow_unicode=True)
    path.write_bytes((b"\xef\xbb\xbf" if bom else b"") + content.encode())
    return path


def complaints(path: Path) -> str:
    """The message for a samplesheet; empty where all is right."""
    try:
        table = read_table(path)
    except InputError as error:
        return str(error)
    _, problems = check_rows(table, SCHEMA)
    return report(problems, path.name, table.unit) if problems else ""


names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
# What a path may hold, but for the blanks around it, which are not kept.
paths = st.text(
    st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp", "Cn", "Co"), exclude_characters="\ufeff"),
    min_size=1,
    max_size=30,
).map(lambda text: f"/{text.strip()}x")


@st.composite
def sheets(draw: st.DrawFn) -> list[dict[str, object]]:
    rows = []
    for sample in draw(st.lists(names, min_size=1, max_size=5, unique=True)):
        row: dict[str, object] = {"sample": sample}
        if draw(st.booleans()):
            row["spaceranger_dir"] = draw(paths)
            if draw(st.booleans()):
                row["bin_size"] = draw(st.integers(1, 999).map(str) | st.just("cell"))
        else:
            row["h5ad"] = draw(paths) + ".h5ad"
        if draw(st.booleans()):
            row["n_domains"] = draw(st.integers(2, 1000))
        if draw(st.booleans()):
            row["image"] = draw(paths)
        rows.append(row)
    return rows


@given(rows=sheets(), suffix=st.sampled_from(FORMATS), ends=st.sampled_from(["\n", "\r\n"]), bom=st.booleans())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_valid_table_is_read_alike_from_every_format(tmp_path, rows, suffix, ends, bom):
    path = write(tmp_path / f"sheet{suffix}", rows, ends=ends, bom=bom)
    sections, problems = check_rows(read_table(path), SCHEMA)
    assert problems == []
    assert [{k: v for k, v in section.items() if k != "row"} for section in sections] == rows


@given(
    content=st.one_of(st.binary(max_size=300), st.text(max_size=300).map(str.encode)), suffix=st.sampled_from(FORMATS)
)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_garbage_gives_a_message_and_no_traceback(tmp_path, content, suffix):
    path = tmp_path / f"sheet{suffix}"
    path.write_bytes(content)
    assert path.name in complaints(path)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(COLUMNS) | st.text(max_size=5), inner),
    max_leaves=12,
)


@given(value=_json, suffix=st.sampled_from([".json", ".yaml"]))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_structures_of_any_shape_give_a_message_or_pass(tmp_path, value, suffix):
    path = tmp_path / f"sheet{suffix}"
    path.write_text(json.dumps(value), encoding="utf-8")  # JSON is YAML too
    message = complaints(path)
    assert not message or path.name in message


def test_blank_lines_blanks_and_the_empty_columns_of_spreadsheets_are_accepted(tmp_path):
    path = tmp_path / "sheet.csv"
    path.write_bytes(b'\xef\xbb\xbf\r\n sample , spaceranger_dir,,\r\n\r\n"a", "/x y",,\r\n,,,\r\nb,/z,,\r\n')
    sections, problems = check_rows(read_table(path), SCHEMA)
    assert problems == []
    assert [(s["row"], s["sample"], s["spaceranger_dir"]) for s in sections][1] == (6, "b", "/z")


def test_yaml_scalars_are_taken_as_written(tmp_path):
    path = tmp_path / "sheet.yaml"
    path.write_text(
        "- {sample: 0123, h5ad: /no.h5ad, n_domains: 7, group: null}\n- {sample: no, h5ad: /a.h5ad, image: ~}\n"
    )
    sections, problems = check_rows(read_table(path), SCHEMA)
    assert problems == []
    assert [s["sample"] for s in sections] == ["0123", "no"]
    assert sections[0] == {"row": 1, "sample": "0123", "h5ad": "/no.h5ad", "n_domains": 7}


def test_all_faults_are_told_at_once_in_the_order_of_the_rows(tmp_path):
    path = tmp_path / "sheet.csv"
    path.write_text("sample,spaceranger_dir,n_domains,colour\nb b,/x,1,\na,,2,\na,/x,x,\n", encoding="utf-8")
    lines = complaints(path).splitlines()
    assert lines[0] == "6 problems in sheet.csv"
    assert [line.split(",")[1].split(":")[0] for line in lines[1:]] == [f" row {n}" for n in (1, 2, 2, 3, 4, 4)]


def test_scale_is_typed(tmp_path):
    row = {"sample": "a", "h5ad": "/x.h5ad", "platform": "dbit", "pitch_um": "2e1", "um_per_px": ".5"}
    for suffix in FORMATS:
        (section,), problems = check_rows(read_table(write(tmp_path / f"sheet{suffix}", [row])), SCHEMA)
        assert not problems
        assert (section["platform"], section["pitch_um"], section["um_per_px"]) == ("dbit", 20.0, 0.5)
    for wrong in ("nan", "inf", "1e999", "0", "-3", "20um"):
        assert f"value '{wrong}': must be a number of micrometres above 0" in complaints(
            write(tmp_path / "sheet.csv", [row | {"pitch_um": wrong}])
        )
