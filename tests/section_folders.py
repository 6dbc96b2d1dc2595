"""Helpers for sections in folders of Space Ranger: read them, and compare check and ingest."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from spaceranger import counts_of, hexagonal

from mmsrl._errors import InputError
from mmsrl.check.files import check_files
from mmsrl.ingest.api import read_spaceranger

MATRIX = "filtered_feature_bc_matrix.h5"
LIST = "spatial/tissue_positions_list.csv"
SPATIAL = hexagonal()[["pxl_col_in_fullres", "pxl_row_in_fullres"]].to_numpy()


def check_message(path: Path, bin_size: object = None) -> str:
    """Return the message of the check before a run, or "" if the folder passes."""
    section = {"row": 2, "spaceranger_dir": str(path)} | ({} if bin_size is None else {"bin_size": bin_size})
    return "".join(problem.text for problem in check_files(section, Path("/")))


def read(path: Path, **more):
    """Read a section that passes the check."""
    assert check_message(path, more.get("bin_size")) == ""
    return read_spaceranger(path, "s", **more)


def refused(path: Path, **more) -> str:
    """Return the message of a refused section, which check and ingest share."""
    with pytest.raises(InputError) as caught:
        read_spaceranger(path, "s", **more)
    assert check_message(path, more.get("bin_size")) == str(caught.value).removeprefix("sample s: ")
    return str(caught.value)


def assert_same(ingested) -> None:
    """Assert that counts, coordinates and image are those of the simulated section."""
    adata = ingested.adata
    np.testing.assert_array_equal(adata.X.toarray(), counts_of(30).toarray())
    assert list(adata.obs_names) == list(hexagonal()["barcode"])
    np.testing.assert_allclose(adata.obsm["spatial"], SPATIAL)
    assert tuple(adata.uns["spatial"]["s"]["images"]["lowres"][0, 0]) == (200, 100, 150)


def messages_of(ingested) -> str:
    """Return the messages of ingest, one per line."""
    return "\n".join(message["text"] for message in ingested.messages)


def warnings_of(ingested) -> list[str]:
    """Return the texts of the warnings of ingest."""
    return [message["text"] for message in ingested.messages if message["level"] == "warning"]


def positions_as(outs: Path, table: pd.DataFrame, name: str = "tissue_positions.csv", **more) -> Path:
    """Replace the positions of a section by a table in another format."""
    (outs / LIST).unlink()
    path = outs / "spatial" / name
    if name.endswith(".parquet"):
        table.to_parquet(path, **more)
    else:
        table.to_csv(path, **({"index": False} | more))
    return outs
