"""Parts of the image features: stains, components, nodes, held-out prediction, tile gallery and command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import tifffile
from click.testing import CliRunner
from noise_section import section
from scipy import sparse
from scipy.ndimage import map_coordinates
from skimage.color import rgb_from_hed

from mmsrl._errors import InputError
from mmsrl.features import gallery as gallery_module
from mmsrl.features import nodes
from mmsrl.features.api import image_features
from mmsrl.features.cli import main
from mmsrl.features.components import between_sections, fit_components
from mmsrl.features.gallery import Gallery, read_gallery, write_gallery
from mmsrl.features.nodes import Descriptors, Nodes, spot_descriptors
from mmsrl.features.tiles import ahead
from mmsrl.features.tissue import Appearance, quality
from mmsrl.graph import gaussian_graph
from mmsrl.heldout import explained, in_block_unit, regions

rng = np.random.default_rng(0)


def test_stains_are_decadic_optical_densities() -> None:
    density = np.array([0.3, 0.2])
    vectors = rgb_from_hed[:2]
    tile = np.rint(255 * 10 ** -(density @ vectors)).astype(np.uint8) * np.ones((4, 4, 1), np.uint8)
    appearance = Appearance("white", False, 5.0, np.zeros(3), np.ones(3))
    assert quality(tile[None], appearance)[0, 2:] == pytest.approx(density, abs=0.01)


def test_an_image_is_found_under_an_earlier_name_of_the_section_and_a_stranger_is_told() -> None:
    adata = section()
    adata.uns["mmsrl"]["sample"] = "renamed"
    assert image_features(adata, backbone="texture", cache=None).features.n_vars
    with pytest.raises(InputError, match="stain_normalisation 'macenko' is not one of none, reinhard"):
        image_features(adata, stain_normalisation="macenko")
    del adata.uns["mmsrl"]["pitch_um"]
    with pytest.raises(InputError, match=r"uns\['mmsrl'\] has no pitch_um"):
        image_features(adata)


def test_components_stop_at_the_variance_asked_for() -> None:
    values = (rng.standard_normal((300, 8)) @ rng.standard_normal((8, 20))).astype(np.float32)
    all_of_it = fit_components(values, 50).explained
    fitted = fit_components(values, 50, variance=0.8)
    scores, shares = fitted.scores(values), fitted.explained
    assert shares.sum() >= 0.8 > shares[:-1].sum() and scores.shape[1] < len(all_of_it)
    assert fit_components(values, 2, variance=0.8).scores(values).shape[1] == 2


def test_descriptors_weigh_the_same_however_many_columns_they_have() -> None:
    many = np.repeat(rng.standard_normal((500, 1)), 90, axis=1)
    one = rng.standard_normal((500, 1))
    values = np.hstack([many, one]).astype(np.float32)
    assert fit_components(values, 2).explained[0] > 0.95
    shares = fit_components(values, 2, blocks=np.repeat([0, 1], [90, 1])).explained
    np.testing.assert_allclose(shares, 0.5, atol=0.06)
    alone = fit_components(values, 2, blocks=np.zeros(91, int)).scores(values)
    np.testing.assert_allclose(np.abs(alone), np.abs(fit_components(values, 2).scores(values)), atol=1e-3)


def test_bins_beside_glass_have_the_values_of_the_tissue() -> None:
    values = np.array([[1.0, 2.0], [3.0, np.nan], [np.nan, np.nan]], np.float32)
    weights = sparse.csr_matrix([[0.5, 0.5, 0.0], [0.25, 0.25, 0.5], [0.0, 0.0, 1.0]])
    expected = [[2.0, 2.0], [2.0, 2.0], [np.nan, np.nan]]
    np.testing.assert_allclose(Nodes(values, weights).at(slice(None)), expected)
    np.testing.assert_allclose(Nodes(values[:2], weights[:2, :2]).at(slice(1))[0], [2.0, 2.0])


def test_small_bins_are_held_out_in_regions_no_smaller_than_squares_of_spots() -> None:
    # Bins of 8 µm, and an image that is smooth over 100 µm and says nothing of expression.
    places = np.array([(r, c) for r in range(150) for c in range(150)], dtype=float)
    draw = np.random.default_rng(5)

    def smooth_noise(columns: int) -> np.ndarray:
        nodes = draw.standard_normal((15, 15, columns))
        at = (places / 150 * 14).T
        return np.stack([map_coordinates(nodes[..., k], at, order=3) for k in range(columns)], axis=1)

    scores, image = smooth_noise(3), smooth_noise(30)
    near, far = explained(scores, image, places), explained(scores, image, in_block_unit(places, 8.0))
    assert near is not None and far is not None
    assert near[1] < 0.0 and far[1] < 0.0
    assert np.ptp(regions([places])) + 1 == 16
    assert np.ptp(regions([in_block_unit(places, 8.0)])) + 1 == 4  # 1.2 mm wide
    np.testing.assert_array_equal(in_block_unit(places, 200.0), places)
    np.testing.assert_array_equal(in_block_unit(places, np.nan), places)


def described_between_nodes() -> tuple[Descriptors, np.ndarray]:
    """Descriptors of 80 spots, two of them off the image, of which one is interpolated; and the same, dense."""
    weights = sparse.csr_matrix(rng.dirichlet(np.ones(12), 80))
    at_nodes, at_spots = (rng.standard_normal((m, 3)).astype(np.float32) for m in (12, 80))
    off = np.arange(80) < 2
    dense = np.hstack([weights @ at_nodes, at_spots])
    dense[off] = dense[~off].mean(axis=0)
    return Descriptors.of([Nodes(at_nodes, weights), Nodes(at_spots, None)], off), dense


def test_descriptors_at_nodes_are_those_of_the_spots_between_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "SPOTS_AT_A_TIME", 7)
    found, dense = described_between_nodes()
    np.testing.assert_allclose(np.concatenate([part for _, part in found.parts()]), dense, rtol=1e-5, atol=1e-6)
    features = ad.AnnData(obs=pd.DataFrame(index=np.arange(80).astype(str)), uns={"image_nodes": found.as_uns()})
    np.testing.assert_allclose(spot_descriptors(features, np.array([5, 1])), dense[[5, 1]], atol=5e-3)


def test_smoothing_is_an_average_over_neighbours() -> None:
    places = rng.uniform(0, 10, (80, 2))
    graph = gaussian_graph(places, 1.0, self_weight=1.0, cut=float(np.exp(-4.5)))
    found, _ = described_between_nodes()
    found = Descriptors.of(found.nodes, np.zeros(80, dtype=bool))
    np.testing.assert_allclose(found.smoothed(graph).at(slice(None)), graph @ found.at(slice(None)), atol=1e-5)


def test_what_lies_off_the_image_is_not_averaged_into_what_lies_on_it() -> None:
    values = np.where(np.arange(10) < 7, 1.0, 100.0).astype(np.float32)[:, None]
    graph = gaussian_graph(np.column_stack([np.arange(10.0), np.zeros(10)]), 1.0)
    for nodes_of in (Nodes(values, None), Nodes(values, sparse.identity(10, format="csr"))):
        found = Descriptors.of([nodes_of], np.arange(10) >= 7).smoothed(graph)
        np.testing.assert_allclose(found.at(slice(None)), 1.0, rtol=1e-6)


def test_what_an_image_explains_is_of_tissue_held_out() -> None:
    places = np.array([(r, c) for r in range(24) for c in range(24)], dtype=float)
    signal = np.sin(places[:, :1] / 3) * np.cos(places[:, 1:] / 4)
    scores = np.hstack([signal, rng.standard_normal((576, 1)) * signal.std()])
    found = explained(scores, np.hstack([signal, rng.standard_normal((576, 3))]), places)
    assert found is not None
    assert found[0][0] > 0.95 and abs(found[0][1]) < 0.1 and found[1] == pytest.approx(0.5, abs=0.1)
    # Smooth noise predicts its own block from itself, but no other.
    noise = np.hstack([np.sin(places[:, :1] * f) for f in rng.uniform(0.1, 3, 40)])
    assert explained(scores[:, 1:], noise, places)[1] < 0.1  # type: ignore[index]
    assert explained(scores[:20], scores[:20], places[:20] / 4) is None


def test_reading_ahead_keeps_order_and_hands_errors_on() -> None:
    assert list(ahead(iter(range(1, 50)))) == list(range(1, 50))

    def failing():
        yield 1
        raise InputError("damaged")

    with pytest.raises(InputError, match="damaged"):
        list(ahead(failing()))


def test_reinhard_brings_two_stains_together() -> None:
    pale = section()
    pixels = pale.uns["spatial"]["s"]["images"]["hires"].astype(float)
    tissue = np.stack([pixels[..., 0] * 0.3 + 150, pixels[..., 1] * 0.4 + 60, pixels[..., 2] * 0.3 + 130], axis=2)
    pale.uns["spatial"]["s"]["images"]["hires"] = tissue.clip(0, 255).astype(np.uint8)
    dark = pale.copy()
    dark.uns["spatial"] = {
        "s": {**pale.uns["spatial"]["s"], "images": {"hires": (tissue * [0.8, 0.75, 0.95]).astype(np.uint8)}}
    }
    gap = {}
    for how in ("none", "reinhard"):
        a, b = (image_features(x, backbone="texture", stain_normalisation=how).features for x in (pale, dark))
        colours = [name for name in a.var_names if name.split("_")[0] in ("red", "green", "blue") and "mean" in name]
        gap[how] = float(np.abs(np.asarray(a[:, colours].X) - np.asarray(b[:, colours].X)).mean())
    assert gap["reinhard"] < 0.2 * gap["none"]


def test_what_differs_between_sections_is_measured() -> None:
    of = np.repeat([0, 1], [300, 200])
    alike = rng.standard_normal((500, 5)).astype(np.float32)
    assert between_sections(alike, of) < 0.02
    stained = alike + 2.0 * of[:, None].astype(np.float32)  # variance between: 4·0.6·0.4, within: 1
    assert between_sections(stained, of) == pytest.approx(0.96 / 1.96, abs=0.06)
    apart = np.concatenate([stained[of == s] - stained[of == s].mean(axis=0) for s in (0, 1)])
    assert between_sections(apart, of) < 1e-6
    assert between_sections(np.ones((500, 2), np.float32), of) == 0.0


def test_pictures_are_kept_with_their_barcodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery_module, "MOST_TILES", 10)
    found = image_features(section(), backbone="texture").gallery
    assert found is not None and found.um == 200.0 and found.tiles.shape == (10, 80, 80, 3)
    write_gallery(tmp_path / "s.tiles.tif", found)
    wanted = [found.barcodes[7], found.barcodes[2]]
    read = read_gallery(tmp_path / "s.tiles.tif", lambda there: [name for name in wanted if name in there])
    assert read.barcodes == wanted and read.um == 200.0
    assert np.abs(read.tiles.astype(int) - found.tiles[[7, 2]]).mean() < 30  # JPEG of noise
    write_gallery(tmp_path / "n.tiles.tif", Gallery(found.barcodes, float("nan"), found.tiles))
    assert np.isnan(read_gallery(tmp_path / "n.tiles.tif", lambda there: there[:1]).um)
    (tmp_path / "cut.tiles.tif").write_bytes((tmp_path / "s.tiles.tif").read_bytes()[:3000])
    with pytest.raises(InputError, match="cut.tiles.tif: not the pictures"):
        read_gallery(tmp_path / "cut.tiles.tif", lambda there: there)


def test_command_writes_pictures_and_takes_every_option(tmp_path: Path) -> None:
    section().write_h5ad(tmp_path / "s.qc.h5ad")
    options = {
        "--id": "s",
        "--counts": tmp_path / "s.qc.h5ad",
        "--output-dir": tmp_path,
        "--backbone": "texture",
        "--tile-um": "80,150,20",
        "--image-smoothing": 1,
        "--image-variance": 0.9,
        "--image-cache": tmp_path / "cache",
        "--stain-normalisation": "reinhard",
    }
    done = CliRunner().invoke(main, [str(part) for pair in options.items() for part in pair])
    assert done.exit_code == 0, done.output
    summary = json.loads((tmp_path / "s.features.json").read_text())
    assert [tile["um"] for tile in summary["result"]["tiles"]] == [80, 150]
    assert "tiles of 20 µm have fewer than 16 px" in summary["messages"][0]["text"]
    assert summary["parameters"]["tile_um"] == "80,150,20"
    assert summary["result"]["explained_variance"] >= 0.9
    assert (tmp_path / "s.tiles.tif").exists() and len(list((tmp_path / "cache").iterdir())) == 2


def test_memory_does_not_grow_with_the_image(tmp_path: Path) -> None:
    """A pyramid of 20,000 x 20,000 pixels, 1.2 GB when decoded, in less than half of that above what imports take."""
    side, tile = 20_000, 512
    pool = [np.kron(rng.integers(90, 250, (64, 64, 3), dtype=np.uint8), np.ones((8, 8, 1), np.uint8)) for _ in range(4)]
    with tifffile.TiffWriter(tmp_path / "slide.tif", bigtiff=True) as tiff:
        for level in range(4):
            size = side >> level
            tiff.write(
                (pool[number % 4] for number in range((-(-size // tile)) ** 2)),
                shape=(size, size, 3),
                dtype=np.uint8,
                tile=(tile, tile),
                photometric="rgb",
                compression="jpeg",
                subifds=3 if level == 0 else None,
                subfiletype=1 if level else 0,
            )
    adata = section(6)
    adata.obsm["spatial"] = adata.obsm["spatial"] * 80
    adata.uns["mmsrl"]["pitch_px"] = 3200.0
    adata.uns["mmsrl"]["pitch_um"] = 800.0
    adata.uns["spatial"]["s"]["images"] = {}
    adata.write_h5ad(tmp_path / "s.qc.h5ad")
    code = (
        "import resource, anndata, pathlib, torch, skimage.color, skimage.feature, skimage.filters\n"
        "import sklearn.decomposition\n"
        "from mmsrl.features.api import image_features\n"
        "import openslide, zarr, tifffile\n"
        "a = anndata.read_h5ad('s.qc.h5ad')\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "f = image_features(a, pathlib.Path('slide.tif'), backbone='texture', tile_um='100,300')\n"
        "assert f.features.n_vars == 116 and f.facts['image']['width'] == 20000\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert int(done.stdout) / 2**20 < 0.5  # GiB
