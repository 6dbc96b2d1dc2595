"""Any valid table survives any format; any fault is said with its place; garbage never ends in a traceback."""

import csv
import io
import json
from pathlib import Path

import pytest
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
                row["bin_size"] = draw(st.integers(1, 999))
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


GOOD = "sample,spaceranger_dir\na,/x\n"
FAULTS = {
    "misspelt column": ("sampel,spaceranger_dir\na,/x\n", "row 1, column sampel: unknown column; did you mean sample?"),
    "camel case column": ("sample,spacerangerDir\na,/x\n", "did you mean spaceranger_dir?"),
    "foreign column": (
        "sample,spaceranger_dir,fastq\na,/x,y\n",
        "row 1, column fastq: unknown column; there are sample,",
    ),
    "missing column": ("spaceranger_dir\n/x\n", "row 1: no column sample; add it"),
    "no source column": ("sample,image\na,/x\n", "row 1: no column spatialdata or spaceranger_dir or h5ad; add it"),
    "column twice": ("sample,h5ad,h5ad\na,/x.h5ad,\n", "row 1, column h5ad: this column is there more than once"),
    "column without name": ("sample,,h5ad\na,,/x.h5ad\n", "row 1: column 2 has no name"),
    "sample twice": (GOOD + "b,/x\na,/y\n", "row 4, column sample, value 'a': row 2 has this sample already"),
    "no sample": (GOOD + ",/y\n", "row 3: there is no sample name"),
    "space in sample": (
        "sample,spaceranger_dir\na b,/x\n",
        "row 2, column sample, value 'a b': a sample name has letters",
    ),
    "path in sample": ("sample,spaceranger_dir\n../a,/x\n", "row 2, column sample, value '../a': a sample name"),
    "sample of dots": ("sample,spaceranger_dir\n..,/x\n", "row 2, column sample, value '..': a sample name"),
    "umlaut in sample": ("sample,spaceranger_dir\nMäuse,/x\n", "row 2, column sample, value 'Mäuse': a sample name"),
    "option as sample": ("sample,spaceranger_dir\n-rf,/x\n", "row 2, column sample, value '-rf': a sample name"),
    "long sample": (f"sample,spaceranger_dir\n{'a' * 101},/x\n", "at most 100 characters"),
    "neither source": (
        "sample,spaceranger_dir,h5ad\na,,\n",
        "row 2: there is neither spaceranger_dir nor h5ad nor spatialdata",
    ),
    "both sources": ("sample,spaceranger_dir,h5ad\na,/x,/x.h5ad\n", "row 2: there are both spaceranger_dir and h5ad"),
    "not h5ad": (
        "sample,h5ad\na,/x.rds\n",
        "row 2, column h5ad, value '/x.rds': must be the path of a file that ends with",
    ),
    "bin size of h5ad": ("sample,h5ad,bin_size\na,/x.h5ad,8\n", "row 2: bin_size goes with the spaceranger_dir"),
    "bin size in words": (
        "sample,spaceranger_dir,bin_size\na,/x,8um\n",
        "row 2, column bin_size, value '8um': must be a whole",
    ),
    "bin size of zero": (
        "sample,spaceranger_dir,bin_size\na,/x,0\n",
        "row 2, column bin_size, value '0': must be a whole",
    ),
    "domains in words": (
        "sample,spaceranger_dir,n_domains\na,/x,seven\n",
        "row 2, column n_domains, value 'seven': must be",
    ),
    "one domain": ("sample,spaceranger_dir,n_domains\na,/x,1\n", "row 2, column n_domains, value '1': must be a whole"),
    "half a domain": ("sample,spaceranger_dir,n_domains\na,/x,2.5\n", "row 2, column n_domains, value '2.5': must be"),
    "truth of another kind": (
        "sample,spaceranger_dir,truth\na,/x,/t.rds\n",
        "row 2, column truth, value '/t.rds': must be",
    ),
    "control character": (
        "sample,spaceranger_dir\na,/x\x07y\n",
        r"row 2, column spaceranger_dir, value '/x\x07y': must be",
    ),
    "group with a path": ("sample,spaceranger_dir,group\na,/x,g/h\n", "row 2, column group, value 'g/h': a group name"),
    "group named as a sample": (
        "sample,spaceranger_dir,group\na,/x,\nb,/x,a\nc,/x,a\n",
        "row 3, column group, value 'a': row 2 is a sample of this name; results would overwrite each other",
    ),
    "group named as its own sample": (
        "sample,spaceranger_dir,group\na,/x,a\nb,/x,a\n",
        "row 2, column group, value 'a'",
    ),
    "numbers of domains in a group": (
        "sample,spaceranger_dir,group,n_domains\na,/x,g,7\nb,/x,g,\nc,/x,g,5\n",
        "row 4, column n_domains, value '5': group 'g' has n_domains 7 on row 2",
    ),
    "short row": (
        "sample,spaceranger_dir,group\na,/x\n",
        "row 2: 2 values for 3 columns; is a separator or a quote missing?",
    ),
    "long row": (GOOD + "b,/x,y\n", "row 3: 3 values for 2 columns"),
    "open quote": (GOOD + 'b,"/x\n', "row 3: not a row of a table"),
    "text after quote": (GOOD + 'b,"/x"y\n', "row 3: not a row of a table"),
    "semicolons": ("sample;spaceranger_dir\na;/x\n", "row 1: columns are separated by semicolons"),
    "tabs in csv": ("sample\tspaceranger_dir\na\t/x\n", "save it with commas or name it .tsv"),
    "empty": ("", "is empty"),
    "blank": ("\n\n", "is empty"),
    "header only": ("sample,spaceranger_dir\n", "there are no rows below the column names"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_fault_is_named_with_its_place(tmp_path, name):
    text, expected = FAULTS[name]
    path = tmp_path / "sheet.csv"
    path.write_text(text, encoding="utf-8", newline="")
    message = complaints(path)
    assert expected in message
    # One fault, one line: nothing follows from it that is told as another.
    assert len(message.splitlines()) <= 2


FOREIGN = {
    "utf-16": ("sheet.csv", GOOD.encode("utf-16"), "not UTF-8 text"),
    "latin-1": ("sheet.csv", "sample,h5ad\na,/ü.h5ad\n".encode("latin-1"), "line 2: not UTF-8"),
    "null bytes": ("sheet.csv", b"sample,h5ad\na,/\0.h5ad\n", "null bytes"),
    "excel": ("sheet.csv", b"PK\x03\x04rest", "spreadsheet document; save it as CSV"),
    "other suffix": ("sheet.xlsx", b"", "must end with one of .csv, .tsv"),
    "not yaml": ("sheet.yaml", b"- sample: a\n  h5ad: [\n", "not YAML"),
    "yaml map": ("sheet.yaml", b"sample: a\n", "must be a list with one map a sample"),
    "yaml list of text": ("sheet.yaml", b"- a\n", "entry 1: must be a map"),
    "yaml column twice": (
        "sheet.yaml",
        b"- {sample: a, h5ad: /x.h5ad, sample: b}\n",
        "entry 1, column sample: this column",
    ),
    "yaml list as value": (
        "sheet.yaml",
        b"- {sample: [a], h5ad: /x.h5ad}\n",
        "entry 1, column sample: must be text or a number",
    ),
    "yaml loop": ("sheet.yaml", b"&a [*a]\n", "entry 1: must be a map"),
    "not json": ("sheet.json", b'[{"sample": "a",}]', "line 1: not JSON"),
    "json map": ("sheet.json", b'{"sample": "a"}', "must be a list with one map a sample"),
    "json truth value": (
        "sheet.json",
        b'[{"sample": true, "h5ad": "/x.h5ad"}]',
        "entry 1, column sample: must be text",
    ),
    "json deep": ("sheet.json", b"[" * 100_000, "nested too deep"),
    "json empty list": ("sheet.json", b"[]", "has no sample"),
    "json misspelt": (
        "sheet.json",
        b'[{"sample": "a", "h5da": "/x.h5ad"}]',
        "entry 1, column h5da: unknown column; did you",
    ),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_file_is_told_by_what_it_is(tmp_path, name):
    file, content, expected = FOREIGN[name]
    path = tmp_path / file
    path.write_bytes(content)
    message = complaints(path)
    assert expected in message
    assert file in message


def test_all_faults_are_told_at_once_in_the_order_of_the_rows(tmp_path):
    path = tmp_path / "sheet.csv"
    path.write_text("sample,spaceranger_dir,n_domains,colour\nb b,/x,1,\na,,2,\na,/x,x,\n", encoding="utf-8")
    lines = complaints(path).splitlines()
    assert lines[0] == "6 problems in sheet.csv"
    assert [line.split(",")[1].split(":")[0] for line in lines[1:]] == [f" row {n}" for n in (1, 2, 2, 3, 4, 4)]


def test_a_folder_and_a_missing_file_are_no_samplesheets(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    assert "is a folder" in complaints(tmp_path / "folder.csv")
    assert "cannot be read: No such file" in complaints(tmp_path / "none.csv")
