"""Metrics are scanpy's, filters remove what they say, and when nothing is left the guilty one is named."""

import json
import re
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from click.testing import CliRunner
from PIL import Image
from scipy import sparse

from mmsrl import _drawing
from mmsrl._errors import InputError
from mmsrl.qc import figure, filters, gene_classes
from mmsrl.qc.api import METRICS, quality_control
from mmsrl.qc.cli import main

GENES = [*(f"GENE{k}" for k in range(1, 41)), "MT-CO1", "MT-ND4", "RPS3", "RPL13A", "HBB", "RARE"]


def section(n: int = 60) -> anndata.AnnData:
    """A section of 60 good spots, on a square lattice of ten columns; ``RARE`` is seen in two."""
    counts = np.random.default_rng(0).poisson(3.0, (n, len(GENES))).astype(np.float32)
    counts[:, -1] = 0
    counts[:2, -1] = 1
    k = np.arange(n)
    adata = anndata.AnnData(
        sparse.csr_matrix(counts),
        obs=pd.DataFrame({"in_tissue": 1}, index=[f"b{i}" for i in k]),
        var=pd.DataFrame(index=GENES),
    )
    adata.obsm["spatial"] = np.column_stack([k % 10, k // 10]) * 100.0
    about = {"sample": "s", "platform": "st", "lattice": "square", "pitch_px": 100.0, "pitch_um": 200.0}
    adata.uns["mmsrl"] = about | {"spot_diameter_px": 50.0, "species": "human"}
    picture = np.full((60, 100, 3), 230, dtype=np.uint8)
    library = {"images": {"lowres": picture}, "scalefactors": {"tissue_lowres_scalef": 0.1}}
    adata.uns["spatial"] = {"s": library}
    return adata


def changed(spots: slice | list[int], factor: float, genes: slice = slice(None)) -> anndata.AnnData:
    """A section in which some spots have ``factor`` times the counts in some genes."""
    adata = section()
    counts = adata.X.toarray()
    counts[spots, genes] = np.round(counts[spots, genes] * factor)
    adata.X = sparse.csr_matrix(counts)
    return adata


def test_metrics_are_those_of_scanpy():
    adata = section()
    quality = quality_control(adata)
    expected = adata.copy()
    symbols = expected.var_names.str
    expected.var["mt"], expected.var["ribo"] = symbols.startswith("MT-"), symbols.startswith(("RPS", "RPL"))
    expected.var["hb"] = symbols.startswith("HB")
    sc.pp.calculate_qc_metrics(expected, qc_vars=["mt", "ribo", "hb"], percent_top=None, inplace=True)
    for name in METRICS:
        np.testing.assert_array_equal(quality.adata.obs[name], expected.obs[name])


def test_input_is_not_changed():
    adata, same = section(), section()
    quality_control(adata, min_counts=100)
    assert (adata.X != same.X).nnz == 0 and adata.obs.equals(same.obs) and adata.var.equals(same.var)


def test_raw_counts_of_what_is_kept():
    adata = section()
    kept = quality_control(adata).adata
    assert kept.n_obs == 60 and "RARE" not in kept.var_names and kept.n_vars == len(GENES) - 1
    assert (kept.X != adata[:, kept.var_names].X).nnz == 0
    np.testing.assert_array_equal(kept.var["n_cells_by_counts"], kept.X.getnnz(axis=0))
    assert quality_control(adata, min_spots=2).adata.n_vars == len(GENES)


def test_each_filter_says_what_it_removed_in_turn_and_alone():
    adata = changed([0, 1, 2], 0.2)
    adata.obs["in_tissue"] = [0, 1] * 30
    quality = quality_control(adata, min_counts=60)
    removed = {entry["filter"]: (entry["removed"], entry["removed_alone"]) for entry in quality.result["spot_filters"]}
    assert removed == {"in_tissue": (30, 30), "min_counts": (1, 3), "min_genes": (0, 0)}
    assert quality.result["n_spots_before"] == 60 and quality.result["n_spots"] == quality.adata.n_obs == 29
    np.testing.assert_array_equal(quality.keep, np.isin(adata.obs_names, quality.adata.obs_names))


def test_mitochondrial_filter():
    adata = changed([5, 6], 100, slice(40, 42))
    quality = quality_control(adata, max_pct_mt=50)
    assert set(adata.obs_names) - set(quality.adata.obs_names) == {"b5", "b6"}
    assert quality.result["genes_in_sets"] == {"mt": 2, "ribo": 2, "hb": 1}


def test_deviations_from_the_median_find_planted_outliers_in_either_direction():
    adata = changed([3], 0.3)
    counts = adata.X.toarray()
    counts[7, 40:42] = 100
    adata.X = sparse.csr_matrix(counts)
    quality = quality_control(adata, nmads=5)
    assert set(adata.obs_names) - set(quality.adata.obs_names) == {"b3", "b7"}


def test_deviation_bounds_by_hand():
    values = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
    bounds, without = filters.mad_filters(
        2, {"total_counts": np.expm1(values), "n_genes_by_counts": np.ones(5), "pct_counts_mt": values}
    )
    assert without == ["n_genes_by_counts"]
    assert [(bound.metric, bound.side) for bound in bounds] == [("total_counts", "below"), ("pct_counts_mt", "above")]
    assert bounds[0].threshold == pytest.approx(np.expm1(4 - 2 * 3))
    assert bounds[1].threshold == pytest.approx(4 + 2 * 3)


def test_empty_bins_go_by_default():
    quality = quality_control(changed([0, 4], 0))
    assert quality.adata.n_obs == 58
    assert quality.result["quantiles_before"]["total_counts"][0] == 0
    assert quality.result["quantiles_after"]["total_counts"][0] > 0
    assert any("2 of 60 spots have no counts and are removed" in message["text"] for message in quality.messages)


@pytest.mark.parametrize(
    ("platform", "advice"), [("visium_hd", "; larger bins (column bin_size) have more"), ("st", "")]
)
def test_shallow_sections_are_said_with_their_depth(platform, advice):
    adata = section()
    adata.uns["mmsrl"]["platform"] = platform
    assert not quality_control(adata).messages
    adata.X.data = np.minimum(adata.X.data, 1)
    (message,) = quality_control(adata).messages
    depth = np.median(np.asarray(adata.X.sum(axis=1)))
    assert message["level"] == "warning"
    assert message["text"].startswith(f"the median spot has only {depth:.0f} counts: domains")
    assert message["text"].partition(" follow noise")[2] == advice


def test_spots_with_only_rare_genes_go_too():
    adata = section()
    counts = adata.X.toarray()
    counts[0, :-1] = 0
    adata.X = sparse.csr_matrix(counts)
    quality = quality_control(adata)
    assert "b0" not in quality.adata.obs_names and quality.result["spots_without_counts_in_kept_genes"] == 1
    assert (quality.adata.X.getnnz(axis=1) > 0).all()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"min_counts": 500}, r"--min_counts 500 removes all 60 spots \(their total_counts: median \d+"),
        ({"min_genes": 99}, r"--min_genes 99 removes all 60 spots \(their n_genes_by_counts: .* to 4\d\)"),
        ({"max_pct_mt": 0.001}, "--max_pct_mt 0.001 removes all 60 spots"),
        ({"min_spots": 61}, "--min_spots 61 removes all 46 genes .* seen in 60 of 60 spots"),
    ],
)
def test_nothing_left_names_filter_value_and_range(parameters, message):
    with pytest.raises(InputError, match=message):
        quality_control(section(), **parameters)


def test_nothing_left_after_several_filters_names_each():
    adata = section()
    adata.obs["in_tissue"] = [1] * 5 + [0] * 55
    with pytest.raises(
        InputError,
        match="of 60 spots the in-tissue filter removes 55; --min_counts 900 removes all 5 spots that were left",
    ):
        quality_control(adata, min_counts=900)
    adata.obs["in_tissue"] = 0
    with pytest.raises(
        InputError, match="the in-tissue filter removes all 60 spots .*check in_tissue of the positions"
    ):
        quality_control(adata)


def test_deviation_filter_that_removes_all_names_its_bound():
    """Zero deviations wide, and every spot is below the median in one metric or the other."""
    metrics = {
        "total_counts": np.array([1.0, 2.0, 3.0, 4.0]),
        "n_genes_by_counts": np.array([4.0, 3.0, 2.0, 1.0]),
        "pct_counts_mt": np.zeros(4),
    }
    bounds, _ = filters.mad_filters(0, metrics)
    with pytest.raises(InputError, match=r"--nmads 0 removes 2; --nmads 0, n_genes_by_counts below .* removes all 2"):
        filters.apply_filters(bounds, metrics)


def test_missing_mitochondrial_genes_are_a_warning_where_their_filter_is_asked():
    adata = section()
    adata = adata[:, ~adata.var_names.str.startswith("MT-")].copy()
    assert [m["level"] for m in quality_control(adata).messages] == ["info"]
    assert [m["level"] for m in quality_control(adata, max_pct_mt=20).messages] == ["warning"]


@pytest.mark.parametrize(
    ("species", "members", "strangers"),
    [
        (
            "human",
            {"mt": ["MT-CO1", "GRCh38_MT-ND1"], "ribo": ["RPS3", "RPL7A", "RPL36AL", "RPSA", "RPLP0", "RPS4Y1"]}
            | {"hb": ["HBA1", "HBB", "HBG2", "HBE1", "HBQ1"]},
            ["MT1A", "MTOR", "RPS6KA1", "RPS6KB2", "RPSAP9", "RPL7L1", "HBEGF", "HBP1", "HBS1L", "mt-Co1"],
        ),
        (
            "mouse",
            {"mt": ["mt-Co1", "mm10_mt-Nd1"], "ribo": ["Rps3", "Rpl13a", "Rplp1"], "hb": ["Hba-a1", "Hbb-bs", "Hbq1a"]},
            ["Mt1", "Rps6ka1", "Rpl7l1", "Hbegf", "Hbp1", "MT-CO1"],
        ),
        (
            "unknown",
            {"mt": ["MT-CO1", "mt-Co1"], "ribo": ["RPS3", "Rps3"], "hb": ["HBB", "Hbb-bs"]},
            ["HBEGF", "Hbegf"],
        ),
    ],
)
def test_gene_sets(species, members, strangers):
    symbols = [symbol for names in members.values() for symbol in names] + strangers
    masks = gene_classes.gene_set_masks(symbols, species)
    for name, expected in members.items():
        assert [symbol for symbol, marked in zip(symbols, masks[name], strict=True) if marked] == expected


def test_species_by_parameter_beats_the_file():
    assert quality_control(section(), species="mouse").result["genes_in_sets"]["mt"] == 0


def run(adata: anndata.AnnData, folder: Path, *arguments: str):
    adata.write_h5ad(folder / "s.ingest.h5ad")
    given = ["--id", "s", "--counts", str(folder / "s.ingest.h5ad"), "--output-dir", str(folder), *arguments]
    return CliRunner().invoke(main, given)


def test_command_writes_section_summary_and_figure(tmp_path):
    done = run(changed([0], 0), tmp_path, "--nmads", "8")
    assert done.exit_code == 0, done.output
    kept = anndata.read_h5ad(tmp_path / "s.qc.h5ad")
    summary = json.loads((tmp_path / "s.qc.json").read_text())
    assert summary["parameters"]["min_counts"] == 1 and summary["parameters"]["nmads"] == 8
    assert (summary["result"]["n_spots"], summary["result"]["n_genes"]) == kept.shape == (59, len(GENES) - 1)
    assert kept.uns["mmsrl"]["pitch_px"] == 100 and kept.uns["spatial"]["s"]["images"]["lowres"].dtype == np.uint8
    with Image.open(tmp_path / "s.qc.png") as image:
        assert image.format == "PNG" and min(image.size) > 300


def test_command_that_leaves_nothing_writes_nothing(tmp_path):
    done = run(section(), tmp_path, "--min-counts", "100000")
    assert done.exit_code == 2
    assert done.stderr.startswith(
        "mmsrl-qc: error: sample s: no spot is left: --min_counts 100000 removes all 60 spots"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["s.ingest.h5ad"]


def test_foreign_or_damaged_counts_end_in_one_message(tmp_path):
    path = tmp_path / "odd.h5ad"
    section().write_h5ad(path)
    whole = path.read_bytes()
    foreign = section()
    del foreign.uns["mmsrl"]
    foreign.write_h5ad(tmp_path / "foreign.h5ad")
    for content in (b"", b"text", whole[: len(whole) // 2], (tmp_path / "foreign.h5ad").read_bytes()):
        path.write_bytes(content)
        done = CliRunner().invoke(main, ["--id", "s", "--counts", str(path), "--output-dir", str(tmp_path / "out")])
        assert done.exit_code == 2
        assert re.search(r"sample s: odd\.h5ad: (not HDF5|has no uns/mmsrl/sample; give the \.h5ad)", done.stderr)


@pytest.mark.parametrize("square", [True, False])
def test_spots_are_drawn_true_to_scale(square):
    spots = _drawing.spots(np.array([[100.0, 50.0], [300.0, 50.0]]), 40.0, square)
    outline = spots.get_paths()[0].vertices
    np.testing.assert_allclose(outline.max(axis=0) - outline.min(axis=0), 40, rtol=0.01)
    np.testing.assert_allclose((outline.max(axis=0) + outline.min(axis=0)) / 2, [100, 50])


def test_kept_and_removed_spots_are_where_they_belong(tmp_path):
    coordinates = np.array([[x, y] for y in range(0, 1000, 100) for x in range(0, 1000, 100)], dtype=float)
    keep = coordinates[:, 0] < 500
    panels = [figure.Panel("Counts", np.arange(100.0), True), figure.Panel("Unknown", np.full(100, np.nan), False)]
    figure.draw("s", coordinates, 100.0, True, panels, keep, None, 1.0).savefig(tmp_path / "f.png")
    pixels = np.asarray(Image.open(tmp_path / "f.png").convert("RGB")).astype(int)
    where = {}
    for name, color in (("kept", figure.KEPT), ("removed", figure.REMOVED)):
        rgb = [int(color[k : k + 2], 16) for k in (1, 3, 5)]
        where[name] = np.flatnonzero((abs(pixels - rgb).max(axis=2) < 8).sum(axis=0) > 100)
    assert where["kept"].size and where["removed"].size
    assert where["kept"].max() < where["removed"].min()
    assert where["kept"].size == pytest.approx(where["removed"].size, rel=0.03)


@pytest.mark.parametrize(
    ("spoil", "species", "message"),
    [
        (lambda a: a.X.data.__imul__(0.5), "auto", "sample s: X must hold raw counts, but .* not whole"),
        (lambda a: a.obs.__setitem__("in_tissue", ["True"] * 60), "auto", "must be 0 or 1 .* correct it at spot b0"),
        (lambda a: a.obs.__setitem__("in_tissue", [1.0] * 59 + [np.nan]), "auto", "correct it at spot b59"),
        (lambda a: None, "chicken", "species 'chicken' is not one of human, mouse, unknown"),
    ],
)
def test_what_is_no_section_is_said(spoil, species, message):
    adata = section()
    spoil(adata)
    with pytest.raises(InputError, match=message):
        quality_control(adata, species=species)
