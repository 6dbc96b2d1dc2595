"""The page of a section, and its card."""

from __future__ import annotations

import json
import math
import re
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from biology import GAINING, LOSING, SPARSE, add_biology
from click.testing import CliRunner
from report_page import Page, Report, make_report

from mmsrl.assemble.cli import main as assemble
from mmsrl.features.gallery import Gallery, write_gallery
from mmsrl.page.card import Card
from mmsrl.page.cli import main
from mmsrl.page.payload import LEVELS
from mmsrl.page.pictures import SHOWN
from mmsrl.page.stages import qc_filters
from mmsrl.page.words import show

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import SmallRun


@pytest.fixture(scope="module")
def made(template_assembled: SmallRun, tmp_path_factory: pytest.TempPathFactory) -> tuple[SmallRun, Report]:
    """A run, and its report that tests only read."""
    run = template_assembled.copy(tmp_path_factory.mktemp("page"))
    return run, make_report(run)


def test_page_says_what_happened_to_its_section_alone(made: tuple[SmallRun, Report]) -> None:
    labelled, lone = made[1].page("S1").text, made[1].page("lone").text
    for text in ("white & grey", "the most stable of 3 to 4", "ARI", "0.625", "Trained together with S2 as group pair"):
        assert text in labelled
    assert "genes of pair were intersected" in labelled and "genes of pair" not in lone
    assert "no image features: there is no image" in lone and "no image features" not in labelled
    assert "the section has no labels" in lone


def test_page_loads_nothing_but_what_lies_beside_it(made: tuple[SmallRun, Report]) -> None:
    page = made[1].page("S1")
    own = [link for link in page.links if not link.startswith(("data:", "#"))]
    assert own == ["../mmsrl_report.html", "../assets/sections.js"]
    assert 'data-assets="../assets"' in made[1].source("S1")
    assert [id for id in page.payloads if id.endswith("-payload")] == ["section-payload"]
    for file in ("plotly.min.js", "sections.js"):
        assert (made[1].folder / "assets" / file).exists()


def test_card_has_what_the_report_needs_and_is_small(made: tuple[SmallRun, Report]) -> None:
    path = made[1].folder / "sections/S1.card.json"
    card = json.loads(path.read_text(encoding="utf-8"))
    assert card.keys() == {field.name for field in fields(Card)}
    assert (card["sample"], card["unit"], card["unit_sections"], card["n_spots"], card["n_spots_before"]) == (
        *("S1", "pair"),
        *(2, 120, 125),
    )
    assert card["domains"] == {"1": 48, "2": 36, "10": 36} and card["scores"] == {"ARI": 0.625}
    assert card["flags"] == [] and card["warnings"] == 1
    assert json.loads((path.parent / "lone.card.json").read_text())["flags"] == ["features"]
    assert path.stat().st_size < 40_000


def test_sections_of_another_unit_are_refused(assembled_run: SmallRun) -> None:
    arguments = [*assembled_run.page_arguments("pair"), "--assembled", str(assembled_run.folder / "lone.mmsrl.h5ad")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert "lone.mmsrl.h5ad: belongs to unit lone, not to pair" in result.output
    assert not list(assembled_run.report.glob("sections/*"))


def test_design_stands_on_the_page(assembled_run: SmallRun) -> None:
    path = assembled_run.folder / "S1.mmsrl.h5ad"
    adata = ad.read_h5ad(path)
    for name, value in {"condition": "ctrl", "donor": "mouse-1", "covariate_sex": "<f>"}.items():
        adata.obs[name] = pd.Categorical([value] * adata.n_obs)
    adata.write_h5ad(path)
    report = make_report(assembled_run)
    assert re.search(r"Condition ?ctrl ?Donor ?mouse-1 ?Sex ?<f>", report.page("S1").text)
    assert "Condition" not in report.page("S2").text
    assert (
        'data-words="s1 pair 10x visium ctrl mouse-1 &lt;f&gt;"' in report.html
        or "ctrl mouse-1 &lt;f&gt;" in report.html
    )


@pytest.fixture(scope="module")
def biology(template_assembled: SmallRun, tmp_path_factory: pytest.TempPathFactory) -> SmallRun:
    """A run with markers, trajectory and enhancement of the pair, and none of the section on its own."""
    run = template_assembled.copy(tmp_path_factory.mktemp("biology"))
    add_biology(run.folder)
    return run


def test_markers_trajectory_and_enhancement_are_shown(biology: SmallRun) -> None:
    report = make_report(biology)
    page = report.page("S1")
    assert "1 (0.12) → 2 (0.50)" in page.text
    assert "3 spots are not connected to the root" in page.text
    assert (
        "correlates with this one by 0.75 (median). Uncertain: domain 1 comes before domain 2 in only 8 of 11."
        in page.text
    )
    assert "Top rising genes: G0. Top falling genes: G1, G2." in page.text
    assert "7 of 19 genes change along pseudotime" in page.text
    assert "G2 (0.62)" in page.text
    # On both samples of the unit, and not on the third.
    headline = (
        "better for 3 %, worse for 3 % and undecided for 95 % of the 38 genes with at least 50 held-out molecules"
    )
    assert [headline in report.page(sample).text for sample in ("S1", "S2", "lone")] == [True, True, False]
    assert "Neufeld" in report.overview.text
    for kind in ("paga", "boxes", "trends", "over-normalised", "over-smoothed", "training", "markers", "judged"):
        html = report.source("S2")
        assert html.count(f'id="unit-{kind}"') == 1, kind
        assert html.count(f'data-figure="unit-{kind}"') + html.count(f'data-table="unit-{kind}"') == 1


def test_denoising_that_was_not_made_is_said_and_not_explained(template_assembled: SmallRun, tmp_path: Path) -> None:
    run = template_assembled.copy(tmp_path / "run")
    summary = {"stage": "enhance", "id": "lone", "parameters": {}, "messages": []}
    result = {"skipped": "not made: expression is normalised already"}
    (run.folder / "lone.enhance.json").write_text(json.dumps(summary | {"result": result}))
    report = make_report(run)
    assert "De-noised expression was not made: expression is normalised already." in report.page("lone").text
    assert "Every molecule was assigned at random" not in report.source("lone")


def test_a_unit_of_one_domain_is_reported_with_all_others(small_run: SmallRun) -> None:
    folder = small_run.folder
    path = folder / "unit" / "pair.domains.csv"
    pd.read_csv(path, dtype=str).assign(domain="1").to_csv(path, index=False)
    for unit in ("pair", "lone"):
        assert CliRunner().invoke(assemble, small_run.assemble_arguments(unit)).exit_code == 0
    add_biology(folder)
    # Nothing is tested, so that there is nothing to find again.
    untested = {"n_markers": {"1": 0}, "n_specific": {"1": 0}, "markers": {"1": []}, "recovered": {}, "gene_sets": []}
    alone = {"paga": [], "median_rank": {"1": 0.5}, "order_agreement": None}
    for stage, result in (("markers", untested), ("trajectory", alone)):
        summary = json.loads((folder / f"pair.{stage}.json").read_text())
        summary["result"] |= result
        (folder / f"pair.{stage}.json").write_text(json.dumps(summary))
    report = make_report(small_run)
    assert [entry["sample"] for entry in report.manifest["samples"]] == ["S1", "S2", "lone"]
    html, text = report.source("S1"), report.page("S1").text
    assert (
        "Agreement of the halves" in text
        and "Pseudotime runs from domain 1 to domain 10. It starts at the spot" in text
        and "the certainty of the order is not known" in text
    )
    assert 'id="unit-boxes"' in html
    assert 'id="unit-paga"' not in html and "Connectivity of the domains" not in text


def test_domains_are_listed_with_their_markers_and_gene_set(biology: SmallRun) -> None:
    report = make_report(biology)
    (table,) = re.findall(r'aria-label="Domains of S1".*?</table>', report.source("S1"), flags=re.DOTALL)
    rows = [" ".join(Page(row).text.split()) for row in re.findall(r"<tr>.*?</tr>", table, flags=re.DOTALL)[2:]]
    # Specific markers come first.
    assert [re.search(r"G\d.*?G\d.*?G\d", row).group() for row in rows] == ["G1, G0, G2", "G4, G3, G5", "G7, G6, G8"]
    assert ["<ribosomal> adjusted p 0.001" in row for row in rows] == [False, True, False]
    assert "10 G7, G6, G8" in " ".join(report.overview.text.split())


def test_values_have_a_unit_on_their_colour_bar(biology: SmallRun) -> None:
    data = make_report(biology).page("S1").payloads["section-payload"]
    assert data["labels"].keys() == data["values"].keys()
    assert data["labels"]["Counts"] == "Counts (molecules)" and data["expression"] == "ln(1 + scaled counts)"


def test_tables_hold_what_is_searched(biology: SmallRun) -> None:
    payloads = make_report(biology).page("S1").payloads
    markers = {column["title"]: column["cells"] for column in payloads["unit-markers"]}
    assert markers["Domain"] == ["1"] * 3 + ["2"] * 3 + ["10"] * 3
    assert markers["Gene"] == [f"G{index}" for index in range(9)]
    assert markers["Specific"] == [False, True, False] * 3
    assert markers["Samples with higher level"] == [2] * 9
    assert markers["at least"] == [1.5, 1.0, 0.5] * 3
    judged = {column["title"]: column["cells"] for column in payloads["unit-judged"]}
    # One gene has no held-out molecule.
    assert judged["Gene"][0] == GAINING and judged["Gene"][-2:] == [LOSING, SPARSE] and len(judged["Gene"]) == 39
    assert judged["Verdict"] == ["better", *["undecided"] * 36, "worse", "too few molecules"]
    assert judged["Saved over neighbourhood"][0] == 0.5
    assert {column["title"]: column["cells"] for column in payloads["unit-gene-sets"]}["Gene set"] == ["<ribosomal>"]


def test_genes_are_shown_raw_and_de_noised(biology: SmallRun) -> None:
    report = make_report(biology, pages=("--report-genes", "G0, G19,G99"))
    for note in ("gene G99 is in no section", "gene G19 is not in S2"):
        assert note in report.said and note in report.overview.text
    assert "S2 has no G19, G99" in report.said and "Not in this section: G19, G99." in report.page("S2").text
    genes = report.page("S1").payloads["section-payload"]["genes"]
    # Asked for; the specific marker of each domain, then the first; gains most.
    assert list(genes) == ["G0", "G19", "G1", "G4", "G3", "G7", "G6"]
    assert "G19" not in report.page("S2").payloads["section-payload"]["genes"]
    assert report.page("lone").payloads["section-payload"]["genes"].keys() == {"G0", "G19"}
    assert [name for name, gene in genes.items() if gene["enhanced"]] == [GAINING]
    adata = ad.read_h5ad(biology.folder / "S1.mmsrl.h5ad")
    x = adata.obsm["spatial"][:, 0]
    for kept, stored in (
        (genes[GAINING]["raw"], adata[:, GAINING].X.toarray().ravel()),
        (genes[GAINING]["enhanced"], 1 + (x - x.min()) / np.ptp(x)),
    ):
        step = (kept["high"] - kept["low"]) / LEVELS
        np.testing.assert_allclose(kept["low"] + step * np.array(kept["steps"]), stored, atol=step)


def test_interactive_figures_hold_every_spot(made: tuple[SmallRun, Report]) -> None:
    run, report = made
    data = report.page("S2").payloads["section-payload"]
    assert data["domains"] == ["1", "2", "10"]
    assert [data["domains"][code] for code in data["domain"]] == run.domains["S2"]
    assert data["barcode"][3] == "<b>3-1"
    np.testing.assert_allclose(np.diff(data["x"][:8]), 40)
    assert set(data["values"]) == {"Counts", "Genes"}  # the mitochondrial percentage is zero everywhere


def test_file_of_another_program_is_an_error(assembled_run: SmallRun) -> None:
    path = assembled_run.folder / "S1.qc.h5ad"
    result = CliRunner().invoke(
        main, ["--id", "S1", "--assembled", str(path), "--output-dir", str(assembled_run.folder)]
    )
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
        "outside the tissue",
        "Counts below 12.35 (5 median absolute deviations)",
        "detected in fewer spots than 3",
        "no counts in the remaining genes",
    ]
    assert [row["removed"] for row in rows] == [2, 4, 9, 1]
    assert qc_filters({}) == []


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
    report = make_report(assembled_run)
    text = report.page("lone").text
    assert re.search(r"Distance to neighbours ?9 µm ?Species", text)
    assert re.search(rf"Cells ?{n}", text) and re.search(r"Spots ?\d", report.page("S1").text)


def test_page_shows_pictures_of_every_domain(assembled_run: SmallRun) -> None:
    barcodes = [f"<b>{number}-1" for number in range(120)]
    tiles = np.random.default_rng(0).integers(0, 255, (120, 48, 48, 3), dtype=np.uint8)
    write_gallery(
        assembled_run.folder / "S1.tiles.tif", Gallery([*barcodes, "removed-1"], 200.0, np.vstack([tiles, tiles[:1]]))
    )
    html = make_report(assembled_run, pages=("--tiles", str(assembled_run.folder / "S1.tiles.tif"))).source("S1")
    assert "Each picture is 200 µm wide. The bar is 50 µm long." in Page(html).text
    shown = re.findall(r'alt="Tissue at spot &lt;b&gt;(\d+)-1 of domain (\d+), ', html)
    assert len(shown) == 3 * SHOWN
    assert all(assembled_run.domains["S1"][int(spot)] == domain for spot, domain in shown)
    assert html.count('<i class="spot"') == 3 * SHOWN and "width:31.2%" in html  # a spot of 25 px in 80


def test_a_scale_that_is_not_known_is_said_beside_pitch_and_pictures(assembled_run: SmallRun) -> None:
    tiles = np.random.default_rng(0).integers(0, 255, (40, 48, 48, 3), dtype=np.uint8)
    path = assembled_run.folder / "lone.tiles.tif"
    write_gallery(path, Gallery([f"<b>{number}-1" for number in range(40)], math.nan, tiles))
    report = make_report(assembled_run, pages=("--tiles", str(path)))
    text = report.page("lone").text
    assert "coordinate units (not known in µm; set um_per_px)" in text
    assert "100 µm, 40 coordinate units" in report.page("S1").text
    assert ['<span class="bar"' in report.source(sample) for sample in ("S1", "S2", "lone")] == [True, True, False]
    assert "Each picture is two spot distances wide. Its width in µm is not known." in text


def test_pictures_of_another_program_are_named(assembled_run: SmallRun) -> None:
    broken = assembled_run.folder / "S1.tiles.tif"
    broken.write_bytes(b"II*\0nothing")
    result = CliRunner().invoke(main, [*assembled_run.page_arguments("pair"), "--tiles", str(broken)])
    assert result.exit_code == 2 and "S1.tiles.tif: not the pictures" in result.output
