from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from biology import GAINING, LOSING, SPARSE, add_to_assembled, write_findings
from click.testing import CliRunner
from report_page import Page

from mmsrl.assemble.cli import main as assemble
from mmsrl.features.gallery import Gallery, write_gallery
from mmsrl.report.cli import main as report
from mmsrl.report.content import show
from mmsrl.report.methods import REFERENCES, paragraphs
from mmsrl.report.payload import LEVELS
from mmsrl.report.pictures import SHOWN
from mmsrl.report.stages import qc_filters

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import SmallRun


def make_report(run: SmallRun) -> tuple[str, dict[str, Any]]:
    result = CliRunner().invoke(report, run.report_arguments())
    assert result.exit_code == 0, result.output
    html = (run.folder / "mmsrl_report.html").read_text(encoding="utf-8")
    return html, json.loads((run.folder / "manifest.json").read_text(encoding="utf-8"))


Made = tuple["SmallRun", Page, dict[str, Any]]


@pytest.fixture(scope="module")
def made(template_assembled: SmallRun, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A report that tests only read: run, page and manifest."""
    run = template_assembled.copy(tmp_path_factory.mktemp("report"))
    html, manifest = make_report(run)
    return run, Page(html), manifest


def test_report_says_what_happened_and_loads_nothing(made: Made) -> None:
    _, page, _ = made
    for text in ("3 samples", "white & grey", "the most stable of 3 to 4", "ARI", "0.625"):
        assert text in page.text
    assert "no image features: there is no image" in page.text
    assert page.text.count("genes of pair were intersected") == 3  # overview once, and its two samples
    assert all(link.startswith(("data:", "#")) for link in page.links)
    packed = {id for id in page.payloads if id.endswith("-payload")}
    assert packed == {"sample-1-S1-payload", "sample-2-S2-payload", "sample-3-lone-payload"}


@pytest.fixture(scope="module")
def biology(template_assembled: SmallRun, tmp_path_factory: pytest.TempPathFactory) -> SmallRun:
    """A run with markers, trajectory and enhancement of the pair, and none of the section on its own."""
    run = template_assembled.copy(tmp_path_factory.mktemp("biology"))
    for sample in ("S1", "S2"):
        add_to_assembled(run.folder / f"{sample}.mmsrl.h5ad")
    write_findings(run.folder, "pair", ("S1", "S2"))
    return run


def test_markers_trajectory_and_enhancement_are_shown(biology: SmallRun) -> None:
    html, _ = make_report(biology)
    page = Page(html)
    assert "1 (0.12) → 2 (0.50)" in page.text
    assert "3 spots cannot be reached" in page.text
    assert "correlate with it by 0.75 (median). Not sure: domain 1 comes before domain 2 in only 8 of 11." in page.text
    assert "rising: G0; falling: G1, G2" in page.text
    assert "Of 19 genes, it explains 5 % or more of the variance over spots of 7" in page.text
    assert "G2 (0.62)" in page.text
    # On both samples of the unit, and not on the third.
    headline = (
        "better for 3 %, worse for 3 % and undecided for 95 % of the 38 genes with at least 50 held-out molecules"
    )
    assert page.text.count(headline) == 2
    assert "Neufeld" in page.text
    for kind in ("paga", "boxes", "trends", "over-normalised", "over-smoothed", "training", "markers", "judged"):
        # Once in the page, whatever the number of samples that show it.
        assert html.count(f'id="unit-pair-{kind}"') == 1, kind
        assert html.count(f'data-figure="unit-pair-{kind}"') + html.count(f'data-table="unit-pair-{kind}"') == 2


def test_denoising_that_was_not_made_is_said_and_not_explained(template_assembled: SmallRun, tmp_path: Path) -> None:
    run = template_assembled.copy(tmp_path / "run")
    summary = {"stage": "enhance", "id": "lone", "parameters": {}, "messages": []}
    result = {"skipped": "not made: expression is normalised already"}
    (run.folder / "lone.enhance.json").write_text(json.dumps(summary | {"result": result}))
    html, _ = make_report(run)
    assert "De-noised expression was not made: expression is normalised already." in Page(html).text
    assert "Every molecule went at random" not in html


def test_a_unit_of_one_domain_is_reported_with_all_others(small_run: SmallRun) -> None:
    folder = small_run.folder
    path = folder / "unit" / "pair.domains.csv"
    pd.read_csv(path, dtype=str).assign(domain="1").to_csv(path, index=False)
    for unit in ("pair", "lone"):
        assert CliRunner().invoke(assemble, small_run.assemble_arguments(unit)).exit_code == 0
    for sample in ("S1", "S2"):
        add_to_assembled(folder / f"{sample}.mmsrl.h5ad")
    write_findings(folder, "pair", ("S1", "S2"))
    # Nothing is tested, so that there is nothing to find again.
    untested = {"n_markers": {"1": 0}, "n_specific": {"1": 0}, "markers": {"1": []}, "recovered": {}, "gene_sets": []}
    alone = {"paga": [], "median_rank": {"1": 0.5}, "order_agreement": None}
    for stage, result in (("markers", untested), ("trajectory", alone)):
        summary = json.loads((folder / f"pair.{stage}.json").read_text())
        summary["result"] |= result
        (folder / f"pair.{stage}.json").write_text(json.dumps(summary))
    html, manifest = make_report(small_run)
    assert [entry["sample"] for entry in manifest["samples"]] == ["S1", "S2", "lone"]
    text = Page(html).text
    assert (
        "Found again" in text
        and "Pseudotime runs from domain 1 to domain 10. It starts at the spot" in text
        and "nothing tells how sure" in text
    )
    assert 'id="unit-pair-boxes"' in html
    assert 'id="unit-pair-paga"' not in html and "How domains connect" not in text


def test_tables_hold_what_is_searched(biology: SmallRun) -> None:
    payloads = Page(make_report(biology)[0]).payloads
    markers = {column["title"]: column["cells"] for column in payloads["unit-pair-markers"]}
    assert markers["Domain"] == ["1"] * 3 + ["2"] * 3 + ["10"] * 3
    assert markers["Gene"] == [f"G{index}" for index in range(9)]
    assert markers["Specific"] == [False, True, False] * 3
    assert markers["Samples where higher"] == [2] * 9
    assert markers["at least"] == [1.5, 1.0, 0.5] * 3
    judged = {column["title"]: column["cells"] for column in payloads["unit-pair-judged"]}
    # One gene has no held-out molecule.
    assert judged["Gene"][0] == GAINING and judged["Gene"][-2:] == [LOSING, SPARSE] and len(judged["Gene"]) == 39
    assert judged["De-noising"] == ["better", *["undecided"] * 36, "worse", "too few molecules"]
    assert judged["Saved over the neighbourhood"][0] == 0.5
    assert {column["title"]: column["cells"] for column in payloads["unit-pair-gene-sets"]}["Gene set"] == [
        "<ribosomal>"
    ]


def test_genes_are_shown_raw_and_de_noised(biology: SmallRun) -> None:
    arguments = [*biology.report_arguments(), "--report-genes", "G0, G19,G99"]
    result = CliRunner().invoke(report, arguments)
    assert result.exit_code == 0
    page = Page((biology.folder / "mmsrl_report.html").read_text(encoding="utf-8"))
    for note in ("gene G99 is in no sample", "gene G19 is not in S2"):
        assert note in result.output and note in page.text
    genes = page.payloads["sample-1-S1-payload"]["genes"]
    # Asked for; the specific marker of each domain, then the first; gains most.
    assert list(genes) == ["G0", "G19", "G1", "G4", "G3", "G7", "G6"]
    assert "G19" not in page.payloads["sample-2-S2-payload"]["genes"]
    assert page.payloads["sample-3-lone-payload"]["genes"].keys() == {"G0", "G19"}
    assert [name for name, gene in genes.items() if gene["enhanced"]] == [GAINING]
    adata = ad.read_h5ad(biology.folder / "S1.mmsrl.h5ad")
    x = adata.obsm["spatial"][:, 0]
    for kept, stored in (
        (genes[GAINING]["raw"], adata[:, GAINING].X.toarray().ravel()),
        (genes[GAINING]["enhanced"], 1 + (x - x.min()) / np.ptp(x)),
    ):
        step = (kept["high"] - kept["low"]) / LEVELS
        np.testing.assert_allclose(kept["low"] + step * np.array(kept["steps"]), stored, atol=step)


def test_what_comes_from_outside_is_escaped(made: Made) -> None:
    # Were it not escaped, the parser would take it for a script and not for text.
    assert "<script>alert(1)</script>" in made[1].text


def test_interactive_figures_hold_every_spot(made: Made) -> None:
    run, page, _ = made
    data = page.payloads["sample-2-S2-payload"]
    assert data["domains"] == ["1", "2", "10"]
    assert [data["domains"][code] for code in data["domain"]] == run.domains["S2"]
    assert data["barcode"][3] == "<b>3-1"
    np.testing.assert_allclose(np.diff(data["x"][:8]), 40)
    assert set(data["values"]) == {"Counts", "Genes"}  # the mitochondrial percentage is zero everywhere


def test_manifest_tells_how_to_repeat_the_run(made: Made) -> None:
    _, _, manifest = made
    assert manifest["parameters"]["preset"] == "default"
    assert manifest["seeds"] == {"domains lone": 0, "domains pair": 0, "train lone": 7, "train pair": 7}
    assert manifest["versions"]["packages"] == {"plotly": "6.0.0", "python": "3.11.7", "torch": "2.4.0"}
    assert [entry["sample"] for entry in manifest["samples"]] == ["S1", "S2", "lone"]
    image = {"file": "hires", "sha256": "ef" * 32, "weights": {"net": "cd" * 32}}
    assert [entry["image"] for entry in manifest["samples"]] == [image, image, None]
    assert manifest["samples"][0]["inputs"] == [{"file": "counts.h5", "bytes": 3, "sha256": "ab" * 32}]


def test_same_input_gives_the_same_bytes(assembled_run: SmallRun) -> None:
    assert make_report(assembled_run) == make_report(assembled_run)  # text and manifest


def test_report_of_assembled_samples_alone(assembled_run: SmallRun) -> None:
    arguments = [
        "--output-dir",
        str(assembled_run.folder),
        "--assembled",
        str(assembled_run.folder / "lone.mmsrl.h5ad"),
    ]
    assert CliRunner().invoke(report, arguments).exit_code == 0
    text = Page((assembled_run.folder / "mmsrl_report.html").read_text(encoding="utf-8")).text
    assert "There is no training log." in text
    assert "Warnings There are none." in " ".join(text.split())


@pytest.mark.parametrize(
    ("option", "content", "message"),
    [
        ("--summaries", "{", "line 1: not JSON"),
        ("--summaries", "[]", "not the summary of a stage"),
        ("--versions", "python: 3", "expected a mapping of tools to versions"),
    ],
)
def test_broken_files_are_named(assembled_run: SmallRun, option: str, content: str, message: str) -> None:
    broken = assembled_run.folder / "broken"
    broken.write_text(content)
    result = CliRunner().invoke(report, [*assembled_run.report_arguments(), option, str(broken)])
    assert result.exit_code == 2
    assert "broken: " in result.output
    assert message in result.output


def test_file_of_another_program_is_an_error(assembled_run: SmallRun) -> None:
    path = assembled_run.folder / "S1.qc.h5ad"
    result = CliRunner().invoke(report, ["--assembled", str(path), "--output-dir", str(assembled_run.folder)])
    assert result.exit_code == 2
    assert "S1.qc.h5ad: " in result.output
    assert "give the .h5ad that mmsrl-assemble wrote" in result.output


def test_filters_are_told_in_words() -> None:
    nmads = {
        "filter": "nmads",
        "value": 5,
        "metric": "total_counts",
        "side": "below",
        "threshold": 12.3456,
        "removed": 4,
    }
    rows = qc_filters(
        {
            "spot_filters": [{"filter": "in_tissue", "value": None, "threshold": 1, "removed": 2}, nmads],
            "gene_filters": [{"filter": "min_spots", "value": 3, "removed": 9}],
            "spots_without_counts_in_kept_genes": 1,
        }
    )
    assert [row["reason"] for row in rows] == [
        "outside tissue",
        "Counts below 12.35 (5 median absolute deviations)",
        "detected in fewer spots than 3",
        "no counts in the genes that are left",
    ]
    assert [row["removed"] for row in rows] == [2, 4, 9, 1]
    assert qc_filters({}) == []


@pytest.mark.parametrize(
    ("preset", "words"), [("mmsrl", "MMSRL model as published"), ("stmmr", "stMMR model as published")]
)
def test_methods_tell_the_model_and_cite_only_what_was_used(preset: str, words: str) -> None:
    result = {"samples": {"a": 9}, "n_genes": 9}
    train = {"stage": "train", "id": "a", "parameters": {"preset": preset, "seed": 3}, "result": result}
    steps = paragraphs([train])
    assert words in steps[0].text
    assert "seed 3" in steps[0].text
    cited = {name for step in steps for name in step.cites}
    assert cited <= set(REFERENCES)
    assert "harmony" not in cited
    assert "Leiden" not in cited


def test_methods_tell_of_a_test_only_where_there_was_one() -> None:
    tested, untested = ({"stage": "markers", "id": "a", "result": {"found_anew": anew}} for anew in (True, False))
    assert "not tested" not in paragraphs([tested])[0].text and "score test" in paragraphs([tested])[0].text
    assert "limma" not in paragraphs([tested])[0].text
    over = paragraphs([tested | {"result": {"found_anew": True, "pseudobulk": {"sections": 4, "domains": ["1"]}}}])[0]
    assert "enough sections (4 or more)" in over.text and "limma" in over.cites
    assert "not tested" in paragraphs([untested])[0].text and "score test" not in paragraphs([untested])[0].text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (math.nan, "–"), (True, "yes"), (12345, "12,345"), (0.123456, "0.1235"), (1e6 + 0.5, "1,000,000")],
)
def test_values_are_written_for_people(value: Any, text: str) -> None:
    assert show(value) == text


def test_cells_are_called_so_and_their_distance_is_said_once(assembled_run: SmallRun) -> None:
    path = assembled_run.folder / "lone.mmsrl.h5ad"
    adata = ad.read_h5ad(path)
    n = f"{adata.n_obs:,}"
    adata.uns["mmsrl"] |= {"platform": "xenium", "lattice": "none", "pitch_px": 9.0, "pitch_um": 9.0, "um_per_px": 1.0}
    adata.write_h5ad(path)
    assert CliRunner().invoke(report, assembled_run.report_arguments()).exit_code == 0
    text = Page((assembled_run.folder / "mmsrl_report.html").read_text(encoding="utf-8")).text
    assert re.search(r"Distance to neighbours ?9 µm ?Species", text)
    assert re.search(rf"Cells ?{n}", text) and re.search(r"Spots ?\d", text)


def test_report_shows_pictures_of_every_domain(assembled_run: SmallRun) -> None:
    barcodes = [f"<b>{number}-1" for number in range(120)]
    tiles = np.random.default_rng(0).integers(0, 255, (120, 48, 48, 3), dtype=np.uint8)
    write_gallery(
        assembled_run.folder / "S1.tiles.tif", Gallery([*barcodes, "removed-1"], 200.0, np.vstack([tiles, tiles[:1]]))
    )
    arguments = [*assembled_run.report_arguments(), "--tiles", str(assembled_run.folder / "S1.tiles.tif")]
    assert CliRunner().invoke(report, arguments).exit_code == 0
    html = (assembled_run.folder / "mmsrl_report.html").read_text(encoding="utf-8")
    assert "A picture is 200 µm wide, the bar 50 µm." in Page(html).text
    shown = re.findall(r'alt="Tissue at spot &lt;b&gt;(\d+)-1 of domain (\d+)"', html)
    assert len(shown) == 3 * SHOWN
    assert all(assembled_run.domains["S1"][int(spot)] == domain for spot, domain in shown)
    assert html.count('<i class="spot"') == 3 * SHOWN and "width:31.2%" in html  # a spot of 25 px in 80


def test_a_scale_that_is_not_known_is_said_beside_pitch_and_pictures(assembled_run: SmallRun) -> None:
    tiles = np.random.default_rng(0).integers(0, 255, (40, 48, 48, 3), dtype=np.uint8)
    path = assembled_run.folder / "lone.tiles.tif"
    write_gallery(path, Gallery([f"<b>{number}-1" for number in range(40)], math.nan, tiles))
    assert CliRunner().invoke(report, [*assembled_run.report_arguments(), "--tiles", str(path)]).exit_code == 0
    text = Page((assembled_run.folder / "mmsrl_report.html").read_text(encoding="utf-8")).text
    assert "units of the coordinates (µm not known: give um_per_px)" in text
    assert "100 µm, 40 units of the coordinates" in text
    html = (assembled_run.folder / "mmsrl_report.html").read_text(encoding="utf-8")
    assert len(re.findall(r'<span class="bar"', html)) == 2  # and none on the third section
    assert "A picture is two distances of neighbouring spots wide; how many µm that is is not known." in text


def test_pictures_of_another_program_are_named(assembled_run: SmallRun) -> None:
    broken = assembled_run.folder / "S1.tiles.tif"
    broken.write_bytes(b"II*\0nothing")
    result = CliRunner().invoke(report, [*assembled_run.report_arguments(), "--tiles", str(broken)])
    assert result.exit_code == 2 and "S1.tiles.tif: not the pictures" in result.output
