"""Parser of samplesheets in all formats: rows of text, without interpretation of the columns."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from mmsrl._errors import InputError
from mmsrl.check.problems import Problem

FORMATS = (".csv", ".tsv", ".yaml", ".yml", ".json")
"""Suffixes of samplesheets."""

_MAX_BYTES = 16 * 2**20
"""Maximum size of a samplesheet. Larger files are not read."""

_YAML_NULLS = ("", "~", "null", "Null", "NULL")


@dataclass(frozen=True)
class Row:
    """Row of a samplesheet as written."""

    number: int
    values: dict[str, str]
    """Text by column, without empty values."""
    named: tuple[str, ...] = ()
    """Columns named by the row itself, including empty ones (YAML and JSON only)."""


@dataclass(frozen=True)
class Table:
    """Samplesheet as written, with the problems of its format."""

    unit: str
    """Unit of :attr:`Row.number`: ``row`` (line of a CSV or TSV) or ``entry`` (of a YAML or JSON list)."""
    columns: tuple[str, ...] | None
    """Columns of the header; ``None`` for YAML and JSON, where every row names its columns."""
    rows: list[Row] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    header: int = 0
    """Line number of the header."""


def read_table(path: Path) -> Table:
    """Read a samplesheet in CSV, TSV, YAML or JSON format, chosen by the suffix of its name.

    Byte-order marks, all line endings, quotes, blank lines, spaces around values and empty trailing columns (as
    spreadsheets write them) are accepted.

    Parameters
    ----------
    path
        The samplesheet.

    Returns
    -------
    Table
        Rows as text, with the problems of single rows.

    Raises
    ------
    InputError
        The file cannot be read or parsed.
    """
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise InputError(f"samplesheet {path}: its name must end with one of {', '.join(FORMATS)}")
    text = _text(path)
    if suffix in (".csv", ".tsv"):
        return _delimited(path.name, text, "," if suffix == ".csv" else "\t")
    entries = _yaml_entries(path.name, text) if suffix in (".yaml", ".yml") else _json_entries(path.name, text)
    return _table_of_entries(path.name, entries)


def _text(path: Path) -> str:
    try:
        if path.is_dir():
            raise InputError(f"samplesheet {path} is a folder; give the file")
        if path.stat().st_size > _MAX_BYTES:
            raise InputError(f"samplesheet {path} has more than {_MAX_BYTES >> 20} MiB; is it the right file?")
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"samplesheet {path} cannot be read: {error.strerror}") from error
    if content.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise InputError(f"samplesheet {path} is a spreadsheet document; save it as CSV (UTF-8)")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(f"samplesheet {path}, line {line}: not UTF-8 text; save it as CSV (UTF-8)") from error
    if "\0" in text:
        raise InputError(f"samplesheet {path} holds null bytes: it is not UTF-8 text; save it as CSV (UTF-8)")
    return text


def _delimited(name: str, text: str, delimiter: str) -> Table:
    problems: list[Problem] = []
    records: list[tuple[int, list[str]]] = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    line = 1
    while True:
        try:
            record = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            # The start of the next row is unknown after an unbalanced quote.
            problems.append(Problem(line, f"not a row of a table ({error}); is a quote missing?"))
            break
        fields = [value.strip() for value in record]
        if any(fields):
            records.append((line, fields))
        line = reader.line_num + 1
    if not records:
        if problems:
            raise InputError(f"{name}, row {problems[0].row}: {problems[0].text}")
        raise InputError(f"{name} is empty; it needs a row of column names and a row for each sample")

    header, columns = records[0]
    while columns and not columns[-1]:
        columns.pop()
    if len(columns) == 1:
        for other, meaning in ((";", "semicolons"), ("\t", "tabs"), (",", "commas")):
            if other != delimiter and other in columns[0]:
                wanted = "commas" if delimiter == "," else "tabs"
                raise InputError(
                    f"{name}, row {header}: columns are separated by {meaning}, but the name of the file says "
                    f"{wanted}; save it with {wanted}" + (" or name it .tsv" if other == "\t" else "")
                )
    for column in sorted({c for c in columns if columns.count(c) > 1}):
        text_ = "a column without a name" if not column else "this column is there more than once"
        problems.append(Problem(header, f"{text_}; keep one", column=column or None))
    if "" in columns and columns.count("") == 1:
        problems.append(Problem(header, f"column {columns.index('') + 1} has no name; name or remove it"))

    table = Table("row", tuple(columns), problems=problems, header=header)
    for number, fields in records[1:]:
        while len(fields) > len(columns) and not fields[-1]:
            fields.pop()
        if len(fields) != len(columns):
            text_ = f"{len(fields)} values for {len(columns)} columns; is a separator or a quote missing?"
            problems.append(Problem(number, text_))
            continue
        table.rows.append(Row(number, {c: v for c, v in zip(columns, fields, strict=True) if c and v}))
    return table


_Pairs = list[tuple[str, "str | None | _Structure"]]


class _Structure:
    """Placeholder for a list or map in place of a plain value."""


def _yaml_entries(name: str, text: str) -> list[_Pairs | None]:
    # Parse nodes instead of values: YAML reads 0123 as 83 and no as false, and drops duplicate keys.
    try:
        root = yaml.compose(text, Loader=yaml.BaseLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        reason = getattr(error, "problem", None) or "characters that YAML does not allow"
        raise InputError(f"{name}{where}: not YAML ({reason})") from error
    except (RecursionError, ValueError) as error:
        raise InputError(f"{name}: not YAML that a samplesheet can be read from ({type(error).__name__})") from error
    if root is None:
        raise InputError(f"{name} is empty; it needs a list with one map a sample")
    if not isinstance(root, yaml.SequenceNode):
        raise InputError(f"{name}: must be a list with one map a sample ('- sample: …')")
    return [_yaml_pairs(node) if isinstance(node, yaml.MappingNode) else None for node in root.value]


def _yaml_pairs(node: yaml.MappingNode) -> _Pairs:
    pairs: _Pairs = []
    for key, value in node.value:
        label = key.value if isinstance(key, yaml.ScalarNode) else "?"
        if not isinstance(value, yaml.ScalarNode):
            pairs.append((label, _Structure()))
        elif value.style is None and value.value in _YAML_NULLS:
            pairs.append((label, None))
        else:
            pairs.append((label, value.value))
    return pairs


class _JsonMap:
    """JSON object with all keys as written, including duplicates."""

    def __init__(self, pairs: list[tuple[str, object]]) -> None:
        self.pairs = pairs


def _json_entries(name: str, text: str) -> list[_Pairs | None]:
    if not text.strip():
        raise InputError(f"{name} is empty; it needs a list with one map a sample")
    try:
        root = json.loads(text, parse_int=str, parse_float=str, parse_constant=str, object_pairs_hook=_JsonMap)
    except json.JSONDecodeError as error:
        raise InputError(f"{name}, line {error.lineno}: not JSON ({error.msg})") from error
    except RecursionError as error:
        raise InputError(f"{name}: not JSON that a samplesheet can be read from (nested too deep)") from error
    if not isinstance(root, list):
        raise InputError(f'{name}: must be a list with one map a sample ([{{"sample": …}}, …])')
    return [
        [(key, v if v is None or isinstance(v, str) else _Structure()) for key, v in entry.pairs]
        if isinstance(entry, _JsonMap)
        else None
        for entry in root
    ]


def _table_of_entries(name: str, entries: Iterable[_Pairs | None]) -> Table:
    table = Table("entry", None)
    for number, pairs in enumerate(entries, start=1):
        if pairs is None:
            table.problems.append(Problem(number, "must be a map of columns to values ('sample: …')"))
            continue
        values: dict[str, str] = {}
        seen: set[str] = set()
        for key, value in pairs:
            column = key.strip()
            if column in seen:
                table.problems.append(Problem(number, "this column is there more than once; keep one", column=column))
            seen.add(column)
            if isinstance(value, _Structure):
                text = "must be text or a number, not a list, a map or true/false"
                table.problems.append(Problem(number, text, column=column))
            elif value is not None and value.strip():
                values[column] = value.strip()
        table.rows.append(Row(number, values, named=tuple(dict.fromkeys(key.strip() for key, _ in pairs))))
    if not table.rows and not table.problems:
        raise InputError(f"{name} has no sample; it needs a list with one map a sample")
    return table
