from __future__ import annotations

import json
from typing import TYPE_CHECKING

import anndata as ad
import h5py
import matplotlib
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import scipy.sparse as sp
from click.testing import CliRunner

from mmsrl._palette import PALETTE
from mmsrl._sections import common_target
from mmsrl.assemble.cli import main

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import SmallRun

matplotlib.use("Agg")


def assemble(run: SmallRun, unit: str) -> None:
    result = CliRunner().invoke(main, run.assemble_arguments(unit))
    assert result.exit_code == 0, result.output


def test_sample_has_what_every_stage_added_in_the_order_of_its_spots(small_run: SmallRun) -> None:
    assemble(small_run, "pair")
    counts = ad.read_h5ad(small_run.folder / "S2.qc.h5ad")
    adata = ad.read_h5ad(small_run.folder / "S2.mmsrl.h5ad")
    assert adata.obs_names.equals(counts.obs_names)
    assert (adata.layers["counts"] != counts.X).nnz == 0
    assert adata.obs["domain"].tolist() == small_run.domains["S2"]
    assert adata.obs["domain"].cat.categories.tolist() == ["1", "2", "10"]
    # The fixture's embedding holds the number of sample and spot, the image feature that of the spot.
    np.testing.assert_array_equal(adata.obsm["X_mmsrl"], [[1, spot] for spot in range(adata.n_obs)])
    np.testing.assert_array_equal(adata.obsm["X_image"][:, 0], np.arange(adata.n_obs))
    assert adata.uns["mmsrl"]["unit"] == "pair"
    assert adata.uns["mmsrl"]["platform"] == "visium"
    assert adata.uns["mmsrl"]["parameters"]["train"] == {"preset": "default", "seed": 7}


def test_expression_is_the_logarithm_of_counts_scaled_to_the_median_of_the_unit(small_run: SmallRun) -> None:
    assemble(small_run, "pair")
    sections = [ad.read_h5ad(small_run.folder / f"{sample}.mmsrl.h5ad") for sample in ("S1", "S2")]
    raw = [section.layers["counts"].toarray() for section in sections]
    target = np.median(np.concatenate([counts.sum(1) for counts in raw]))
    for section, counts in zip(sections, raw, strict=True):
        expected = np.log1p(counts / counts.sum(1, keepdims=True) * target)
        np.testing.assert_allclose(section.X.toarray(), expected, rtol=1e-5)
        assert section.uns["mmsrl"]["target_sum"] == target


def test_pseudotime_goes_to_its_spots(small_run: SmallRun) -> None:
    folder = small_run.folder
    located = ad.read_h5ad(folder / "pair.embedding.h5ad")
    number = located.obs["barcode"].str[3:-2].astype(float)
    times = located.obs.assign(pseudotime=number / 200, pseudotime_rank=number / 400)
    order = ad.AnnData(obs=times, obsm={"X_umap": located.obsm["X_mmsrl"]})
    order.obs.iloc[0, order.obs.columns.get_loc("pseudotime")] = np.nan
    order.write_h5ad(folder / "pair.trajectory.h5ad")
    arguments = [*small_run.assemble_arguments("pair"), "--trajectory", str(folder / "pair.trajectory.h5ad")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    adata = ad.read_h5ad(folder / "S2.mmsrl.h5ad")
    own = adata.obs_names.str[3:-2].astype(float).to_numpy()
    pseudotime = adata.obs["pseudotime"].to_numpy()
    np.testing.assert_allclose(pseudotime[np.isfinite(pseudotime)], (own / 200)[np.isfinite(pseudotime)], rtol=1e-6)
    np.testing.assert_allclose(adata.obs["pseudotime_rank"], own / 400, rtol=1e-6)
    assert {"pseudotime", "pseudotime_rank"} <= set(pd.read_csv(folder / "S2.spots.csv").columns)


def test_files_hold_nothing_that_older_readers_do_not_know(small_run: SmallRun) -> None:
    assemble(small_run, "pair")
    kinds: set[str] = set()
    with h5py.File(small_run.folder / "S1.mmsrl.h5ad") as file:
        file.visititems(lambda _name, item: kinds.add(str(item.attrs.get("encoding-type"))))
    assert "array" in kinds and "null" not in kinds


def test_target_ignores_spots_without_counts() -> None:
    counts = np.array([[0, 0], [1, 3], [2, 8]], dtype=np.float32)
    assert common_target([ad.AnnData(counts)]) == 7.0


def test_group_is_one_file_that_knows_its_sections(small_run: SmallRun) -> None:
    assemble(small_run, "pair")
    joint = ad.read_h5ad(small_run.folder / "pair.mmsrl.h5ad")
    assert joint.n_obs == 12 * 10 + 9 * 8
    assert joint.n_vars == 19
    assert joint.obs_names.is_unique
    assert joint.obs["sample"].value_counts().to_dict() == {"S1": 120, "S2": 72}
    assert set(joint.uns["spatial"]) == {"S1", "S2"}
    assert set(joint.uns["mmsrl"]["samples"]) == {"S1", "S2"}
    assert "gene_ids" in joint.var
    # Components of the image are each section's own: side by side they would be compared.
    assert set(joint.obsm) == {"spatial", "X_spatial", "X_mmsrl"}


def test_condition_donor_and_covariates_go_to_the_spots_of_every_file(small_run: SmallRun) -> None:
    said = {
        "S1": {"condition": "ctrl", "donor": "7", "covariates": {"batch": "b 1"}},
        "S2": {"condition": "treated", "donor": "08", "covariates": {"batch": "b 2"}},
        "other": {"condition": "ctrl", "donor": "9", "covariates": {}},
    }
    design = small_run.folder / "design.json"
    design.write_text(json.dumps({"samples": [{"sample": sample, **own} for sample, own in said.items()]}))
    arguments = [*small_run.assemble_arguments("pair"), "--design", str(design), "--spatialdata", "true"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output

    names = ["condition", "donor", "covariate_batch"]
    joint = ad.read_h5ad(small_run.folder / "pair.mmsrl.h5ad")
    table = ad.read_zarr(small_run.folder / "pair.spatialdata.zarr/tables/table")
    for sample, expected in (("S1", ["ctrl", "7", "b 1"]), ("S2", ["treated", "08", "b 2"])):
        own = ad.read_h5ad(small_run.folder / f"{sample}.mmsrl.h5ad")
        for obs in (own.obs, joint.obs[joint.obs["sample"] == sample], table.obs[table.obs["sample"] == sample]):
            assert obs[names].drop_duplicates().astype(str).to_numpy().tolist() == [expected]
            assert all(isinstance(obs[name].dtype, pd.CategoricalDtype) for name in names)


def test_a_sample_without_a_part_in_a_study_has_no_columns_of_it(small_run: SmallRun) -> None:
    entry = {"sample": "S1", "condition": None, "donor": "7", "covariates": {}}
    (small_run.folder / "design.json").write_text(json.dumps({"samples": [entry]}))
    arguments = [*small_run.assemble_arguments("pair"), "--design", str(small_run.folder / "design.json")]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    assert "condition" not in ad.read_h5ad(small_run.folder / "S1.mmsrl.h5ad").obs
    assert "donor" in ad.read_h5ad(small_run.folder / "S1.mmsrl.h5ad").obs
    assert "donor" not in ad.read_h5ad(small_run.folder / "S2.mmsrl.h5ad").obs


@pytest.mark.parametrize("content", ["[]", '{"samples": {}}', '{"samples": [{"sample": "S1"}]}'])
def test_a_design_of_another_form_is_an_error(small_run: SmallRun, content: str) -> None:
    (small_run.folder / "design.json").write_text(content)
    arguments = [*small_run.assemble_arguments("pair"), "--design", str(small_run.folder / "design.json")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert "design.json: not a design, which has samples, each with condition, covariates" in result.output


def test_a_gene_has_one_name_in_all_files_of_a_group(tmp_path: Path, template_run: SmallRun) -> None:
    run = template_run.copy(tmp_path)
    for sample, name in (("S1", "SEPT7"), ("S2", "SEPTIN7")):
        path = run.folder / f"{sample}.qc.h5ad"
        adata = ad.read_h5ad(path)
        adata.var["gene_ids"] = [f"ENSG0000000{int(gene[2:]):04}" for gene in adata.var["gene_ids"]]
        adata.var_names = [name, *adata.var_names[1:]]
        adata.write_h5ad(path)
    assemble(run, "pair")
    group, section = (ad.read_h5ad(run.folder / f"{name}.mmsrl.h5ad") for name in ("pair", "S2"))
    assert "SEPT7" in group.var_names and section.var_names[0] == "SEPT7"


def test_same_domain_has_the_same_colour_in_all_files_of_a_unit(small_run: SmallRun) -> None:
    # S2 without its domain 1: the colours of the others must not move up.
    path = small_run.folder / "unit" / "pair.domains.csv"
    table = pd.read_csv(path, dtype=str)
    table.loc[(table["sample"] == "S2") & (table["domain"] == "1"), "domain"] = "2"
    table.to_csv(path, index=False)
    assemble(small_run, "pair")
    expected = dict(zip(["1", "2", "10"], PALETTE, strict=False))
    for name in ("S1", "S2", "pair"):
        adata = ad.read_h5ad(small_run.folder / f"{name}.mmsrl.h5ad")
        colors = dict(zip(adata.obs["domain"].cat.categories, adata.uns["domain_colors"], strict=True))
        assert colors == {label: expected[label] for label in colors}
    assert list(ad.read_h5ad(small_run.folder / "S2.mmsrl.h5ad").obs["domain"].cat.categories) == ["2", "10"]


def test_single_section_without_image_is_one_file_without_image_features(small_run: SmallRun) -> None:
    assemble(small_run, "lone")
    assert sorted(path.name for path in small_run.folder.glob("*.mmsrl.h5ad")) == ["lone.mmsrl.h5ad"]
    adata = ad.read_h5ad(small_run.folder / "lone.mmsrl.h5ad")
    assert "X_image" not in adata.obsm
    table = pd.read_csv(small_run.folder / "lone.spots.csv", dtype=str)
    assert table["barcode"].tolist() == adata.obs_names.tolist()
    assert table["domain"].tolist() == small_run.domains["lone"]


def test_files_plot_in_scanpy(small_run: SmallRun) -> None:
    assemble(small_run, "pair")
    adata = ad.read_h5ad(small_run.folder / "S1.mmsrl.h5ad")
    (axes,) = sc.pl.spatial(adata, color="domain", library_id="S1", show=False)
    drawn = {matplotlib.colors.to_hex(color).upper() for color in axes.collections[0].get_facecolor()}
    assert drawn == set(PALETTE[:3])
    matplotlib.pyplot.close("all")


@pytest.mark.parametrize("library", ["S1", "S2"])
def test_files_plot_in_squidpy(small_run: SmallRun, library: str) -> None:
    squidpy = pytest.importorskip("squidpy")
    assemble(small_run, "pair")
    for name in (library, "pair"):
        adata = ad.read_h5ad(small_run.folder / f"{name}.mmsrl.h5ad")
        options = {"library_key": "sample", "library_id": [library]} if name == "pair" else {}
        axes = squidpy.pl.spatial_scatter(adata, color="domain", return_ax=True, **options)
        (axes,) = np.atleast_1d(axes)
        assert axes.images  # the tissue
        drawn = {matplotlib.colors.to_hex(color).upper() for color in axes.collections[0].get_facecolor()}
        assert drawn == set(PALETTE[:3])
        matplotlib.pyplot.close("all")


def test_files_meet_what_viewers_ask_of_them(small_run: SmallRun) -> None:
    """What viewers take; of cellxgene also the rules of its schema that are of form.

    cellxgene 1.3.0, ``server.data_anndata.anndata_adaptor``: layouts are floats under ``X_`` with two columns or more;
    colours of a category are in ``uns['<column>_colors']``, as many as it has (``convert_anndata_category_colors``).
    TissUUmaps 3.2.1.14, ``read_h5ad.h5ad_to_tmap``: ``obsm['spatial']``, and the image ``hires`` with its factor.
    """
    assemble(small_run, "pair")
    for name in ("S1", "pair"):
        adata = ad.read_h5ad(small_run.folder / f"{name}.mmsrl.h5ad")
        assert adata.obs_names.is_unique and adata.var_names.is_unique
        # Embeddings are floats of two columns or more, of the spots, under names that begin with X_ or are spatial.
        for key, values in adata.obsm.items():
            assert key.startswith("X_") or key == "spatial"
            assert isinstance(values, np.ndarray) and values.dtype.kind == "f" and len(values) == adata.n_obs
            assert np.isfinite(values).all()
        assert not [column for column in adata.obs if adata.obs[column].dtype == object]
        assert not [column for column in (*adata.obs, *adata.var) if column.startswith("__")]
        assert (
            adata.obs["domain"].cat.categories.tolist()
            == adata.obs["domain"].cat.remove_unused_categories().cat.categories.tolist()
        )
        assert len(adata.uns["domain_colors"]) == len(adata.obs["domain"].cat.categories)
        assert all(matplotlib.colors.is_color_like(color) for color in adata.uns["domain_colors"])
        for matrix in (adata.X, *adata.layers.values()):
            assert sp.issparse(matrix) and matrix.format == "csr" and matrix.dtype == np.float32
        # cellxgene draws y up.
        np.testing.assert_array_equal(adata.obsm["X_spatial"], adata.obsm["spatial"] * (1, -1))
        assert adata.obsm["X_spatial"].dtype == np.float32
        library = adata.uns["spatial"]["S1"]
        assert {"tissue_hires_scalef", "spot_diameter_fullres"} <= set(library["scalefactors"])
        assert library["images"]["hires"].dtype == np.uint8 and library["images"]["hires"].shape[2] == 3


def test_table_of_places_is_that_of_the_file(small_run: SmallRun) -> None:
    assemble(small_run, "pair")
    adata = ad.read_h5ad(small_run.folder / "S2.mmsrl.h5ad")
    table = pd.read_csv(small_run.folder / "S2.coordinates.csv.gz", index_col="barcode")
    assert table.columns.tolist() == ["x", "y", "mmsrl_1", "mmsrl_2"]
    assert table.index.tolist() == adata.obs_names.tolist()
    np.testing.assert_allclose(table[["x", "y"]], adata.obsm["spatial"])
    np.testing.assert_allclose(table[["mmsrl_1", "mmsrl_2"]], adata.obsm["X_mmsrl"])
    first = (small_run.folder / "S2.coordinates.csv.gz").read_bytes()
    assemble(small_run, "pair")
    assert (small_run.folder / "S2.coordinates.csv.gz").read_bytes() == first


def test_embedding_of_another_run_is_an_error_that_says_so(small_run: SmallRun) -> None:
    path = small_run.folder / "pair.embedding.h5ad"
    embedding = ad.read_h5ad(path)
    embedding[(embedding.obs["sample"] != "S2") | (embedding.obs["barcode"] != "<b>3-1")].copy().write_h5ad(path)
    result = CliRunner().invoke(main, small_run.assemble_arguments("pair"))
    assert result.exit_code == 2
    assert "sample S2: 1 of 72 spots are not in it, such as <b>3-1" in result.output


def test_spot_without_domain_is_an_error_with_its_row(small_run: SmallRun) -> None:
    path = small_run.folder / "unit" / "lone.domains.csv"
    table = pd.read_csv(path, dtype=str)
    table.loc[4, "domain"] = None
    table.to_csv(path, index=False)
    result = CliRunner().invoke(main, small_run.assemble_arguments("lone"))
    assert result.exit_code == 2
    assert "lone.domains.csv: row 6 has no domain" in result.output


def test_group_may_not_overwrite_its_sample(small_run: SmallRun) -> None:
    arguments = small_run.assemble_arguments("pair")
    arguments[1] = "S1"
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert "group S1 has the name of one of its samples" in result.output
    assert not list(small_run.folder.glob("*.mmsrl.h5ad"))


@pytest.mark.parametrize("missing", ["--features", "--counts"])
def test_counts_and_features_must_be_of_the_same_samples(small_run: SmallRun, missing: str) -> None:
    arguments = small_run.assemble_arguments("pair")
    position = arguments.index(missing)
    del arguments[position : position + 2]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert "S1" in result.output
