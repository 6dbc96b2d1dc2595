"""Folders of instruments other than Visium that are incomplete, mixed or damaged."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import instruments
import pandas as pd
from spaceranger import cut, visium

from bad_input.case import Case, check

Make = Callable[[Path], object]


def _checked(make: Make, spoil: Make = lambda folder: None, **row: str) -> Callable[[Path], list[str]]:
    """Check a samplesheet with a folder `run`, written by ``make`` and damaged by ``spoil``."""

    def command(folder: Path) -> list[str]:
        make(folder / "run")
        spoil(folder / "run")
        values = {"sample": "S1", "data_dir": "run", **row}
        sheet = folder / "sheet.csv"
        sheet.write_text(f"{','.join(values)}\n{','.join(values.values())}\n", encoding="utf-8")
        return check(sheet)

    return command


def _read(make: Make, spoil: Make, *more: str) -> Callable[[Path], list[str]]:
    def command(folder: Path) -> list[str]:
        make(folder / "run")
        spoil(folder / "run")
        return ["ingest", "--id", "S1", "--data-dir", str(folder / "run"), *more]

    return command


def _edit(name: str, change: Callable[[pd.DataFrame], pd.DataFrame]) -> Make:
    return lambda run: change(pd.read_csv(run / name, dtype=str)).to_csv(run / name, index=False)


def _named(name: str, new: str) -> Make:
    return lambda run: (run / name).rename(run / new)


def _without(name: str) -> Make:
    return lambda run: (run / name).unlink()


def _flat(run: Path) -> Path:
    return instruments.cosmx(run, packed=False)


def _packed(run: Path) -> None:
    run.mkdir()
    with tarfile.open(run.parent / "run.tar", "w") as tar:
        tar.add(__file__, "notes.txt")


def _regions(run: Path) -> None:
    instruments.merscope(run / "region_0")
    instruments.merscope(run / "region_1")


def _two(run: Path) -> None:
    instruments.xenium(run)
    instruments.cosmx(run / "flat")


def _gem(run: Path) -> None:
    run.mkdir()
    (run / "SS1.tissue.gem.gz").write_bytes(b"x")


CELLBIN = "feature_expression/SS200000135TL_D1.cellbin.gef"
COUNTS, CELLS = "S0_exprMat_file.csv", "S0_metadata_file.csv"
GLOBAL = ["CenterX_global_px", "CenterY_global_px"]

CASES = (
    Case("Xenium without its cells", _checked(instruments.xenium, _without("cells.parquet"))),
    Case(
        "Xenium with its matrix as Zarr alone",
        _checked(instruments.xenium, _named("cell_feature_matrix.h5", "cell_feature_matrix.zarr.zip")),
    ),
    Case("Xenium whose cells are cut short", _checked(instruments.xenium, lambda run: cut(run / "cells.parquet"))),
    Case(
        "Xenium whose matrix is cut short",
        _checked(instruments.xenium, lambda run: cut(run / "cell_feature_matrix.h5")),
    ),
    Case("Xenium for Space Ranger", _checked(instruments.xenium, data_dir="", spaceranger_dir="run")),
    Case("Space Ranger for another instrument", _checked(visium)),
    Case("the matrix for the folder", _checked(instruments.xenium, data_dir="run/cell_feature_matrix.h5")),
    Case("a folder of CosMx for one of Xenium", _checked(_flat, platform="xenium")),
    Case("a folder of two instruments", _checked(_two)),
    Case("a folder of no instrument", _checked(Path.mkdir)),
    Case("an archive of no instrument", _checked(_packed, data_dir="run.tar")),
    Case("CosMx without its cells", _checked(_flat, _without(CELLS))),
    Case("CosMx with places in fields of view alone", _checked(_flat, _edit(CELLS, lambda t: t.drop(columns=GLOBAL)))),
    Case(
        "CosMx without numbers of the fields of view", _checked(_flat, _edit(COUNTS, lambda t: t.drop(columns="fov")))
    ),
    Case("CosMx with semicolons", _checked(_flat, lambda run: pd.read_csv(run / CELLS).to_csv(run / CELLS, sep=";"))),
    Case("several regions of MERSCOPE", _checked(_regions)),
    Case("Stereo-seq as text", _checked(_gem)),
    Case(
        "cells of Stereo-seq that are not there",
        _checked(instruments.stereoseq, _without(CELLBIN), bin_size="cell"),
    ),
    Case("bins of an instrument that has none", _checked(instruments.seqfish, bin_size="8")),
    Case("tables of two sections", _read(_flat, _edit(CELLS, lambda t: t.assign(fov=t["fov"] + "0")))),
    Case("a cell twice", _read(_flat, _edit(CELLS, lambda t: t.assign(cell_ID="1")))),
    Case("a molecule count in words", _read(_flat, _edit(COUNTS, lambda t: t.assign(Actb="many")))),
    Case("a place in words", _read(_flat, _edit(CELLS, lambda t: t.assign(CenterX_global_px="left")))),
    Case("a GEF cut short", _read(instruments.stereoseq, lambda run: cut(run / CELLBIN))),
    Case(
        "bins of a width that the chip does not have",
        _read(lambda run: instruments.stereoseq(run, nm=715), lambda run: None, "--bin-size", "25"),
    ),
    Case(
        "HDF5 of something else named GEF",
        _read(instruments.stereoseq, lambda run: shutil.copy(next(run.rglob("*.tissue.gef")), run / CELLBIN)),
    ),
)
