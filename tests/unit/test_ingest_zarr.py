"""SpatialData of other programs: labels, several sizes of bins, scales, polygons; check and ingest choose alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from mmsrl._errors import InputError
from mmsrl.check.files import check_files
from mmsrl.ingest.api import read_spatialdata
from mmsrl.ingest.content import Content
from mmsrl.ingest.layout import BinSizeError

spatialdata = pytest.importorskip("spatialdata")

import geopandas  # noqa: E402
import shapely  # noqa: E402
from spatialdata.models import Labels2DModel, ShapesModel, TableModel  # noqa: E402
from spatialdata.transformations import Identity, Scale  # noqa: E402

from mmsrl.ingest.zarr import Annotated, choose, content_of  # noqa: E402

N = 12
XY = np.column_stack([np.tile(np.arange(4), 3), np.repeat(np.arange(3), 4)]) * 20.0 + 10
IDS = np.arange(1, N + 1)


def table(region: str, ids: Any = IDS, **obs: Any) -> ad.AnnData:
    counts = np.random.default_rng(0).poisson(3, (N, 5)).astype(np.float32)
    frame = pd.DataFrame({"region": pd.Categorical([region] * N), "id": ids, **obs}, [f"c{k}" for k in range(N)])
    adata = ad.AnnData(counts, frame)
    return TableModel.parse(adata, region=region, region_key="region", instance_key="id")


def circles(points: np.ndarray = XY, ids: Any = IDS, um: dict[str, Any] | None = None) -> geopandas.GeoDataFrame:
    frame = geopandas.GeoDataFrame({"radius": 4.0}, index=ids, geometry=shapely.points(points))
    return ShapesModel.parse(frame, transformations=um or {"global": Identity()})


def cells(ids: Any = IDS, um: dict[str, Any] | None = None) -> geopandas.GeoDataFrame:
    frame = geopandas.GeoDataFrame(index=ids, geometry=shapely.buffer(shapely.points(XY), 5.0))
    return ShapesModel.parse(frame, transformations=um or {"global": Identity()})


def squares(width: float) -> geopandas.GeoDataFrame:
    boxes = shapely.box(*(XY - width / 2).T, *(XY + width / 2).T)
    return ShapesModel.parse(geopandas.GeoDataFrame(index=IDS, geometry=boxes))


def labels() -> Any:
    image = np.zeros((80, 100), np.uint16)
    for number, (x, y) in zip(IDS, XY.astype(int), strict=True):
        image[y - 3 : y + 3, x - 3 : x + 3] = number
    return Labels2DModel.parse(image, dims=("y", "x"), transformations={"global": Scale([2.0, 2.0], ("x", "y"))})


def content(sample: str = "s", bin_size: Any = None, attrs: dict[str, Any] | None = None, **elements: Any) -> Content:
    return content_of(spatialdata.SpatialData(attrs=attrs, **elements), "s.zarr", sample, bin_size)


def test_a_table_of_labels_has_their_centres() -> None:
    found = content(labels={"cells": labels()}, tables={"table": table("cells")})
    np.testing.assert_allclose(found.spatial, XY)
    assert "places are the centres of labels['cells']" in [note["text"] for note in found.notes]
    with pytest.raises(InputError, match=r"s\.zarr: spot '99' of the table is not among labels\['cells'\]"):
        content(labels={"cells": labels()}, tables={"table": table("cells", [99, *IDS[1:]])})


@pytest.mark.parametrize("shapes", [circles(), cells()])
def test_labels_give_way_to_shapes_of_the_same_cells(shapes: Any) -> None:
    other = circles(XY + 3)
    elements = {"labels": {"cell_labels": labels()}, "tables": {"table": table("cell_labels")}}
    found = content(shapes={"cell_shapes": shapes, "nucleus_circles": other}, **elements)
    np.testing.assert_allclose(found.spatial, XY)
    assert any("are the centres of shapes['cell_shapes']" in note["text"] for note in found.notes)
    # Xenium: labels are numbers, polygons have the names of the cells.
    named = cells([f"cell-{k}" for k in IDS])
    elements["tables"] = {"table": table("cell_labels", cell_id=[f"cell-{k}" for k in IDS])}
    assert content(shapes={"cell_boundaries": named}, **elements).outlines is not None
    # Shapes of other things are not taken, whatever their numbers.
    found = content(shapes={"nucleus_circles": other}, **elements)
    np.testing.assert_allclose(found.spatial, XY)


def test_polygons_are_outlines_with_an_area_and_bins_are_not() -> None:
    microns = {"global": Identity(), "microns": Scale([0.5, 0.5], ("x", "y"))}
    found = content(shapes={"cells": cells(um=microns)}, tables={"table": table("cells")})
    assert found.um_per_px == pytest.approx(0.5) and found.um_per_px_from == "the coordinate system 'microns'"
    assert found.outlines is not None and found.area is not None
    np.testing.assert_allclose(found.area, shapely.area(found.outlines))
    np.testing.assert_allclose(shapely.get_x(shapely.centroid(found.outlines)), XY[:, 0])
    unknown = content(shapes={"cells": cells()}, tables={"table": table("cells")})
    assert unknown.outlines is not None and unknown.um_per_px is None
    assert content(shapes={"bins": squares(8)}, tables={"table": table("bins")}).outlines is None


@pytest.mark.parametrize("system", ["micron", "microns", "global_um", "micrometer", "µm"])
def test_scale_by_the_name_of_a_coordinate_system(system: str) -> None:
    shapes = circles(um={"global": Identity(), system: Scale([0.3, 0.3], ("x", "y"))})
    assert content(shapes={"spots": shapes}, tables={"table": table("spots")}).um_per_px == pytest.approx(0.3)
    plain = circles(um={"global": Identity(), "column": Scale([0.3, 0.3], ("x", "y"))})
    assert content(shapes={"spots": plain}, tables={"table": table("spots")}).um_per_px is None


def test_scale_by_the_attributes() -> None:
    # Of coordinates in pixels, and of such in µm, five pixels each.
    pixels = content(attrs={"microns_per_pixel": 0.2}, shapes={"spots": circles()}, tables={"t": table("spots")})
    assert pixels.um_per_px == pytest.approx(0.2)
    in_um = circles(um={"global": Scale([5.0, 5.0], ("x", "y"))})
    found = content(attrs={"microns_per_pixel": 0.2}, shapes={"spots": in_um}, tables={"t": table("spots")})
    assert found.um_per_px == pytest.approx(1.0)


def test_the_list_of_cells_of_xenium_is_known() -> None:
    counted = table("cell_circles", transcript_counts=1, control_probe_counts=0)
    found = content(shapes={"cell_circles": circles()}, tables={"table": counted})
    assert (found.platform, found.um_per_px) == ("xenium", 1.0)


def bins(folder: Path) -> Path:
    names = ("S1_square_008um", "S1_square_016um", "S1_cell_segmentations")
    keys = ("square_008um", "square_016um", "cell_segmentations")
    shapes = dict(zip(names, (squares(8), squares(16), cells()), strict=True))
    tables = {key: table(name) for key, name in zip(keys, names, strict=True)}
    spatialdata.SpatialData(shapes=shapes, tables=tables).write(folder / "s.zarr")
    return folder / "s.zarr"


def said_by_check(path: Path, **row: Any) -> list[str]:
    given = {"row": 2, "sample": "S1", "spatialdata": str(path), **row}
    return [f"{problem.column}: {problem.text}" for problem in check_files(given, path.parent)]


def said_by_ingest(path: Path, **more: Any) -> str:
    with pytest.raises(InputError) as raised:
        read_spatialdata(path, "S1", **more)
    return str(raised.value).removeprefix("sample S1: ")


def test_bin_size_chooses_among_tables(tmp_path: Path) -> None:
    path = bins(tmp_path)
    for size, width in ((8, 8), ("16", 16)):
        found = read_spatialdata(path, "S1", bin_size=size).adata
        assert found.uns["spatial"]["S1"]["scalefactors"]["spot_diameter_fullres"] == pytest.approx(width)
        assert found.uns["mmsrl"]["pitch_um"] == pytest.approx(width)
    assert read_spatialdata(path, "S1", bin_size="cell").outlines is not None
    assert said_by_check(path, bin_size="16") == []
    assert said_by_check(path) == [f"spatialdata: {said_by_ingest(path)}"]
    assert "has bins of 8, 16, cell (µm); say which by bin_size" in said_by_ingest(path)
    assert said_by_check(path, bin_size="2") == [f"bin_size: {said_by_ingest(path, bin_size=2)}"]
    assert "bin size 2 was asked for, but there are 8, 16, cell" in said_by_ingest(path, bin_size=2)


def test_check_knows_number_and_names_of_the_spots(tmp_path: Path) -> None:
    path = bins(tmp_path)
    (tmp_path / "t.csv").write_text("barcode,label\nother,L1\n")
    told = said_by_check(path, bin_size="8", n_domains=13, truth="t.csv")
    assert any("the section has only 12 spots" in text for text in told)
    assert any("none of its barcodes is in the section" in text for text in told)


def test_sections_are_chosen_by_name() -> None:
    two = [Annotated("table", name, "shapes") for name in ("A", "B")]
    assert choose(two, "s.zarr", "B", None) == two[1]
    with pytest.raises(InputError, match=r"holds tables\['table'\] of shapes\['A'\], .*; name the sample as one"):
        choose(two, "s.zarr", "C", None)
    by_bins = [Annotated(f"{n}_square_008um", f"{n}_square_008um", "shapes") for n in ("A", "B")]
    assert choose(by_bins, "s.zarr", "A", 8) == by_bins[0]
    with pytest.raises(BinSizeError, match="no table is named after bins; leave bin_size empty"):
        choose(two, "s.zarr", "A", 8)
    with pytest.raises(InputError, match="no table annotates shapes or labels that are there"):
        choose([], "s.zarr", "A", None)


def test_check_and_ingest_cut_the_sample_off_alike(tmp_path: Path) -> None:
    named = table("S1")
    named.obs_names = [f"c{k}-S1" for k in range(N)]
    spatialdata.SpatialData(shapes={"S1": circles()}, tables={"table": named}).write(tmp_path / "s.zarr")
    (tmp_path / "t.csv").write_text("barcode,label\nc3,L1\n")
    assert said_by_check(tmp_path / "s.zarr", truth="t.csv") == []
    assert read_spatialdata(tmp_path / "s.zarr", "S1").adata.obs_names[3] == "c3"


def test_numbers_and_their_text_are_the_same_instance() -> None:
    found = content(shapes={"spots": circles()}, tables={"table": table("spots", IDS.astype(str))})
    np.testing.assert_allclose(found.spatial, XY)


def test_what_is_no_spatialdata_is_said_alike(tmp_path: Path) -> None:
    zipped = tmp_path / "s.zarr.zip"
    zipped.write_bytes(b"PK")
    empty = tmp_path / "e.zarr"
    empty.mkdir()
    bare = tmp_path / "b.zarr"
    bare.mkdir()
    (bare / "zarr.json").write_text("{}")
    nested = tmp_path / "n.zarr"
    (nested / "inner.zarr").mkdir(parents=True)
    table("spots").write_zarr(tmp_path / "a.zarr")
    cases = {
        zipped: "unpack it and give the folder",
        empty: "not Zarr",
        bare: "no table in it",
        nested: "give inner.zarr in it",
        tmp_path / "a.zarr": "AnnData, not SpatialData; write it as .h5ad",
    }
    for path, text in cases.items():
        assert text in said_by_ingest(path)
    for path in list(cases)[1:]:
        assert said_by_check(path) == [f"spatialdata: {said_by_ingest(path)}"]


def test_a_table_of_proteins_alone_is_an_error(tmp_path: Path) -> None:
    proteins = table("spots")
    proteins.var["feature_types"] = "Antibody Capture"
    spatialdata.SpatialData(shapes={"spots": circles()}, tables={"table": proteins}).write(tmp_path / "s.zarr")
    assert said_by_check(tmp_path / "s.zarr") == [f"spatialdata: {said_by_ingest(tmp_path / 's.zarr')}"]
    assert "s.zarr: no features of type 'Gene Expression'" in said_by_ingest(tmp_path / "s.zarr")


def test_spots_without_names_are_an_error(tmp_path: Path) -> None:
    unnamed = table("spots")
    unnamed.obs_names = ["", *unnamed.obs_names[1:]]
    spatialdata.SpatialData(shapes={"spots": circles()}, tables={"table": unnamed}).write(tmp_path / "s.zarr")
    assert said_by_check(tmp_path / "s.zarr") == [f"spatialdata: {said_by_ingest(tmp_path / 's.zarr')}"]
    assert "1 of 12 spots have no name" in said_by_ingest(tmp_path / "s.zarr")
