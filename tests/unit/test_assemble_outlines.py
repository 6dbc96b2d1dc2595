"""What assemble leaves for Loupe Browser and QuPath, and outlines of cells in it and in SpatialData."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anndata as ad
import matplotlib
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from mmsrl._palette import PALETTE
from mmsrl.assemble import api
from mmsrl.assemble.api import qupath_features
from mmsrl.assemble.cli import main
from mmsrl.assemble.shapes import regions, squares

if TYPE_CHECKING:
    from conftest import SmallRun

matplotlib.use("Agg")
geopandas = pytest.importorskip("geopandas")
shapely = pytest.importorskip("shapely")

RGB = [[int(color[at : at + 2], 16) for at in (1, 3, 5)] for color in PALETTE[:3]]


def assemble(run: SmallRun, unit: str, *options: str) -> None:
    result = CliRunner().invoke(main, [*run.assemble_arguments(unit), *options])
    assert result.exit_code == 0, result.output


def features(folder: Path, sample: str) -> list[dict[str, Any]]:
    """Return what the file for QuPath holds."""
    content = json.loads((folder / f"{sample}.domains.geojson").read_text(encoding="utf-8"))
    assert content["type"] == "FeatureCollection"
    return content["features"]


def write_outlines(folder: Path, sample: str, *, lacking: int = 0) -> dict[str, Any]:
    """Write a hexagon, two of the first cell, for every cell but the last ones, in another order; return them."""
    adata = ad.read_h5ad(folder / f"{sample}.qc.h5ad")
    angles = np.arange(6) * np.pi / 3
    hexagon = 11.04 * np.column_stack([np.cos(angles), np.sin(angles)])
    shapes: list[Any] = [shapely.Polygon(place + hexagon) for place in adata.obsm["spatial"]]
    shapes[0] = shapely.MultiPolygon([shapes[0], shapely.affinity.translate(shapes[0], 0, 30)])
    frame = geopandas.GeoDataFrame({"barcode": adata.obs_names, "geometry": shapes})
    frame.iloc[: adata.n_obs - lacking].iloc[::-1].to_parquet(folder / f"{sample}.outlines.parquet")
    return dict(zip(adata.obs_names, shapes, strict=True))


def bins(n_rows: int = 9, n_columns: int = 8) -> ad.AnnData:
    """Make assembled bins on a lattice that is turned by 20 degrees: domain 1, with a block of domain 2 in it."""
    row, column = (index.ravel() for index in np.indices((n_rows, n_columns)))
    turn = np.deg2rad(20)
    axes = 10 * np.array([[-np.sin(turn), np.cos(turn)], [np.cos(turn), np.sin(turn)]])
    labels = np.where((abs(row - 4) <= 1) & (abs(column - 4) <= 1), "2", "1")
    return ad.AnnData(
        obs=pd.DataFrame(
            {"array_row": row + 100, "array_col": column + 30, "domain": pd.Categorical(labels)},
            index=[f"s_016um_{r:05d}_{c:05d}-1" for r, c in zip(row, column, strict=True)],
        ),
        obsm={"spatial": np.column_stack([row, column]) @ axes + (500, 700)},
        uns={
            "domain_colors": list(PALETTE[:2]),
            "mmsrl": {"sample": "hd", "platform": "visium_hd", "spot_diameter_px": 10.0},
        },
    )


def test_categories_for_loupe_have_the_barcodes_of_the_source_and_two_columns(small_run: SmallRun) -> None:
    # 10x Genomics, "Importing categories": a column Barcode, and one named as the categories are.
    assemble(small_run, "pair")
    barcodes = ad.read_h5ad(small_run.folder / "S2.qc.h5ad").obs_names
    expected = [f"{barcode},{domain}" for barcode, domain in zip(barcodes, small_run.domains["S2"], strict=True)]
    assert (small_run.folder / "S2.loupe.csv").read_text().splitlines() == ["Barcode,domain", *expected]


def test_spots_are_detections_with_the_class_and_colour_of_their_domain(small_run: SmallRun) -> None:
    # qupath.lib.io.QuPathTypeAdapters reads objectType, name, classification (name, color) and measurements (a map).
    path = small_run.folder / "unit" / "pair.domains.csv"
    table = pd.read_csv(path, dtype=str)
    table["domain_confidence"] = np.linspace(0, 1, len(table))
    table.loc[table["barcode"] == "<b>3-1", "domain_confidence"] = np.nan
    table.to_csv(path, index=False)
    assemble(small_run, "pair")
    adata = ad.read_h5ad(small_run.folder / "S2.mmsrl.h5ad")
    found = features(small_run.folder, "S2")
    properties = [feature["properties"] for feature in found]
    assert {feature["type"] for feature in found} == {"Feature"}
    assert {own["objectType"] for own in properties} == {"detection"}
    assert [own["name"] for own in properties] == adata.obs_names.tolist()
    colors = dict(zip(["1", "2", "10"], RGB, strict=True))
    assert [own["classification"] for own in properties] == [
        {"name": domain, "color": colors[domain]} for domain in small_run.domains["S2"]
    ]
    assert "measurements" not in properties[3]  # a number that there is not is left out: JSON knows no NaN
    measured = [own["measurements"]["domain_confidence"] for i, own in enumerate(properties) if i != 3]
    np.testing.assert_allclose(measured, adata.obs["domain_confidence"].drop("<b>3-1"), atol=1e-4)


def test_spots_are_discs_as_wide_as_they_are(small_run: SmallRun) -> None:
    # qupath.lib.io.ROITypeAdapters makes what isEllipse says one of the ellipse in the bounding box.
    assemble(small_run, "pair")
    places = ad.read_h5ad(small_run.folder / "S2.qc.h5ad").obsm["spatial"]
    for feature, place in zip(features(small_run.folder, "S2"), places, strict=True):
        geometry = feature["geometry"]
        assert geometry["type"] == "Polygon" and geometry["isEllipse"] is True
        outline = np.array(geometry["coordinates"][0])
        assert len(outline) == 17 and (outline[0] == outline[-1]).all()
        np.testing.assert_array_equal([outline.min(axis=0), outline.max(axis=0)], [place - 12.5, place + 12.5])
        np.testing.assert_allclose(np.linalg.norm(outline - place, axis=1), 12.5, atol=0.08)  # rounded to .1


def test_file_for_qupath_opens_in_gdal_and_is_the_same_every_time(small_run: SmallRun) -> None:
    assemble(small_run, "lone")
    path = small_run.folder / "lone.domains.geojson"
    first = path.read_bytes()
    frame = geopandas.read_file(path)
    assert len(frame) == 42 and frame.geometry.is_valid.all()
    assert frame["name"].tolist()[:2] == ["<b>0-1", "<b>1-1"]
    assemble(small_run, "lone")
    assert path.read_bytes() == first


def test_bins_are_squares_that_tile_their_lattice_however_it_is_turned() -> None:
    adata = bins()
    rows, columns = (adata.obs[key].to_numpy() for key in ("array_row", "array_col"))
    outlines = [shapely.Polygon(ring) for ring in squares(adata.obsm["spatial"], rows, columns)]
    np.testing.assert_allclose(shapely.area(outlines), 100)
    whole = shapely.union_all(outlines, grid_size=1e-6)
    assert whole.geom_type == "Polygon" and not whole.interiors
    assert whole.area == pytest.approx(100 * adata.n_obs)
    found = [json.loads(feature) for feature in qupath_features(adata)]
    assert {feature["properties"]["objectType"] for feature in found} == {"detection"}
    assert all("isEllipse" not in feature["geometry"] for feature in found)
    drawn = np.array(found[5]["geometry"]["coordinates"][0])
    np.testing.assert_allclose(drawn, shapely.get_coordinates(outlines[5]), atol=0.051)


def test_domains_of_very_many_bins_are_regions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "MAX_BINS", 50)
    adata = bins()
    one, two = (json.loads(feature) for feature in qupath_features(adata))
    assert one["properties"] == {
        "objectType": "annotation",
        "name": "1",
        "classification": {"name": "1", "color": RGB[0]},
    }
    outer, inner = shapely.from_geojson([json.dumps(one["geometry"]), json.dumps(two["geometry"])])
    assert outer.geom_type == inner.geom_type == "MultiPolygon" and outer.is_valid and inner.is_valid
    # Corners are cut by half a bin: four of the block, which the region around it has more.
    assert inner.area == pytest.approx(100 * (9 - 4 / 8), rel=0.01)
    assert len(outer.geoms[0].interiors) == 1
    assert outer.area == pytest.approx(100 * (72 - 9 - 4 / 8 + 4 / 8), rel=0.01)
    labels = adata.obs["domain"].astype(str)
    inside = shapely.contains_xy(inner, *adata.obsm["spatial"].T)
    np.testing.assert_array_equal(inside, labels == "2")


def test_region_in_pieces_has_them_all() -> None:
    places = np.array([[0.0, 0.0], [10.0, 0.0], [20.0, 0.0], [0.0, 10.0], [10.0, 10.0], [20.0, 10.0]])
    found = dict(regions(places, np.repeat([0, 1], 3), np.tile([0, 1, 2], 2), ["a", "b", "a", "a", "b", "a"]))
    assert {name: len(parts) for name, parts in found.items()} == {"a": 2, "b": 1}
    left, right = (part[0] for part in found["a"])
    np.testing.assert_allclose([left.max(axis=0), right.max(axis=0)], [[5, 15], [25, 15]])


@pytest.mark.parametrize("indexed", [False, True])
def test_cells_have_their_outlines(small_run: SmallRun, indexed: bool) -> None:
    expected = write_outlines(small_run.folder, "S1", lacking=2)
    path = small_run.folder / "S1.outlines.parquet"
    if indexed:
        geopandas.read_parquet(path).set_index("barcode").to_parquet(path)
    assemble(small_run, "pair", "--outlines", str(path))
    found = features(small_run.folder, "S1")
    for feature in found[:-2]:
        shape = shapely.from_geojson(json.dumps(feature["geometry"]))
        original = expected[feature["properties"]["name"]]
        assert shape.geom_type == original.geom_type
        assert shape.hausdorff_distance(original) < 0.08
        rounded = shapely.get_coordinates(shape)
        np.testing.assert_allclose(rounded, rounded.round(1), atol=1e-9)
    assert all(feature["geometry"].get("isEllipse") for feature in found[-2:])
    said = json.loads((small_run.folder / "pair.assemble.json").read_text())["messages"][0]
    assert said == {"level": "info", "text": "Sample S1: 2 of 120 cells have no outline and are drawn as discs."}
    assert all(feature["geometry"].get("isEllipse") for feature in features(small_run.folder, "S2"))


def test_cells_are_polygons_of_spatialdata_that_the_table_annotates(small_run: SmallRun) -> None:
    spatialdata = pytest.importorskip("spatialdata")
    expected = write_outlines(small_run.folder, "S1", lacking=1)
    options = ["--outlines", str(small_run.folder / "S1.outlines.parquet"), "--spatialdata", "true"]
    assemble(small_run, "pair", *options)
    for name, ending in (("S1", ""), ("pair", "-S1")):
        sdata = spatialdata.read_zarr(small_run.folder / f"{name}.spatialdata.zarr")
        frame = sdata.shapes["S1"]
        table = sdata.tables["table"][(sdata.tables["table"].obs["sample"] == "S1").to_numpy()]
        # napari-spatialdata 0.7.2, utils._viewer_utils._get_polygons_properties: int(df.index[i]).
        assert frame.index.dtype.kind == "i" and table.obs["spot"].tolist() == frame.index.tolist()
        shapes = dict(zip(table.obs_names.str.removesuffix(ending), frame.geometry, strict=True))
        lone = shapes.pop("<b>119-1")
        assert all(shape.equals(expected[barcode]) for barcode, shape in shapes.items())
        assert lone.area == pytest.approx(np.pi * 12.5**2, rel=0.02)
        assert {"domain", "sample", "spot"} <= set(table.obs)
    joined = spatialdata.join_spatialelement_table(sdata=sdata, spatial_element_names=["S1", "S2"], table_name="table")
    assert [len(joined[0][sample]) for sample in ("S1", "S2")] == [120, 72]
    assert len(joined[1]) == 192


def test_polygons_plot_in_spatialdata(small_run: SmallRun) -> None:
    pytest.importorskip("spatialdata_plot")
    import spatialdata

    write_outlines(small_run.folder, "S1")
    options = ["--outlines", str(small_run.folder / "S1.outlines.parquet"), "--spatialdata", "true"]
    assemble(small_run, "pair", *options)
    sdata = spatialdata.read_zarr(small_run.folder / "S1.spatialdata.zarr")
    axes = matplotlib.pyplot.subplots(1, 1)[1]
    sdata.pl.render_shapes("S1", color="domain").pl.show("S1", ax=axes)
    drawn = {matplotlib.colors.to_hex(c).upper() for part in axes.collections for c in part.get_facecolor()}
    assert drawn == set(PALETTE[:3])
    matplotlib.pyplot.close("all")


def _damaged(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[:900])
    return path


def _twice(path: Path) -> Path:
    frame = geopandas.read_parquet(path)
    pd.concat([frame, frame.iloc[:1]]).to_parquet(path)
    return path


def _points(path: Path) -> Path:
    frame = geopandas.read_parquet(path)
    frame.set_geometry(frame.centroid).to_parquet(path)
    return path


def _of_others(path: Path) -> Path:
    frame = geopandas.read_parquet(path)
    frame.assign(barcode="x" + frame["barcode"]).to_parquet(path)
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_damaged, r"S1\.outlines\.parquet: not GeoParquet, or damaged \(.+\); copy it anew"),
        (_twice, r"S1\.outlines\.parquet: cell <b>119-1 has two outlines; give one row a cell"),
        (_points, r"S1\.outlines\.parquet: cell <b>119-1 is a Point; outlines are polygons or multipolygons"),
        (_of_others, r"S1\.outlines\.parquet: none of the 120 cells, such as <b>0-1, is in it .*one and the same run"),
        (lambda path: path.rename(path.with_name("S9.outlines.parquet")), r"sample S9 is none of S1, S2"),
        (lambda path: path.rename(path.with_name("S1.parquet")), r"named <sample>\.outlines\.parquet"),
    ],
)
def test_outlines_that_are_none_are_told(small_run: SmallRun, change: Any, message: str) -> None:
    write_outlines(small_run.folder, "S1")
    path = change(small_run.folder / "S1.outlines.parquet")
    result = CliRunner().invoke(main, [*small_run.assemble_arguments("pair"), "--outlines", str(path)])
    assert result.exit_code == 2
    assert re.search(message, result.output), result.output
    assert not list(small_run.folder.glob("*.mmsrl.h5ad"))
