from __future__ import annotations

import base64
import gzip
import io
import json
import math
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from biology import GAINING, LOSING, add_to_assembled, write_findings
from click.testing import CliRunner
from PIL import Image

from mmsrl.features.gallery import Gallery, write_gallery
from mmsrl.report.charts import INK, MAX_POINTS, domain_map, evidence, training_curves
from mmsrl.report.cli import main as report
from mmsrl.report.content import brief, show
from mmsrl.report.genes import ASKED, GAINS, MARKERS, listed_genes
from mmsrl.report.methods import REFERENCES, paragraphs
from mmsrl.report.payload import LEVELS, MAX_INTERACTIVE_SPOTS, MAX_REPORT_SPOTS, drawn_spots, tissue_payload
from mmsrl.report.pictures import SHOWN, choose_spots
from mmsrl.report.series import MOST_GENES, adjoining_domains, domain_graph, drawn_genes, gene_trends
from mmsrl.report.stages import qc_filters
from mmsrl.report.tissue import (
    ELSEWHERE,
    MAX_IMAGE_SIDE,
    Section,
    background,
    domain_figure,
    layout_figure,
    shades,
    window_of,
)

if TYPE_CHECKING:
    from conftest import SmallRun


class Page(HTMLParser):
    """Text that a reader sees, attributes that could load something, and the payloads, of a report."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.links, self.payloads = "", [], {}
        self._inside: tuple[str, str | None] = ("", None)
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self._inside = (tag, attributes.get("id"))
        self.links += [
            value for name, value in attributes.items() if name in ("src", "href", "srcset", "data", "action")
        ]

    def handle_endtag(self, tag: str) -> None:
        self._inside = ("", None)

    def handle_data(self, data: str) -> None:
        tag, id = self._inside
        if tag == "script" and id and id != "plotly":
            packed = not data.startswith("{")
            self.payloads[id] = json.loads(gzip.decompress(base64.b64decode(data)) if packed else data)
        elif tag not in ("script", "style"):
            self.text += re.sub(r"\s+", " ", data)


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


def section(n: int = 9, **changes: Any) -> Section:
    """Make spots on a square lattice, 3 a row, 10 px apart."""
    x, y = np.arange(n) % 3 * 10.0 + 50, np.arange(n) // 3 * 10.0 + 20
    standard: dict[str, Any] = {
        "barcodes": [f"B{index}" for index in range(n)],
        "x": x,
        "y": y,
        "diameter": 6.0,
        "square": False,
        "domains": ["1" if index % 3 < 2 else "2" for index in range(n)],
        "colors": {"1": "#FF0000", "2": "#0000FF"},
        "values": {"Counts": np.arange(n, dtype=float)},
        "image": None,
        "scale": math.nan,
    }
    return Section(**(standard | changes))


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
    assert "1 (0.125) → 2 (0.5)" in page.text
    assert "3 spots cannot be reached" in page.text
    assert "rising: G0; falling: G1, G2" in page.text
    assert "7 of 19 genes change" in page.text
    assert "G2 (0.625)" in page.text
    assert page.text.count("81 %") == 2 * 4  # of both samples of the unit, and not of the third
    assert "For 1 of 39 genes de-noising does not help" in page.text  # one gene has no held-out molecule
    assert "Neufeld" in page.text
    for kind in ("paga", "boxes", "trends", "over-normalised", "over-smoothed", "training", "markers", "judged"):
        # Once in the page, whatever the number of samples that show it.
        assert html.count(f'id="unit-pair-{kind}"') == 1, kind
        assert html.count(f'data-figure="unit-pair-{kind}"') + html.count(f'data-table="unit-pair-{kind}"') == 2


def test_tables_hold_what_is_searched(biology: SmallRun) -> None:
    payloads = Page(make_report(biology)[0]).payloads
    markers = {column["title"]: column["cells"] for column in payloads["unit-pair-markers"]}
    assert markers["Domain"] == ["1"] * 3 + ["2"] * 3 + ["10"] * 3
    assert markers["Gene"] == [f"G{index}" for index in range(9)]
    assert markers["Specific"] == [False, True, False] * 3
    assert markers["Samples where higher"] == [2] * 9
    judged = {column["title"]: column["cells"] for column in payloads["unit-pair-judged"]}
    assert judged["Gene"][0] == GAINING and judged["Gene"][-1] == LOSING and len(judged["Gene"]) == 39
    assert judged["De-noising"].count("does not help") == 1
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
    for kept, stored in (
        (genes[GAINING]["raw"], adata[:, GAINING].X),
        (genes[GAINING]["enhanced"], adata[:, GAINING].layers["enhanced"]),
    ):
        step = (kept["high"] - kept["low"]) / LEVELS
        np.testing.assert_allclose(kept["low"] + step * np.array(kept["steps"]), stored.toarray().ravel(), atol=step)


def test_genes_are_listed_once_and_not_without_end() -> None:
    markers = {"markers": {str(k): [{"gene": f"g{k}-{i}", "specific": i > 0} for i in range(9)] for k in range(20)}}
    chosen = listed_genes(["x", "g0-1", "x"], markers, {"most": [{"gene": "g3-1"}, {"gene": "y"}]})
    assert chosen[ASKED] == ["x", "g0-1"]
    assert chosen[MARKERS] == [f"g{k}-1" for k in range(1, 20)]
    assert chosen[GAINS] == ["y"]
    assert listed_genes([], {}, {}) == {}


def test_domains_are_placed_along_pseudotime() -> None:
    names = ["a", "b", "c", "d"]
    edges = [{"one": one, "other": other, "connectivity": 0.5} for one, other in zip(names, names[1:], strict=False)]
    order = {"a": 0.9, "b": 0.6, "c": 0.3, "d": 0.1}
    places = domain_graph(names, edges, order)
    assert sorted(names, key=lambda name: places[name][0]) == ["d", "c", "b", "a"]
    assert max(abs(part) for place in places.values() for part in place) == 1
    assert places == domain_graph(names, edges, order)
    # Nothing connects, nothing is known: places all the same, and none on another.
    apart = np.array(list(domain_graph(names, [], {}).values()))
    assert np.isfinite(apart).all() and len(np.unique(apart, axis=0)) == 4


def test_connections_are_as_wide_as_they_are_strong() -> None:
    edges = [{"one": "a", "other": "b", "connectivity": 1.0}, {"one": "b", "other": "c", "connectivity": 0.1}]
    colors = {"a": "#0072B2", "b": "#F0E442", "c": "#000000"}
    figure = domain_map({"a": 400, "b": 100, "c": 100}, edges, {"a": 0.0, "b": 0.5}, colors)
    strong, weak, nodes = figure.data
    assert strong.line.width > 4 * weak.line.width
    assert nodes.marker.size[0] > nodes.marker.size[1] == nodes.marker.size[2]
    assert list(nodes.marker.color) == list(colors.values())
    assert list(nodes.textfont.color) == ["#fff", INK, "#fff"]


def test_trends_are_scaled_gene_by_gene_and_sorted_by_where_they_peak() -> None:
    grid = np.linspace(0, 1, 5)
    curves = {"late": grid * 9, "early": 2 - grid, "flat": np.ones(5)}
    trend = gene_trends({"grid": grid, "genes": [{"gene": gene} for gene in curves], "curves": curves})
    assert [gene for gene in trend.genes if gene != "flat"] == ["early", "late"]
    assert np.isfinite(trend.scaled).all() and trend.scaled.min() == 0 and trend.scaled.max() == 1
    assert gene_trends({}) is None


def test_contacts_are_compared_with_chance() -> None:
    rows = [
        {"domain": one, "neighbour": other, "contacts": contacts, "expected": expected, "z": None}
        for one, other, contacts, expected in (
            ("1", "1", 79.5, 19.5),
            ("1", "2", 0, 49.5),
            ("2", "1", 0, 49.5),
            ("2", "2", 7.5, 15.5),
        )
    ]
    found = adjoining_domains(rows)
    assert found is not None
    np.testing.assert_allclose(found.log2_ratio, np.log2([[4, 0.01], [0.01, 0.5]]), atol=1e-9)
    assert found.cells == [["4", ".01"], [".01", ".50"]]
    assert adjoining_domains(rows[:1]) is None


def test_evidence_draws_the_genes_with_most_molecules_and_an_even_choice_of_the_others() -> None:
    n = 9000
    table = pd.DataFrame(
        {"gene": [f"g{i}" for i in range(n)], "held_out": np.arange(n), "over_mean": np.linspace(-2, 0.5, n)}
    )
    drawn = drawn_genes(table)
    assert 0.99 * MOST_GENES <= len(drawn) <= MOST_GENES
    assert set(range(n - 100, n)) <= set(drawn["held_out"])
    assert drawn["held_out"].min() == 0
    better, worse = evidence(table, "over_mean").data
    assert min(better.y) > 0 and max(worse.y) <= 0
    assert min(worse.y) == -50  # what lies lower stands at the edge
    assert len(better.x) + len(worse.x) == len(drawn)


def test_layout_is_drawn_in_its_colours_over_other_sections() -> None:
    points = np.array([[0.0, 0.0], [10.0, 10.0]])
    figure = np.asarray(layout_figure(points, ["#FF0000", "#0000FF"], np.array([[10.0, 0.0]]), 400))
    assert tuple(figure[388, 12]) == (255, 0, 0)  # y points up
    assert tuple(figure[12, 388]) == (0, 0, 255)
    assert tuple(figure[388, 388]) == tuple(int(ELSEWHERE[at : at + 2], 16) for at in (1, 3, 5))
    assert tuple(figure[200, 200]) == (255, 255, 255)


def test_shades_run_over_the_percentiles_and_are_grey_where_nothing_is_known() -> None:
    values = np.array([np.nan, *np.linspace(0, 1, 101), 1e6])
    colors = shades(values)
    assert colors[0] == ELSEWHERE
    assert colors[1] == colors[2] != colors[50]
    assert colors[-1] == colors[-2]
    assert len(set(shades(np.ones(5)))) == 1


@pytest.mark.parametrize(
    ("value", "text"), [(1448.7, "1,449"), (12.345, "12.3"), (0.04912, "0.049"), (7.0, "7"), (math.nan, "–")]
)
def test_narrow_columns_have_short_numbers(value: float, text: str) -> None:
    assert brief(value) == text


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
    assert "there are no warnings" in text


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


def test_figure_draws_spots_where_they_are() -> None:
    drawn = section()
    figure = np.asarray(domain_figure(drawn, 300))
    window = window_of(drawn)
    zoom = max(figure.shape) / max(window.width, window.height)
    for x, y, domain in zip(drawn.x, drawn.y, drawn.domains, strict=True):
        pixel = figure[round((y - window.top) * zoom), round((x - window.left) * zoom)]
        assert tuple(pixel) == ((255, 0, 0) if domain == "1" else (0, 0, 255))
    assert tuple(figure[0, 0]) == (255, 255, 255)
    # Between two spots of 6 px that are 10 px apart nothing is drawn.
    assert tuple(figure[round((20 - window.top) * zoom), round((55 - window.left) * zoom)]) == (255, 255, 255)


def test_tissue_image_is_cut_where_the_spots_are_also_over_its_edge() -> None:
    image = np.zeros((40, 60, 3), np.uint8)
    image[:, 50:] = 200  # right of x = 100 full-resolution pixels
    drawn = section(x=np.array([92.0, 108.0]), y=np.array([5.0, 5.0]), n=2, image=image, scale=0.5)
    window = window_of(drawn)
    cut = np.asarray(background(drawn, window, 1000))
    assert cut.shape[1] == round(window.width * 0.5)  # its own resolution, not more
    assert window.top < 0
    assert (cut[0] == 255).all()  # above the image
    assert cut[-1, 0, 0] == 0
    assert cut[-1, -1, 0] == 200


def test_payload_keeps_missing_values_and_fine_coordinates() -> None:
    values = {"Counts": np.array([1.0, np.nan, 3.0]), "Share": np.array([0.123456, 1.0, 2.0])}
    drawn = section(3, x=np.array([0.0, 0.256, 1.0]), y=np.zeros(3), diameter=0.2, values=values)
    data = json.loads(gzip.decompress(base64.b64decode(tissue_payload(drawn, {}))))
    assert data["values"] == {"Counts": [1, None, 3], "Share": [0.1235, 1.0, 2.0]}
    np.testing.assert_allclose(np.array(data["x"]) - data["x"][0], [0, 0.256, 1], atol=0.01)


def test_payload_image_is_small() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (2000, 2000, 3), dtype=np.uint8)
    drawn = section(x=np.linspace(0, 1999, 9), y=np.linspace(0, 1999, 9), image=noise, scale=1.0)
    data = json.loads(gzip.decompress(base64.b64decode(tissue_payload(drawn, {}))))
    image = Image.open(io.BytesIO(base64.b64decode(data["image"].partition(",")[2])))
    assert max(image.size) == MAX_IMAGE_SIDE
    assert len(tissue_payload(drawn, {}, 12)) < 0.45 * len(tissue_payload(drawn, {}, 4))


def test_too_many_spots_are_thinned_evenly() -> None:
    rows = drawn_spots(5 * MAX_INTERACTIVE_SPOTS)
    assert len(rows) == len(set(rows)) == MAX_INTERACTIVE_SPOTS
    assert rows[0] == 0
    assert rows[-1] == 5 * MAX_INTERACTIVE_SPOTS - 1
    assert set(np.diff(rows)) <= {4, 5, 6}
    assert len(drawn_spots(7)) == 7
    assert 12 * len(drawn_spots(MAX_INTERACTIVE_SPOTS, 12)) <= MAX_REPORT_SPOTS


def test_training_curves_show_losses_only_and_survive_missing_values() -> None:
    epochs = np.arange(1, 5001)
    log = pd.DataFrame({"epoch": epochs, "seconds": 1.0, "total": 1 / epochs, "zinb": np.full(5000, np.nan)})
    figure = training_curves(log)
    assert [trace.name for trace in figure.data] == ["total", "zinb"]
    assert len(figure.data[0].x) == MAX_POINTS
    assert (figure.data[0].x[0], figure.data[0].x[-1]) == (1, 5000)
    assert set(figure.data[1].y) == {None}


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


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (math.nan, "–"), (True, "yes"), (12345, "12,345"), (0.123456, "0.1235"), (1e6 + 0.5, "1,000,000")],
)
def test_values_are_written_for_people(value: Any, text: str) -> None:
    assert show(value) == text


def test_pictures_are_typical_of_their_domain_and_far_from_each_other() -> None:
    places = np.array([(x, y) for y in range(10) for x in range(10)], dtype=float)
    typical = np.where(places[:, 0] < 5, 0.9, 0.1)
    typical[23] = 1.0
    chosen = choose_spots(places, typical)
    assert chosen[0] == 23 and len(set(chosen)) == SHOWN
    assert (places[chosen][:, 0] < 5).all()
    apart = np.linalg.norm(places[chosen][:, None] - places[chosen], axis=2)[~np.eye(SHOWN, dtype=bool)]
    assert apart.min() > 2
    assert sorted(choose_spots(places[:3], typical[:3])) == [0, 1, 2]


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


def test_pictures_of_another_program_are_named(assembled_run: SmallRun) -> None:
    broken = assembled_run.folder / "S1.tiles.tif"
    broken.write_bytes(b"II*\0nothing")
    result = CliRunner().invoke(report, [*assembled_run.report_arguments(), "--tiles", str(broken)])
    assert result.exit_code == 2 and "S1.tiles.tif: not the pictures" in result.output
