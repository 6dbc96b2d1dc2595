"""Text tables as one stage writes them and a later one reads them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from mmsrl._errors import InputError


def read_table(path: Path, stage: str, columns: Sequence[str], *, text: Sequence[str] = ()) -> pd.DataFrame:
    """Read the table of a stage: tabs between columns where the name ends with `.tsv`, else commas.

    Parameters
    ----------
    path
        The table.
    stage
        The stage that wrote it, for messages.
    columns
        What it must have at least.
    text
        Columns to read as strings, whatever they look like.

    Raises
    ------
    InputError
        The file is no such table, or truncated within a row.
    """
    try:
        table = pd.read_csv(path, sep="\t" if path.suffix == ".tsv" else ",", dtype=dict.fromkeys(text, str))
    # The parser's own errors and those of the encoding are kinds of ValueError.
    except ValueError as error:
        what = " ".join(str(error).split())
        raise InputError(f"{path.name}: empty or damaged ({what}); copy it anew, or run mmsrl-{stage} again") from error
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise InputError(f"{path.name}: no column {', '.join(missing)}; expected the output of mmsrl-{stage}")
    return table
