"""Any bytes for a small text file end in its content or in one message, and what was written is read back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmsrl._alignment import read_alignment
from mmsrl._errors import InputError
from mmsrl._gmt import read_gmt
from mmsrl.check.truth import check_truth
from mmsrl.evaluate.truth import read_truth

any_bytes = st.binary(max_size=200) | st.text(alphabet="ab1,;.\"'\t\n\r -[]{}:é\x00barcodelabelmatrixoligo").map(
    str.encode
)
relaxed = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
names = st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,8}", fullmatch=True)
numbers = st.floats(-1e4, 1e4).map(lambda number: round(number, 3))


@relaxed
@given(content=any_bytes)
@pytest.mark.parametrize("name", ["truth.csv", "sets.gmt", "a.csv", "a.json"])
def test_any_bytes_end_in_content_or_one_message(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    readers = {
        "truth.csv": [lambda: check_truth(path, None), lambda: read_truth(path, sample="s")],
        "sets.gmt": [lambda: read_gmt(path)],
    }
    for read in readers.get(name, [lambda: read_alignment(path)]):
        try:
            read()
        except InputError as error:
            assert str(error)


_numbers_or_not = st.none() | st.booleans() | st.floats() | st.text(max_size=3)
_spot = st.dictionaries(st.sampled_from(["row", "col", "imageX", "imageY"]), _numbers_or_not, max_size=4)
_loupe = st.fixed_dictionaries(
    {}, optional={"oligo": st.lists(_spot, max_size=5) | _numbers_or_not, "cytAssistInfo": _numbers_or_not | _spot}
)


@relaxed
@given(content=_loupe)
def test_an_alignment_of_any_shape_ends_in_content_or_one_message(tmp_path: Path, content: dict) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(content))
    try:
        read_alignment(path)
    except InputError as error:
        assert str(error)


@relaxed
@given(sets=st.dictionaries(names, st.lists(names, min_size=1, max_size=5, unique=True), min_size=1, max_size=5))
def test_gene_sets_are_read_as_written(tmp_path: Path, sets: dict[str, list[str]]) -> None:
    path = tmp_path / "sets.gmt"
    lines = ["\t".join([name, "from a book", *genes]) for name, genes in sets.items()]
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    assert read_gmt(path) == sets


@relaxed
@given(
    labels=st.dictionaries(names, names.filter(lambda name: name not in ("NA", "NaN", "nan")), min_size=1, max_size=9),
    delimiter=st.sampled_from(",;\t"),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_labels_are_read_as_written(tmp_path: Path, labels: dict[str, str], delimiter: str, encoding: str) -> None:
    path = tmp_path / "truth.csv"
    rows = [f"{barcode}{delimiter}{label}" for barcode, label in labels.items()]
    path.write_bytes("\r\n".join([f"barcode{delimiter}label", *rows]).encode(encoding))
    assert read_truth(path, sample="s").to_dict() == labels


@relaxed
@given(shift=st.tuples(numbers, numbers), scale=st.floats(0.01, 100).map(lambda number: round(number, 3)))
def test_a_matrix_is_read_as_written(tmp_path: Path, shift: tuple[float, float], scale: float) -> None:
    matrix = [[scale, 0.0, shift[0]], [0.0, scale, shift[1]], [0.0, 0.0, 1.0]]
    (tmp_path / "a.json").write_text(json.dumps({"matrix": matrix}))
    (tmp_path / "a.csv").write_text("\n".join(",".join(map(str, row)) for row in matrix))
    for name in ("a.json", "a.csv"):
        np.testing.assert_array_equal(read_alignment(tmp_path / name).matrix, matrix)
