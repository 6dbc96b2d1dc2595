"""Folders of instruments other than Visium, by the vendors' own names."""

import gzip

import anndata as ad
import h5py
import instruments
import numpy as np
import pandas as pd
import pytest
import shapely
from instruments import COUNTS, MERSCOPE_IDS, PLACES, SIDE, N, assert_read
from scipy import sparse
from section_folders import messages_of

from mmsrl._errors import InputError
from mmsrl.check.files import check_files
from mmsrl.ingest.api import Ingested, read_instrument
from mmsrl.ingest.instruments import look


def about(ingested: Ingested) -> dict:
    return ingested.adata.uns["mmsrl"]


@pytest.mark.parametrize(
    ("make", "platform"),
    [
        (instruments.xenium, "xenium"),
        (instruments.cosmx, "cosmx"),
        (instruments.merscope, "merscope"),
        (instruments.seqfish, "seqfish"),
        (instruments.stereoseq, "stereoseq"),
    ],
)
@pytest.mark.parametrize("stated", [True, False])
def test_every_instrument_of_cells_is_told_by_its_files_or_stated(tmp_path, make, platform, stated):
    ingested = read_instrument(make(tmp_path / "run"), "s", platform=platform if stated else None)
    assert list(check_files({"row": 2, "data_dir": "run"}, tmp_path)) == []
    assert_read(ingested, platform)
    assert ("read as" in messages_of(ingested)) is not stated
    if platform == "merscope":  # has no area without outlines
        assert "area_um2" not in ingested.adata.obs
    else:
        np.testing.assert_allclose(ingested.adata.obs["area_um2"], SIDE**2, rtol=0.02)
    if platform != "seqfish":
        np.testing.assert_array_equal(ingested.adata.obs["control_counts"], COUNTS[:, 4])


class TestXenium:
    def test_outlines_are_kept_and_missing_ones_told(self, tmp_path):
        folder = instruments.xenium(tmp_path / "x")
        instruments.xenium_outlines(folder)
        ingested = read_instrument(folder, "s")
        outlines = ingested.outlines
        assert list(outlines.index) == list(ingested.adata.obs_names)
        assert outlines.geometry.isna().tolist() == [True] + [False] * (N - 1)
        centres = outlines.geometry[1:].centroid
        np.testing.assert_allclose(np.column_stack([centres.x, centres.y]), PLACES[1:])
        assert "outlines of 29 of 30 cells from cell_boundaries.parquet" in messages_of(ingested)
        assert about(ingested)["spot_diameter_px"] == pytest.approx(2 * SIDE / np.sqrt(np.pi))

    @pytest.mark.parametrize("name", ["cell_boundaries.csv", "cell_boundaries.csv.gz"])
    def test_outlines_in_text(self, tmp_path, name):
        folder = instruments.xenium(tmp_path / "x")
        instruments.xenium_outlines(folder, name)
        assert shapely.area(read_instrument(folder, "s").outlines.geometry[1:].to_numpy()) == pytest.approx(SIDE**2)

    @pytest.mark.parametrize(
        ("spoil", "message"),
        [
            (lambda t: t.assign(cell_id="x"), " has none of the cells, e.g. 'aaaaaacg-1' (there: 'x')"),
            (lambda t: t.rename(columns={"vertex_x": "vx"}), ": no column vertex_x"),
        ],
    )
    def test_outlines_that_do_not_fit_are_left_out(self, tmp_path, spoil, message):
        folder = instruments.xenium(tmp_path / "x")
        instruments.xenium_outlines(folder, "cell_boundaries.csv")
        spoil(pd.read_csv(folder / "cell_boundaries.csv")).to_csv(folder / "cell_boundaries.csv", index=False)
        ingested = read_instrument(folder, "s")
        assert ingested.outlines is None
        assert f"outlines are left out: cell_boundaries.csv{message}" in messages_of(ingested)

    @pytest.mark.parametrize("cells", ["cells.parquet", "cells.csv.gz", "cells.csv"])
    @pytest.mark.parametrize("ids", [list(range(1, N + 1)), None])
    def test_names_of_cells_are_text_whatever_they_were(self, tmp_path, cells, ids):
        folder = instruments.xenium(tmp_path / "x", cells=cells, ids=ids)
        (folder / "experiment.xenium").unlink()
        names = [str(k) for k in range(1, N + 1)] if ids else None
        assert_read(read_instrument(folder, "s"), "xenium", names=names)

    def test_names_in_bytes(self, tmp_path):
        ids = [f"aaaa{k:04d}-1".encode() for k in range(N)]
        folder = instruments.xenium(tmp_path / "x", ids=ids)
        assert_read(read_instrument(folder, "s"), "xenium", names=[name.decode() for name in ids])

    def test_a_table_with_the_names_as_index(self, tmp_path):
        folder = instruments.xenium(tmp_path / "x")
        pd.read_parquet(folder / "cells.parquet").set_index("cell_id").to_parquet(folder / "cells.parquet")
        assert_read(read_instrument(folder, "s"), "xenium")

    def test_three_text_files_for_the_matrix(self, tmp_path):
        folder = instruments.xenium(tmp_path / "x")
        instruments.as_mex(folder)
        assert_read(read_instrument(folder, "s"), "xenium")
        (folder / "cell_feature_matrix/barcodes.tsv").unlink()
        with pytest.raises(InputError, match=r"cell_feature_matrix has no barcodes\.tsv \(nor with \.gz\)"):
            look(folder, None)

    @pytest.mark.parametrize("name", ["cell_feature_matrix.zarr.zip", "cell_feature_matrix.tar.gz"])
    def test_a_matrix_of_a_form_that_is_not_read(self, tmp_path, name):
        folder = instruments.xenium(tmp_path / "x")
        (folder / "cell_feature_matrix.h5").rename(folder / name)
        with pytest.raises(InputError, match=rf"x: of Xenium's files has {name}, which is not read; .*\.h5"):
            look(folder, None)

    def test_files_with_the_prefix_of_a_download(self, tmp_path):
        folder = instruments.xenium(tmp_path / "x", prefix="GSM8_", cells="cells.csv.gz")
        assert_read(read_instrument(folder, "s"), "xenium")

    def test_files_gzipped_one_by_one_as_geo_has_them(self, tmp_path):
        folder = instruments.xenium(tmp_path / "x", prefix="GSM8_")
        for path in list(folder.iterdir()):
            (folder / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
            path.unlink()
        assert list(check_files({"row": 2, "data_dir": "x"}, tmp_path)) == []
        ingested = read_instrument(folder, "s")
        assert_read(ingested, "xenium")
        names = ["GSM8_cell_feature_matrix.h5.gz", "GSM8_cells.parquet.gz"]
        assert [entry["file"] for entry in ingested.inputs] == names
        (folder / names[0]).write_bytes((folder / names[0]).read_bytes()[:200])
        with pytest.raises(InputError, match=r"sample s: GSM8_cell_feature_matrix\.h5\.gz: not gzip, or damaged"):
            read_instrument(folder, "s")

    def test_order_of_the_cells_does_not_matter_and_lost_ones_are_told(self, tmp_path):
        folder = instruments.xenium(tmp_path / "x")
        cells = pd.read_parquet(folder / "cells.parquet")
        more = cells.iloc[:1].assign(cell_id="new-1")
        pd.concat([cells[2:][::-1], more]).to_parquet(folder / "cells.parquet")
        ingested = read_instrument(folder, "s")
        np.testing.assert_array_equal(ingested.adata.X.toarray(), COUNTS[2:, :4])
        np.testing.assert_allclose(ingested.adata.obsm["spatial"], PLACES[2:])
        assert "2 of 30 cells of cell_feature_matrix.h5 are not in cells.parquet and are left out" in messages_of(
            ingested
        )
        assert "1 cells of cells.parquet are not in cell_feature_matrix.h5 and are left out" in messages_of(ingested)

    def test_cells_without_a_place_are_left_out(self, tmp_path):
        folder = instruments.xenium(tmp_path / "x")
        cells = pd.read_parquet(folder / "cells.parquet")
        cells.loc[[0, 3], "x_centroid"] = np.nan
        cells.to_parquet(folder / "cells.parquet")
        ingested = read_instrument(folder, "s")
        assert ingested.adata.n_obs == N - 2
        assert "2 of 30 cells of cells.parquet have no x_centroid or y_centroid and are left out" in messages_of(
            ingested
        )

    def test_tables_of_two_sections(self, tmp_path):
        folder = instruments.xenium(tmp_path / "x")
        instruments.xenium(tmp_path / "other", ids=list(range(N)))
        (tmp_path / "other/cells.parquet").rename(folder / "cells.parquet")
        with pytest.raises(InputError, match=r"sample s: .* have no cell in common \(e\.g\. 'aaaaaacg-1' and '0'\)"):
            read_instrument(folder, "s")

    def test_atera_is_read_alike(self, tmp_path):
        ingested = read_instrument(instruments.xenium(tmp_path / "x"), "s", platform="atera")
        assert_read(ingested, "atera")
        assert "looks like" not in messages_of(ingested)


class TestCosMx:
    def test_background_and_cells_numbered_anew_in_each_field(self, tmp_path):
        ingested = read_instrument(instruments.cosmx(tmp_path / "c"), "s")
        names = [f"{k // 15 + 1}_{k % 15 + 1}" for k in range(N)]
        assert_read(ingested, "cosmx", names=names)
        assert "2 rows of S0_exprMat_file.csv.gz are the background (cell 0), left out" in messages_of(ingested)
        areas = shapely.area(ingested.outlines.geometry.to_numpy())
        np.testing.assert_allclose(areas * 0.12028**2, SIDE**2)

    def test_the_vendors_names_and_the_scale_by_areas_in_both_units(self, tmp_path):
        ingested = read_instrument(instruments.cosmx(tmp_path / "c", atomx=True, pixel_um=0.15, packed=False), "s")
        assert_read(ingested, "cosmx", names=[f"c_1_{k // 15 + 1}_{k % 15 + 1}" for k in range(N)])
        assert about(ingested)["um_per_px"] == pytest.approx(0.15)
        assert "Area.um2 and Area are the same areas in µm² and pixels" in messages_of(ingested)

    def test_the_larger_fields_of_the_first_sections(self, tmp_path):
        folder = instruments.cosmx(tmp_path / "c", pixel_um=0.18, packed=False)
        cells = pd.read_csv(folder / "S0_metadata_file.csv")
        cells.assign(CenterX_local_px=5000.0).to_csv(folder / "S0_metadata_file.csv", index=False)
        assert_read(read_instrument(folder, "s"), "cosmx")

    def test_what_the_samplesheet_says_of_the_scale_counts(self, tmp_path):
        ingested = read_instrument(instruments.cosmx(tmp_path / "c"), "s", um_per_px=0.2)
        assert about(ingested)["um_per_px"] == pytest.approx(0.2)
        assert "by um_per_px of the samplesheet, but" in messages_of(ingested) and "by the files" in messages_of(
            ingested
        )
        np.testing.assert_allclose(ingested.adata.obs["area_um2"], (SIDE / 0.12028 * 0.2) ** 2)

    def test_places_within_fields_alone_are_refused(self, tmp_path):
        folder = instruments.cosmx(tmp_path / "c", packed=False)
        cells = pd.read_csv(folder / "S0_metadata_file.csv")
        cells.drop(columns=["CenterX_global_px", "CenterY_global_px"]).to_csv(
            folder / "S0_metadata_file.csv", index=False
        )
        message = "S0_metadata_file.csv: no columns CenterX_global_px and CenterY_global_px .*CenterX_local"
        with pytest.raises(InputError, match=message):
            look(folder, None)

    def test_a_count_in_words_is_told_with_its_row_and_column(self, tmp_path):
        folder = instruments.cosmx(tmp_path / "c", packed=False)
        counts = pd.read_csv(folder / "S0_exprMat_file.csv", dtype=str)
        counts.loc[4, "Actb"] = "many"
        counts.to_csv(folder / "S0_exprMat_file.csv", index=False)
        with pytest.raises(InputError, match=r"S0_exprMat_file\.csv: row 6, column Actb: 'many' is not a count"):
            read_instrument(folder, "s")


class TestMerscope:
    @pytest.mark.parametrize("id_column", ["cell", "", "EntityID", "Unnamed: 0"])
    @pytest.mark.parametrize("of_cells", ["", "EntityID"])
    def test_names_of_21_digits_stay_as_they_are(self, tmp_path, id_column, of_cells):
        folder = instruments.merscope(tmp_path / "region_0", id_column=id_column)
        cells = (folder / "cell_metadata.csv").read_text()
        (folder / "cell_metadata.csv").write_text(cells.replace("EntityID", of_cells, 1))
        assert_read(read_instrument(folder, "s"), "merscope", names=MERSCOPE_IDS)

    @pytest.mark.parametrize("indexed", [True, False])
    def test_both_tables_in_parquet(self, tmp_path, indexed):
        folder = instruments.merscope(tmp_path / "m")
        for path in list(folder.iterdir()):
            table = pd.read_csv(path, dtype={"cell": str, "EntityID": str})
            table = table.set_index(table.columns[0]).rename_axis(None) if indexed else table
            table.to_parquet(path.with_suffix(".parquet"))
            path.unlink()
        assert_read(read_instrument(folder, "s"), "merscope", names=MERSCOPE_IDS)
        counts = pd.read_parquet(folder / "cell_by_gene.parquet").assign(note="x")
        counts.to_parquet(folder / "cell_by_gene.parquet")
        with pytest.raises(InputError, match=r"cell_by_gene\.parquet: column note holds text instead of counts"):
            read_instrument(folder, "s")

    def test_one_region_within_the_folder_of_a_run(self, tmp_path):
        instruments.merscope(tmp_path / "run/region_0")
        assert_read(read_instrument(tmp_path / "run", "s", platform="merfish"), "merfish")
        instruments.merscope(tmp_path / "run/region_1")
        with pytest.raises(InputError, match=r"run: holds counts of several sections \(region_0/.* and region_1/"):
            look(tmp_path / "run", None)

    def test_the_names_of_the_vendors_public_sections(self, tmp_path):
        assert_read(read_instrument(instruments.merscope(tmp_path / "m", suffix="_S1R1"), "s"), "merscope")

    def test_outlines_are_those_of_the_lowest_plane_and_give_areas(self, tmp_path):
        folder = instruments.merscope(tmp_path / "m", ids=[str(1108834247646 * 10**5 + k) for k in range(N)])
        instruments.merscope_outlines(folder)
        ingested = read_instrument(folder, "s")
        np.testing.assert_allclose(ingested.adata.obs["area_um2"], SIDE**2)
        np.testing.assert_allclose(shapely.area(ingested.outlines.geometry.to_numpy()), SIDE**2)


def test_seqfish_of_several_regions(tmp_path):
    instruments.seqfish(tmp_path / "s", "Roi2")
    instruments.seqfish(tmp_path / "s")
    with pytest.raises(InputError, match=r"holds counts of several sections \(Roi1_CellxGene\.csv and Roi2_Cell"):
        look(tmp_path / "s", None)


class TestStereoseq:
    @pytest.mark.parametrize("old", [True, False])
    @pytest.mark.parametrize("nm", [500, 715])
    def test_cells_with_their_outlines(self, tmp_path, old, nm):
        ingested = read_instrument(instruments.stereoseq(tmp_path / "outs", old=old, nm=nm), "s")
        assert_read(ingested, "stereoseq", names=[str(k + 7) for k in range(N)])
        assert about(ingested)["um_per_px"] == pytest.approx(nm / 1000)
        assert ingested.outlines.geometry.isna().tolist() == [True] + [False] * (N - 1)
        centres = ingested.outlines.geometry[1:].centroid
        np.testing.assert_allclose(
            np.column_stack([centres.x, centres.y]), ingested.adata.obsm["spatial"][1:], atol=0.01
        )
        assert "cells of SS200000135TL_D1.cellbin.gef; give bin_size in µm for square bins" in messages_of(ingested)
        assert ("ENSG0" in set(ingested.adata.var["gene_ids"])) is not old

    @pytest.mark.parametrize("bin_size", ["10", 25])
    def test_square_bins_have_the_molecules_of_their_spots(self, tmp_path, bin_size):
        folder = instruments.stereoseq(tmp_path / "outs")
        adata = read_instrument(folder, "s", bin_size=bin_size).adata
        width = int(bin_size) * 2
        spots = np.round(PLACES * 2).astype(int)
        bins: dict[tuple[int, int], np.ndarray] = {}
        for shift in (0, 5):
            for (x, y), counts in zip(spots, COUNTS[:, :4], strict=True):
                key = ((x + shift) // width, y // width)
                bins[key] = bins.get(key, np.zeros(4)) + counts
        places = [(int(x), int(y)) for x, y in np.floor(adata.obsm["spatial"] / width)]
        assert set(places) == set(bins) and len(places) == len(bins)
        np.testing.assert_array_equal(adata.X.toarray(), [bins[place] for place in places])
        assert adata.obs[["array_col", "array_row"]].to_numpy().tolist() == [list(place) for place in places]

    def test_bins_where_there_are_no_cells(self, tmp_path):
        folder = instruments.stereoseq(tmp_path / "outs")
        (folder / "feature_expression/SS200000135TL_D1.cellbin.gef").unlink()
        assert "took bins of 50 x 50 spots of the chip" in messages_of(read_instrument(folder, "s"))
        with pytest.raises(InputError, match=r"no \.cellbin\.gef, which has the counts of cells"):
            read_instrument(folder, "s", bin_size="cell")
        with pytest.raises(InputError, match=r"spots are 0\.715 µm apart, of which 25 µm are no multiple"):
            read_instrument(instruments.stereoseq(tmp_path / "coarse", nm=715), "s", bin_size=25)

    def test_cells_whose_counts_are_not_in_their_order(self, tmp_path):
        folder = instruments.stereoseq(tmp_path / "outs")
        with h5py.File(folder / "feature_expression/SS200000135TL_D1.cellbin.gef", "r+") as file:
            for name in ("cell", "cellBorder"):
                values = file[f"cellBin/{name}"][()][1:][::-1]
                del file[f"cellBin/{name}"]
                file[f"cellBin/{name}"] = values
        adata = read_instrument(folder, "s").adata
        np.testing.assert_array_equal(adata.X.toarray(), COUNTS[1:, :4][::-1])

    def test_proteins_beside_are_passed_over_and_the_whole_chip_is_told(self, tmp_path):
        folder = instruments.stereoseq(tmp_path / "outs") / "feature_expression"
        (folder / "SS200000135TL_D1.protein.tissue.gef").touch()
        (folder / "SS200000135TL_D1.cellbin.gef").unlink()
        assert read_instrument(folder, "s").inputs[0]["file"] == "SS200000135TL_D1.tissue.gef"
        (folder / "SS200000135TL_D1.tissue.gef").rename(folder / "SS200000135TL_D1.raw.gef")
        assert "covers the whole chip, including bins outside the tissue" in messages_of(read_instrument(folder, "s"))

    def test_an_unknown_resolution_stays_unknown(self, tmp_path):
        folder = instruments.stereoseq(tmp_path / "outs")
        with h5py.File(folder / "feature_expression/SS200000135TL_D1.cellbin.gef", "r+") as file:
            file.attrs["resolution"] = np.array([0], np.uint32)
        ingested = read_instrument(folder, "s")
        assert np.isnan(about(ingested)["um_per_px"])
        assert "of unknown scale" in messages_of(ingested)
        stated = read_instrument(folder, "s", um_per_px=0.5).adata
        np.testing.assert_allclose(stated.obs["area_um2"], SIDE**2)

    def test_a_damaged_file(self, tmp_path):
        folder = instruments.stereoseq(tmp_path / "outs")
        path = folder / "feature_expression/SS200000135TL_D1.cellbin.gef"
        path.write_bytes(path.read_bytes()[:1000])
        with pytest.raises(InputError, match=r"sample s: SS200000135TL_D1\.cellbin\.gef: not HDF5, or truncated"):
            read_instrument(folder, "s")

    def test_text_alone_is_not_read(self, tmp_path):
        (tmp_path / "SS2.tissue.gem.gz").touch()
        with pytest.raises(InputError, match=r"has SS2\.tissue\.gem\.gz, which is not read; convert it"):
            look(tmp_path, None)


@pytest.mark.parametrize("platform", [None, "slideseq"])
def test_curio_is_its_h5ad_whose_scale_is_not_known(tmp_path, platform):
    ingested = read_instrument(instruments.curio(tmp_path / "c"), "s", platform=platform)
    assert list(check_files({"row": 2, "data_dir": "c"}, tmp_path)) == []
    assert about(ingested)["platform"] == (platform or "curio")
    np.testing.assert_array_equal(ingested.adata.X.toarray(), COUNTS)
    np.testing.assert_array_equal(ingested.adata.obsm["spatial"], PLACES)
    assert "of unknown scale" in messages_of(ingested)


def test_dbit_has_its_places_from_the_list_of_barcodes(tmp_path):
    pytest.importorskip("spatialdata_io")
    ingested = read_instrument(instruments.dbit(tmp_path / "d"), "s", pitch_um=20)
    assert list(check_files({"row": 2, "data_dir": "d"}, tmp_path)) == []
    adata = ingested.adata
    assert about(ingested) | {"platform": "dbit", "lattice": "square", "pitch_um": 20.0} == about(ingested)
    row, col = (index.ravel() for index in np.mgrid[:6, :5])
    ranks = {tuple(COUNTS[k]): (row[k] + 0.5, col[k] + 0.5) for k in range(N)}
    for counts, place in zip(adata.X.toarray().astype(int), adata.obsm["spatial"], strict=True):
        assert place == pytest.approx(ranks[tuple(counts)])


def test_a_list_of_barcodes_of_another_form(tmp_path):
    pytest.importorskip("spatialdata_io")
    folder = instruments.dbit(tmp_path / "d")
    (folder / "barcode_list.txt").write_text("AACGTGAT 1 1\n")
    with pytest.raises(
        InputError, match=r"barcode_list\.txt or GSM4364242_E11-1L\.h5ad: not in the format of DBiT-seq"
    ):
        read_instrument(folder, "s")


class TestSpatialdataIo:
    """Of complete folders spatialdata-io reads the same."""

    @staticmethod
    def assert_same(table: ad.AnnData, adata: ad.AnnData) -> None:
        genes = list(adata.var_names)
        np.testing.assert_array_equal(sparse.csr_matrix(table[:, genes].X).toarray(), adata.X.toarray())
        np.testing.assert_allclose(table.obsm["spatial"], adata.obsm["spatial"])

    def test_xenium(self, tmp_path):
        spatialdata_io, zarr = pytest.importorskip("spatialdata_io"), pytest.importorskip("zarr")
        folder = instruments.xenium(tmp_path / "x")
        (folder / "experiment.xenium").write_text('{"analysis_sw_version": "xenium-1.0.2", "pixel_size": 0.2125}')
        with zarr.storage.ZipStore(folder / "cells.zarr.zip", mode="w") as store:
            zarr.open_group(store, mode="w")
        parts = ("cells_labels", "nucleus_labels", "cells_boundaries", "nucleus_boundaries", "transcripts")
        parts += ("morphology_mip", "morphology_focus", "aligned_images")
        table = spatialdata_io.xenium(folder, cells_as_circles=True, **dict.fromkeys(parts, False)).tables["table"]
        adata = read_instrument(folder, "s").adata
        assert list(table.obs["cell_id"]) == list(adata.obs_names)
        self.assert_same(table, adata)

    def test_merscope(self, tmp_path):
        spatialdata_io = pytest.importorskip("spatialdata_io")
        folder = instruments.merscope(tmp_path / "region_0", ids=[str(10**12 + k) for k in range(N)])
        (folder / "images").mkdir()
        (folder / "images/micron_to_mosaic_pixel_transform.csv").write_text("9 0 0\n0 9 0\n0 0 1\n")
        parts = dict.fromkeys(("transcripts", "cells_boundaries", "mosaic_images"), False)
        table = spatialdata_io.merscope(folder, **parts).tables["table"]
        adata = read_instrument(folder, "s").adata
        assert list(table.obs_names) == list(adata.obs_names)
        self.assert_same(table, adata)


def test_labels_beside_the_counts_stay_out(tmp_path):
    folder = instruments.xenium(tmp_path / "x")
    cells = pd.read_parquet(folder / "cells.parquet")
    cells.assign(cluster=1).to_parquet(folder / "cells.parquet")
    adata: ad.AnnData = read_instrument(folder, "s").adata
    assert set(adata.obs) == {"in_tissue", "control_counts", "area_um2"}
