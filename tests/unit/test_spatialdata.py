"""SpatialData out and in again."""

from __future__ import annotations

import builtins
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import anndata as ad
import matplotlib
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from mmsrl._errors import InputError
from mmsrl.assemble.cli import main as assemble
from mmsrl.assemble.elements import to_spatialdata
from mmsrl.ingest.api import read_spatialdata
from mmsrl.ingest.cli import main as ingest

if TYPE_CHECKING:
    from conftest import SmallRun

matplotlib.use("Agg")
spatialdata = pytest.importorskip("spatialdata")


@pytest.fixture(scope="module")
def written(template_run: SmallRun, tmp_path_factory: pytest.TempPathFactory) -> SmallRun:
    """The units of the small run, assembled with SpatialData."""
    run = template_run.copy(tmp_path_factory.mktemp("zarr"))
    for unit in ("pair", "lone"):
        result = CliRunner().invoke(assemble, [*run.assemble_arguments(unit), "--spatialdata", "true"])
        assert result.exit_code == 0, result.output
    return run


def test_folder_opens_with_spots_images_and_the_table_of_all_results(written: SmallRun) -> None:
    sdata = spatialdata.read_zarr(written.folder / "S1.spatialdata.zarr")
    adata = ad.read_h5ad(written.folder / "S1.mmsrl.h5ad")
    table = sdata.tables["table"]
    assert set(sdata.shapes) == {"S1"} and set(sdata.images) == {"S1_hires_image"}
    assert table.obs_names.tolist() == adata.obs_names.tolist()
    assert table.obs["domain"].tolist() == adata.obs["domain"].tolist()
    assert table.uns["domain_colors"].tolist() == list(adata.uns["domain_colors"])
    np.testing.assert_array_equal(table.obsm["X_mmsrl"], adata.obsm["X_mmsrl"])
    np.testing.assert_array_equal(sdata.shapes["S1"].geometry.x, adata.obsm["spatial"][:, 0])
    assert set(sdata.shapes["S1"]["radius"]) == {12.5}
    # The image is stored at half the pixels that coordinates count.
    extent = spatialdata.get_extent(sdata["S1_hires_image"], coordinate_system="S1")
    assert extent == {"x": (0.0, 520.0), "y": (0.0, 600.0)}
    assert not list(written.folder.glob(".*"))


def test_de_noised_expression_is_a_table_of_its_own(tmp_path: Path, template_run: SmallRun) -> None:
    run = template_run.copy(tmp_path)
    located = ad.read_h5ad(run.folder / "pair.embedding.h5ad")
    number = located.obs["barcode"].str[3:-2].astype(float)
    values = (number + 1000 * (located.obs["sample"] == "S2")).to_numpy(np.float32)[:, None]
    ad.AnnData(values, obs=located.obs, var=pd.DataFrame(index=["G7"])).write_h5ad(run.folder / "pair.enhanced.h5ad")
    arguments = [*run.assemble_arguments("pair"), "--enhanced", str(run.folder / "pair.enhanced.h5ad")]
    assert CliRunner().invoke(assemble, [*arguments, "--spatialdata", "true"]).exit_code == 0
    for name in ("S2", "pair"):
        table = spatialdata.read_zarr(run.folder / f"{name}.spatialdata.zarr").tables["enhanced"]
        adata = ad.read_h5ad(run.folder / f"{name}.mmsrl.h5ad")
        assert table.obs_names.tolist() == adata.obs_names.tolist() and table.var_names.tolist() == ["G7"]
        own = pd.Series(adata.obs_names).str.extract(r"(\d+)", expand=False).astype(float)
        np.testing.assert_array_equal(table.X.ravel(), own + 1000 * (adata.obs["sample"] == "S2").to_numpy())


def test_folder_has_what_vitessce_and_napari_look_for(written: SmallRun) -> None:
    """What viewers read of the folder itself.

    Vitessce 4.0.8, file type ``spatialdata.zarr``: the paths below; shapes as ``shapes.parquet``; which of them a row
    of the table is of by ``region_key`` and ``instance_key``. napari-spatialdata 0.7.2, ``_viewer``: circles have a
    radius, numbers for an index, and a table that annotates them in the coordinate system shown.
    """
    zarr = pytest.importorskip("zarr")
    for name, samples in (("S1", ["S1"]), ("pair", ["S1", "S2"])):
        folder = written.folder / f"{name}.spatialdata.zarr"
        root = zarr.open_group(folder, mode="r")
        table = root["tables/table"]
        assert dict(table.attrs)["region"] == samples
        assert (table.attrs["region_key"], table.attrs["instance_key"]) == ("sample", "spot")
        assert table["obs/domain/categories"][:].tolist() == ["1", "2", "10"]
        assert table["obs/spot"].dtype.kind == "i"
        assert dict(table["X"].attrs)["encoding-type"] == "csr_matrix" and table["X/data"].dtype == np.float32
        for layout in ("X_spatial", "X_mmsrl"):
            assert table[f"obsm/{layout}"].dtype == np.float32 and table[f"obsm/{layout}"].shape[1] >= 2
        sdata = spatialdata.read_zarr(folder)
        for sample in samples:
            assert (folder / "shapes" / sample / "shapes.parquet").is_file()
            axes = root[f"images/{sample}_hires_image"].attrs["ome"]["multiscales"][0]["axes"]
            assert [axis["name"] for axis in axes] == ["c", "y", "x"]
            assert set(sdata.filter_by_coordinate_system(sample).shapes) == {sample}
            frame = sdata.shapes[sample]
            assert frame.index.dtype.kind == "i" and "radius" in frame
            own = sdata.tables["table"].obs.query("sample == @sample")["spot"]
            assert own.tolist() == frame.index.tolist()


def test_plots_in_spatialdata(written: SmallRun) -> None:
    pytest.importorskip("spatialdata_plot")
    sdata = spatialdata.read_zarr(written.folder / "S1.spatialdata.zarr")
    (axes,) = matplotlib.pyplot.subplots(1, 1)[1:]
    sdata.pl.render_images("S1_hires_image").pl.render_shapes("S1", color="domain").pl.show("S1", ax=axes)
    assert axes.images and axes.collections
    matplotlib.pyplot.close("all")


def test_in_again_is_the_same_section(written: SmallRun) -> None:
    counts = ad.read_h5ad(written.folder / "S1.qc.h5ad")
    read = read_spatialdata(written.folder / "S1.spatialdata.zarr", "S1")
    adata = read.adata
    assert adata.obs_names.tolist() == counts.obs_names.tolist()
    assert adata.var_names.tolist() == counts.var_names.tolist()
    assert adata.var["gene_ids"].tolist() == counts.var["gene_ids"].tolist()
    assert (adata.X != counts.X).nnz == 0
    np.testing.assert_array_equal(adata.obsm["spatial"], counts.obsm["spatial"])
    library, expected = adata.uns["spatial"]["S1"], counts.uns["spatial"]["S1"]
    np.testing.assert_array_equal(library["images"]["hires"], expected["images"]["hires"])
    assert library["scalefactors"] == pytest.approx(expected["scalefactors"])
    assert [file["file"] for file in read.inputs] == ["S1.spatialdata.zarr"]
    # Annotations must not reach what trains.
    assert set(adata.obs) <= {"in_tissue", "array_row", "array_col"}


def test_section_of_a_group_is_told_by_its_name(written: SmallRun) -> None:
    counts = ad.read_h5ad(written.folder / "S2.qc.h5ad")
    adata = read_spatialdata(written.folder / "pair.spatialdata.zarr", "S2").adata
    assert adata.obs_names.tolist() == counts.obs_names.tolist()
    assert (adata.X != counts[:, adata.var_names].X).nnz == 0
    with pytest.raises(InputError, match=r"other: pair\.spatialdata\.zarr: holds .*shapes\['S2'\]; name the sample"):
        read_spatialdata(written.folder / "pair.spatialdata.zarr", "other")


def test_section_without_image_has_none(written: SmallRun) -> None:
    adata = read_spatialdata(written.folder / "lone.spatialdata.zarr", "lone").adata
    assert adata.uns["spatial"]["lone"]["images"] == {}
    assert adata.n_obs == 42


def foreign(folder: Path, image_size: int = 60) -> ad.AnnData:
    """Write SpatialData as other tools do: square bins as polygons, an image that is turned, integer instances."""
    import shapely
    from geopandas import GeoDataFrame
    from spatialdata.models import Image2DModel, ShapesModel, TableModel
    from spatialdata.transformations import Affine, Identity

    row, column = (index.ravel() for index in np.indices((6, 5)))
    counts = np.random.default_rng(0).poisson(3, (30, 8)).astype(np.float32)
    bins = GeoDataFrame(geometry=[shapely.box(x, y, x + 1, y + 1) for x, y in zip(column, row, strict=True)])
    bins.index = pd.Index(np.arange(100, 130))
    # Ten pixels a unit, a quarter turn, and moved: (x, y) of the slide is at (60 - 10 y, 10 x) of the image.
    to_slide = np.linalg.inv([[0.0, -10.0, 60.0], [10.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    turned = Affine(to_slide, input_axes=("x", "y"), output_axes=("x", "y"))
    image = np.zeros((3, image_size, image_size), np.uint8)
    image[0, :10, 50:] = 255  # the bin in the first row and column
    table = ad.AnnData(counts, obs=pd.DataFrame({"region": "bins", "bin": bins.index.to_numpy()}))
    table.obs_names = [f"spot{index}" for index in range(30)]
    table.obs["region"] = table.obs["region"].astype("category")
    spatialdata.SpatialData(
        images={"he": Image2DModel.parse(image, dims=("c", "y", "x"), transformations={"slide": turned})},
        shapes={"bins": ShapesModel.parse(bins, transformations={"slide": Identity()})},
        tables={"square_001um": TableModel.parse(table, region="bins", region_key="region", instance_key="bin")},
    ).write(folder)
    return table


def test_bins_of_other_tools_are_brought_to_lie_on_their_image(tmp_path: Path) -> None:
    table = foreign(tmp_path / "x.zarr")
    read = read_spatialdata(tmp_path / "x.zarr", "x")
    library = read.adata.uns["spatial"]["x"]
    assert (read.adata.X != table.X).sum() == 0
    pixels = read.adata.obsm["spatial"] * library["scalefactors"]["tissue_hires_scalef"]
    np.testing.assert_allclose(pixels[0], [55, 5])
    np.testing.assert_allclose(pixels[5] - pixels[0], [-10, 0], atol=1e-9)
    assert library["images"]["hires"][5, 55].tolist() == [255, 0, 0]
    assert library["scalefactors"]["spot_diameter_fullres"] == pytest.approx(1.0)
    assert any("rotated and shifted" in message["text"] for message in read.messages)


@pytest.mark.parametrize(("channels", "used"), [(["DAPI", "18S", "aSMA"], False), (["r", "g", "b"], True)])
def test_fluorescence_is_not_taken_for_a_stain(tmp_path: Path, channels: list[str], used: bool) -> None:
    from spatialdata.models import Image2DModel

    foreign(tmp_path / "x.zarr")
    sdata = spatialdata.read_zarr(tmp_path / "x.zarr")
    element = sdata.images["he"]
    named = Image2DModel.parse(element.data, dims=("c", "y", "x"), c_coords=channels)
    named.attrs["transform"] = element.attrs["transform"]
    spatialdata.SpatialData(images={"he": named}, shapes=dict(sdata.shapes), tables=dict(sdata.tables)).write(
        tmp_path / "named.zarr"
    )
    read = read_spatialdata(tmp_path / "named.zarr", "x")
    assert ("hires" in read.adata.uns["spatial"]["x"]["images"]) is used
    told = [message["text"] for message in read.messages if message["level"] == "warning"]
    text = "image he is not used: by its channels (DAPI, 18S, aSMA) it is no brightfield image"
    assert (text in told) is not used


def test_large_image_is_made_smaller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmsrl.ingest.zarr_elements.LONGEST_SIDE", 30)
    foreign(tmp_path / "x.zarr")
    library = read_spatialdata(tmp_path / "x.zarr", "x").adata.uns["spatial"]["x"]
    assert library["images"]["hires"].shape == (30, 30, 3)
    assert library["images"]["hires"][2, 27].tolist() == [255, 0, 0]
    assert library["scalefactors"]["tissue_hires_scalef"] == pytest.approx(5.0)


def test_normalised_table_is_taken_and_told(tmp_path: Path, written: SmallRun) -> None:
    adata = ad.read_h5ad(written.folder / "S1.mmsrl.h5ad")
    del adata.layers["counts"]
    to_spatialdata(adata).write(tmp_path / "S1.zarr")
    ingested = read_spatialdata(tmp_path / "S1.zarr", "S1")
    assert ingested.adata.uns["mmsrl"]["expression"] == "normalised"
    assert any("taken as normalised already" in message["text"] for message in ingested.messages)
    with pytest.raises(InputError, match=r"sample S1: S1\.zarr: no raw counts"):
        read_spatialdata(tmp_path / "S1.zarr", "S1", expression="counts")


def test_damaged_folder_is_one_message(tmp_path: Path, written: SmallRun) -> None:
    shutil.copytree(written.folder / "S1.spatialdata.zarr", tmp_path / "S1.zarr")
    shutil.rmtree(tmp_path / "S1.zarr/tables/table/obs")
    result = CliRunner().invoke(
        ingest, ["--id", "S1", "--spatialdata", str(tmp_path / "S1.zarr"), "--output-dir", str(tmp_path)]
    )
    assert result.exit_code == 2
    assert "sample S1: S1.zarr:" in result.output


def test_without_the_package_the_message_says_what_to_install(
    tmp_path: Path, small_run: SmallRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.split(".")[0] == "spatialdata":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    (tmp_path / "x.zarr").mkdir()
    with pytest.raises(InputError, match=r"sample x: x\.zarr: .*pip install 'mmsrl\[spatialdata\]'"):
        read_spatialdata(tmp_path / "x.zarr", "x")
    result = CliRunner().invoke(assemble, [*small_run.assemble_arguments("lone"), "--spatialdata", "true"])
    assert result.exit_code == 2
    assert "pip install 'mmsrl[spatialdata]'" in result.output
