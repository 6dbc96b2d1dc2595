"""Damaged and odd images: each ends in one clear message, or in features that are right all the same."""

from __future__ import annotations

import json
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image
from scipy import sparse
from scipy.ndimage import gaussian_filter

from mmsrl._errors import InputError
from mmsrl.features import rasters
from mmsrl.features.api import ImageFeatures, image_features
from mmsrl.features.rasters import open_rasters

SIDE, PITCH = 480, 30
"""Pixels of the slide and from spot to spot, which are 100 um apart."""

PINK, PURPLE, GLASS = np.array([225, 150, 190]), np.array([110, 60, 150]), np.array([243, 243, 243])


def slide(blurred: bool = False) -> np.ndarray:
    """Draw stroma (pink) on the left, densely set nuclei on the right, and a rim of glass: (SIDE, SIDE, 3)."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE, :SIDE]
    dots = gaussian_filter(rng.standard_normal((SIDE, SIDE)), 1.5)
    nuclei = dots > np.quantile(dots, np.where(x < SIDE / 2, 0.97, 0.6)[0])
    pixels = np.where(nuclei[..., None], PURPLE, PINK) + rng.integers(-6, 7, (SIDE, SIDE, 1))
    if blurred:
        pixels = np.where((y < SIDE / 2)[..., None], gaussian_filter(pixels.astype(float), (3, 3, 0)), pixels)
    inside = (abs(x - SIDE / 2) < 200) & (abs(y - SIDE / 2) < 200)
    return np.where(inside[..., None], pixels, GLASS).clip(0, 255).astype(np.uint8)


SLIDE = slide()


def section(pixels: np.ndarray | None = None) -> ad.AnnData:
    """Put 144 spots on the tissue; the right half expresses other genes than the left."""
    x, y = np.meshgrid(np.arange(75.0, 410, PITCH), np.arange(75.0, 410, PITCH))
    places = np.column_stack([x.ravel(), y.ravel()])
    rate = np.where((places[:, :1] > SIDE / 2) == (np.arange(30) < 15), 6.0, 1.0)
    counts = np.random.default_rng(1).poisson(rate).astype(np.float32)
    images = {} if pixels is None else {"hires": pixels}
    return ad.AnnData(
        sparse.csr_matrix(counts),
        obs=pd.DataFrame({"array_row": y.ravel() // PITCH, "array_col": x.ravel() // PITCH})
        .astype(int)
        .set_axis([f"{number}-1" for number in range(len(places))]),
        obsm={"spatial": places},
        uns={
            "spatial": {"s": {"images": images, "scalefactors": {"tissue_hires_scalef": 1.0}}},
            "mmsrl": {"sample": "s", "pitch_px": float(PITCH), "pitch_um": 100.0},
        },
    )


def described(path: Path, **options: object) -> ImageFeatures:
    return image_features(section(), path, **({"backbone": "texture", "tile_um": "100"} | options))  # type: ignore[arg-type]


def values(found: ImageFeatures) -> np.ndarray:
    return np.asarray(found.features.X)


def texts(found: ImageFeatures) -> str:
    return " | ".join(message["text"] for message in found.messages if message["level"] == "warning")


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> ImageFeatures:
    path = tmp_path_factory.mktemp("reference") / "slide.png"
    Image.fromarray(SLIDE).save(path)
    return described(path)


def test_a_good_image_is_told_to_be_one(reference: ImageFeatures) -> None:
    assert texts(reference) == ""
    assert reference.facts["expression"]["r2"] > 0.2
    assert reference.facts["stain"]["background"] == "white" and not reference.facts["stain"]["grey"]
    obs = reference.features.obs
    right = section().obsm["spatial"][:, 0] > SIDE / 2 + PITCH
    left = section().obsm["spatial"][:, 0] < SIDE / 2 - PITCH
    assert obs["image_tissue"].min() > 0.9
    assert obs["image_haematoxylin"][right].min() > obs["image_haematoxylin"][left].max()
    assert reference.gallery is not None and reference.gallery.tiles.shape == (144, 60, 60, 3)


def write(path: Path, kind: str) -> None:
    if kind == "cut short.jpg":
        Image.fromarray(SLIDE).save(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif kind == "cut short.tif":
        tifffile.imwrite(path, SLIDE, photometric="rgb", tile=(64, 64), compression="zlib")
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    elif kind == "a table.png":
        path.write_text("barcode,label\n")
    elif kind == "focus planes.tif":
        tifffile.imwrite(path, np.stack([SLIDE[..., 0]] * 5), photometric="minisblack")
    elif kind == "fluorescence.tif":
        tifffile.imwrite(path, np.zeros((SIDE, SIDE, 7), np.uint8), photometric="minisblack", planarconfig="contig")
    else:
        Image.fromarray(SLIDE[:60, :60]).save(path)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("cut short.jpg", "truncated"),
        ("cut short.tif", "copy it again"),
        ("a table.png", "not an image"),
        ("focus planes.tif", "give one brightfield plane"),
        ("fluorescence.tif", "7 channels"),
        ("a detail.png", "of 144 spots .* lie outside the image .*do not belong together"),
    ],
)
def test_an_image_that_cannot_be_used_is_an_error_that_names_sample_and_file(
    tmp_path: Path, kind: str, message: str
) -> None:
    path = tmp_path / kind
    write(path, kind)
    with pytest.raises(InputError, match=f"^sample s: .*{message}") as raised:
        described(path)
    assert kind in str(raised.value)


@pytest.mark.parametrize(
    "kind", ["rgba.png", "cmyk.tif", "cmyk strips.tif", "bigtiff.tif", "planar.tif", "16 bits.tif"]
)
def test_other_kinds_of_pixels_give_the_same_features(tmp_path: Path, reference: ImageFeatures, kind: str) -> None:
    path = tmp_path / kind
    if kind == "rgba.png":  # glass is transparent, and black beneath
        glass = (SLIDE == GLASS).all(axis=2)
        Image.fromarray(
            np.dstack([np.where(glass[..., None], 0, SLIDE), np.where(glass, 0, 255)]).astype(np.uint8)
        ).save(path)
    elif kind.startswith("cmyk"):
        ink = np.dstack([255 - SLIDE, np.zeros((SIDE, SIDE, 1), np.uint8)])
        options = {"tile": (64, 64)} if kind == "cmyk.tif" else {"compression": "lzw", "rowsperstrip": 32}
        tifffile.imwrite(path, ink, photometric="separated", **options)
    elif kind == "bigtiff.tif":
        tifffile.imwrite(path, SLIDE, photometric="rgb", bigtiff=True, compression="lzw", tile=(32, 32))
    elif kind == "planar.tif":
        tifffile.imwrite(path, np.moveaxis(SLIDE, -1, 0), photometric="rgb", planarconfig="separate")
    else:
        tifffile.imwrite(path, SLIDE.astype(np.uint16) * 16, photometric="rgb")  # a camera of 12 bits
    found = described(path)
    near = 0.2 if kind == "16 bits.tif" else 0.02  # the brightest pixel becomes white
    deviation = np.abs(values(found) - values(reference)) / values(reference).std(axis=0).clip(1e-3)
    assert np.median(deviation) < near
    assert abs(found.facts["expression"]["r2"] - reference.facts["expression"]["r2"]) < 0.1


def test_a_section_cut_out_on_black_has_its_tissue_found(tmp_path: Path, reference: ImageFeatures) -> None:
    path = tmp_path / "black.png"
    Image.fromarray(np.where((SLIDE == GLASS).all(axis=2, keepdims=True), 0, SLIDE).astype(np.uint8)).save(path)
    found = described(path)
    assert found.facts["stain"]["background"] == "black" and texts(found) == ""
    assert found.features.obs["image_tissue"].min() > 0.9
    np.testing.assert_allclose(found.facts["stain"]["lab"], reference.facts["stain"]["lab"], atol=2)


@pytest.mark.parametrize("inverted", [False, True])
def test_a_grey_image_has_texture_and_tissue(tmp_path: Path, inverted: bool) -> None:
    path = tmp_path / "grey.png"
    grey = np.asarray(Image.fromarray(SLIDE).convert("L"))
    Image.fromarray(255 - grey if inverted else grey).save(path)
    found = described(path)
    assert found.facts["stain"]["grey"] and found.facts["expression"]["r2"] > 0.1
    assert found.facts["stain"]["background"] == ("black" if inverted else "white")
    assert found.features.obs["image_tissue"].mean() > 0.9


def test_a_few_black_pixels_are_no_background(tmp_path: Path) -> None:
    path = tmp_path / "dim.png"
    dim = (SLIDE * 0.7).astype(np.uint8)  # glass is grey
    dim[:20, :20] = 0
    Image.fromarray(dim).save(path)
    assert described(path).facts["stain"]["background"] == "white"


def test_an_image_of_nothing_is_left_aside(tmp_path: Path) -> None:
    path = tmp_path / "white.png"
    Image.fromarray(np.full((SIDE, SIDE, 3), 255, np.uint8)).save(path)
    found = described(path)
    assert found.features.n_vars == 0 and "looks the same at every spot" in texts(found)


def test_spots_that_lie_on_glass_are_told(tmp_path: Path) -> None:
    path = tmp_path / "shifted.png"
    Image.fromarray(np.where(np.arange(SIDE)[:, None, None] < 300, GLASS, SLIDE).astype(np.uint8)).save(path)
    found = described(path)
    assert "shows no tissue: check that coordinates and image belong together" in texts(found)
    assert found.features.obs["image_tissue"].iloc[0] == 0 and np.isnan(found.features.obs["image_eosin"].iloc[0])


def test_what_is_out_of_focus_is_measured(tmp_path: Path) -> None:
    path = tmp_path / "blurred.png"
    Image.fromarray(slide(blurred=True)).save(path)
    focus = described(path).features.obs["image_focus"].to_numpy()
    above = section().obsm["spatial"][:, 1] < SIDE / 2 - PITCH
    below = section().obsm["spatial"][:, 1] > SIDE / 2 + PITCH
    assert focus[above].max() < 0.5 * focus[below].min()


def test_large_images_without_windows_are_streamed_and_the_same(
    tmp_path: Path, reference: ImageFeatures, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rasters, "DECODED_PX", 1000)
    monkeypatch.setattr(rasters, "PIECE", 500_000)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    Image.fromarray(SLIDE).save(tmp_path / "slide.png")
    tifffile.imwrite(tmp_path / "one piece.tif", SLIDE, photometric="rgb", compression="zlib", rowsperstrip=SIDE)
    for name in ("slide.png", "one piece.tif"):
        with open_rasters(tmp_path / name, sample="s") as levels:
            assert levels[0].name == name
            assert np.array_equal(levels[0].read(0, SIDE, 0, SIDE), SLIDE)
            assert list(tmp_path.glob("mmsrl-image-*/tiles.tif"))
        assert not list(tmp_path.glob("mmsrl-image-*"))
    (tmp_path / "cut.png").write_bytes((tmp_path / "slide.png").read_bytes()[:90_000])
    with pytest.raises(InputError, match=r"sample s: image .*cut\.png cannot be read"):
        described(tmp_path / "cut.png")


def svs(path: Path, um_per_px: float) -> None:
    """Write what Aperio's scanners do, in small."""
    about = f"Aperio Image Library v11.2.1\n{SIDE}x{SIDE} (64x64) JPEG/RGB Q=90|AppMag = 20|MPP = {um_per_px}"
    with tifffile.TiffWriter(path) as tiff:
        for level in (SLIDE, SLIDE[::4, ::4]):
            tiff.write(level, photometric="rgb", tile=(64, 64), compression="jpeg", description=about, metadata=None)


def test_slides_of_several_files_are_found_beside_the_file_that_a_task_links_to(tmp_path: Path) -> None:
    """MIRAX: an index, and a folder of its name. This one lacks what only OpenSlide's reader of MIRAX misses."""
    (tmp_path / "x.mrxs").touch()
    (tmp_path / "x").mkdir()
    (tmp_path / "x/Slidedat.ini").write_text("[GENERAL]\nSLIDE_ID=1\n")
    (tmp_path / "task").mkdir()
    (tmp_path / "task/x.mrxs").symlink_to(tmp_path / "x.mrxs")

    with pytest.raises(InputError, match=r"sample s: image .*task/x.mrxs cannot be read .*IMAGENUMBER_X"):
        with open_rasters(tmp_path / "task/x.mrxs", sample="s"):
            pass


def test_a_scanner_s_file_is_read_by_openslide_and_its_scale_compared(tmp_path: Path, reference: ImageFeatures) -> None:
    svs(tmp_path / "right.svs", 100 / PITCH)
    with open_rasters(tmp_path / "right.svs", sample="s") as levels:
        assert [round(level.scale, 3) for level in levels] == [1.0, 0.25]
        assert levels[0].um_per_px == pytest.approx(100 / PITCH)
        difference = levels[0].read(100, 200, 50, 400).astype(int) - SLIDE[100:200, 50:400]
        assert np.abs(difference).mean() < 8  # JPEG
        low = levels[1].read(25, 50, 12, 100).astype(int) - SLIDE[::4, ::4][25:50, 12:100]
        assert np.abs(low).mean() < 20
    found = described(tmp_path / "right.svs")
    assert texts(found) == "" and found.facts["expression"]["r2"] > 0.2
    svs(tmp_path / "wrong.svs", 0.5)
    assert "states 0.5 µm per pixel, but the spot spacing implies 3.33 µm" in texts(described(tmp_path / "wrong.svs"))


def turned(path: Path) -> np.ndarray:
    """Write the slide turned by 90 degrees, at half its resolution; returns the matrix to it."""
    Image.fromarray(np.rot90(SLIDE, axes=(1, 0))[::2, ::2]).save(path)  # clockwise: x' = SIDE - 1 - y, y' = x
    return np.array([[0, -0.5, (SIDE - 1) / 2], [0.5, 0, 0], [0, 0, 1]])


def loupe(kind: str, matrix: np.ndarray) -> object:
    adata = section()
    places = np.column_stack([adata.obsm["spatial"], np.ones(adata.n_obs)]) @ matrix.T
    spots = [
        {"row": int(row), "col": int(col), "imageX": x, "imageY": y, "tissue": True}
        for row, col, (x, y, _) in zip(adata.obs["array_row"], adata.obs["array_col"], places, strict=True)
    ]
    if kind == "spots.json":
        return {"oligo": spots, "fiducial": []}
    if kind == "cytassist.json":
        return {"oligo": [], "cytAssistInfo": {"transformImages": np.linalg.inv(matrix).tolist()}}
    return {"matrix": matrix.tolist()} if kind == "object.json" else matrix.tolist()


@pytest.mark.parametrize("kind", ["matrix.csv", "matrix.json", "object.json", "spots.json", "cytassist.json"])
def test_an_alignment_puts_the_spots_where_they_are(tmp_path: Path, reference: ImageFeatures, kind: str) -> None:
    matrix = turned(tmp_path / "turned.png")
    if kind == "matrix.csv":
        np.savetxt(tmp_path / kind, matrix, delimiter=",")
    else:
        (tmp_path / kind).write_text(json.dumps(loupe(kind, matrix)))
    found = described(tmp_path / "turned.png", alignment=tmp_path / kind, tile_um="200")
    plain = image_features(section(SLIDE), backbone="texture", tile_um="200")
    reds = [np.asarray(f.features[:, "red_mean_200um"].X).ravel() for f in (found, plain)]
    assert np.corrcoef(reds)[0, 1] > 0.97
    assert found.facts["px_per_pitch"] == pytest.approx(PITCH / 2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1,0,0\n0,1,0\n", "no alignment; give a 3 x 3 matrix"),
        ("1,0,0\n2,0,0\n0,0,1\n", "takes all spots to one line or point"),
        ('{"oligo": []}', "neither the spots' places on the image"),
        (json.dumps({"oligo": [{"row": 500 + n, "col": 1, "imageX": n, "imageY": 2} for n in range(3)]}), "its rows"),
        ("{", "not JSON"),
    ],
)
def test_a_wrong_alignment_says_what_is_wrong(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / f"alignment.{'json' if content.startswith('{') else 'csv'}"
    path.write_text(content)
    turned(tmp_path / "turned.png")
    with pytest.raises(InputError, match=f"^sample s: alignment {path.name}: .*{message}"):
        described(tmp_path / "turned.png", alignment=path)


def test_an_alignment_of_another_section_is_told_by_its_spots(tmp_path: Path) -> None:
    turned(tmp_path / "turned.png")
    content = loupe("spots.json", np.eye(3))
    rng = np.random.default_rng(0)
    for spot in content["oligo"]:  # type: ignore[index]
        spot["imageX"], spot["imageY"] = rng.uniform(0, SIDE, 2)
    (tmp_path / "other.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="belongs to other spots: its positions are .* pixels from the aligned spots"):
        described(tmp_path / "turned.png", alignment=tmp_path / "other.json")
