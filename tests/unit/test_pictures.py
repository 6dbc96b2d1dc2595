"""Pictures of any kind that people have come out as the colours that they show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image
from scipy import sparse

from mmsrl._pictures import ORIENTATION
from mmsrl.features.rasters import open_rasters
from mmsrl.ingest.content import Content
from mmsrl.ingest.images import pictures_of, read_images, to_rgb
from mmsrl.ingest.internal import internal_form
from mmsrl.ingest.matrix import Counts
from mmsrl.ingest.platform import Stated

HEIGHT, WIDTH = 60, 80
Y, X = np.mgrid[:HEIGHT, :WIDTH]
COLOURS = np.stack([255 - 2 * X, 255 - 3 * Y, 255 - X - Y], axis=2).astype(np.uint8)
GREY = COLOURS[..., 0]


@pytest.mark.parametrize(
    "array",
    [
        COLOURS.astype(np.int32),
        COLOURS.astype(np.int64),
        COLOURS.astype(np.uint16),
        COLOURS.astype(np.uint16) * 257,
        np.rint(COLOURS / 255 * 4095).astype(np.uint16),
        COLOURS / 255,
        (COLOURS / 255).astype(np.float32) * np.float32(1.0000001),
        COLOURS.astype(float),
        COLOURS.astype(float) * 257,
        np.where(COLOURS == 255, np.nan, COLOURS / 255),
        np.moveaxis(COLOURS, 2, 0),
        np.dstack([COLOURS, np.full(GREY.shape, 255, np.uint8)]),
        np.dstack([COLOURS / 255, np.ones(GREY.shape)]),
    ],
)
def test_arrays_of_any_type_are_the_same_picture(array: np.ndarray) -> None:
    found = to_rgb(array)
    assert found is not None and found.dtype == np.uint8
    known = np.isfinite(array) if array.shape == COLOURS.shape else np.ones(COLOURS.shape, bool)
    np.testing.assert_array_equal(found[known], COLOURS[known])


@pytest.mark.parametrize(
    ("array", "pixel"),
    [
        (np.full((2, 2, 3), 0.5), (128, 128, 128)),
        (np.full((2, 2, 3), 7.0), (7, 7, 7)),
        (np.full((2, 2), 9, dtype=np.uint8), (9, 9, 9)),
        (np.full((2, 2, 4), 257 * 40, dtype=np.uint16), (40, 40, 40)),
        (np.full((2, 2), True), (255, 255, 255)),
        (np.zeros((2, 2), bool), (0, 0, 0)),
        (np.full((2, 2, 1), -3.0), (0, 0, 0)),
    ],
)
def test_image_arrays(array: np.ndarray, pixel: tuple[int, int, int]) -> None:
    image = to_rgb(array)
    assert image is not None and image.shape == (2, 2, 3) and tuple(image[0, 0]) == pixel


def test_what_is_no_picture_is_told() -> None:
    found, notes = pictures_of({"hires": np.zeros((5, 6, 7)), "lowres": COLOURS, "other": COLOURS})
    assert list(found) == ["lowres"]
    assert len(notes) == 1 and "hires image is an array of shape (5, 6, 7)" in notes[0]
    assert pictures_of({"hires": "a.png"})[0] == {} and pictures_of({}) == ({}, [])


def write(path: Path, kind: str) -> np.ndarray:
    """Write the picture as ``kind``; returns what is to be seen."""
    picture = Image.fromarray(COLOURS)
    if kind == "16 bits":
        Image.fromarray(GREY.astype(np.uint16) * 257).save(path)
        return np.repeat(GREY[..., None], 3, axis=2)
    if kind == "one bit":
        picture.convert("1").save(path)
        return np.asarray(picture.convert("1").convert("RGB"))
    if kind == "transparent":
        glass = GREY > 200
        Image.fromarray(np.dstack([np.where(glass[..., None], 0, COLOURS), np.where(glass, 0, 255)]).astype("u1")).save(
            path
        )
        return np.where(glass[..., None], 255, COLOURS)
    if kind == "palette":
        picture.quantize(256).save(path)
        return np.asarray(picture.quantize(256).convert("RGB"))
    if kind == "inks":
        picture.convert("CMYK").save(path)
    elif kind.startswith("ycbcr"):
        options = {"ycbcr": {}, "ycbcr lzw": {"compression": "lzw", "tile": (16, 16)}}[kind]
        tifffile.imwrite(path, np.asarray(picture.convert("YCbCr")), photometric="ycbcr", **options)
    return COLOURS


@pytest.mark.parametrize(
    ("kind", "ending"),
    [
        ("16 bits", "png"),
        ("16 bits", "tif"),
        ("one bit", "png"),
        ("one bit", "tif"),
        ("transparent", "png"),
        ("palette", "png"),
        ("palette", "tif"),
        ("inks", "tif"),
        ("ycbcr", "tif"),
        ("ycbcr lzw", "tif"),
    ],
)
def test_files_of_any_kind_are_what_they_show_to_every_reader(tmp_path: Path, kind: str, ending: str) -> None:
    path = tmp_path / f"image.{ending}"
    shown = write(path, kind).astype(int)
    pictures, notes = read_images({"hires": path})
    assert np.abs(pictures["hires"] - shown).max() <= 3 and notes == []
    with open_rasters(path, sample="s") as rasters:
        assert np.abs(rasters[0].read(0, HEIGHT, 0, WIDTH) - shown).max() <= 3 and rasters[0].remark is None


@pytest.mark.parametrize("ending", ["png", "jpg", "tif"])
def test_a_picture_to_be_shown_turned_is_told(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"image.{ending}"
    if ending == "tif":
        tifffile.imwrite(path, COLOURS, photometric="rgb", extratags=[(ORIENTATION, 3, 1, 6, True)])
    else:
        exif = Image.Exif()
        exif[ORIENTATION] = 6
        Image.fromarray(COLOURS).save(path, exif=exif)
        pictures, notes = read_images({"hires": path})
        assert pictures["hires"].shape == COLOURS.shape and len(notes) == 1
    with open_rasters(path, sample="s") as rasters:
        assert (rasters[0].height, rasters[0].width) == (HEIGHT, WIDTH)
        assert "orientation 6" in (rasters[0].remark or "") and f"image.{ending}" in (rasters[0].remark or "")


@pytest.mark.parametrize("factor", [1.0, 0.5, 1.15, 3.0])
def test_a_scale_factor_that_puts_spots_beside_the_image_is_told_with_numbers(factor: float) -> None:
    spatial = np.stack(np.meshgrid(np.arange(4.0, 80, 8), np.arange(4.0, 60, 8)), axis=-1).reshape(-1, 2)
    content = Content(
        counts=Counts(
            sparse.csr_matrix(np.ones((70, 2), np.float32)),
            np.array([f"s{k}" for k in range(70)], dtype=object),
            pd.DataFrame({"symbol": ["A", "B"], "gene_ids": "", "feature_types": "Gene Expression", "genome": ""}),
        ),
        obs=pd.DataFrame(index=range(70)),
        spatial=spatial,
        pictures={"hires": COLOURS, "lowres": COLOURS},
        scalefactors={"tissue_hires_scalef": factor, "tissue_lowres_scalef": 1.0},
        source="a.h5ad",
        notes=[],
    )
    adata, _, messages = internal_form(content, "s", Stated())
    # The other one is there to be used where no more than half of the spots lie on this one.
    assert list(adata.uns["spatial"]["s"]["images"]) == (["lowres"] if factor == 3 else ["hires", "lowres"])
    told = [m["text"] for m in messages if "lie beside the hires image" in m["text"]]
    if factor <= 1:
        assert told == []
    else:
        off = int(((spatial * factor > [80, 60]).any(axis=1)).sum())
        assert len(told) == 1 and f"{off} of 70 spots" in told[0] and "80 x 60 pixels" in told[0]
        assert f"x {4 * factor:.0f} to {76 * factor:.0f}" in told[0]
