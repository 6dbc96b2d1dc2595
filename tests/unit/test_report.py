from __future__ import annotations

import base64
import gzip
import io
import json
import math
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image

from mmsrl.features.gallery import Gallery, write_gallery
from mmsrl.report.charts import MAX_POINTS, training_curves
from mmsrl.report.cli import main as report
from mmsrl.report.content import show
from mmsrl.report.methods import REFERENCES, paragraphs
from mmsrl.report.pictures import SHOWN, choose_spots
from mmsrl.report.stages import qc_filters
from mmsrl.report.tissue import (
    MAX_IMAGE_SIDE,
    MAX_INTERACTIVE_SPOTS,
    Section,
    background,
    domain_figure,
    drawn_spots,
    interactive_payload,
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
        if tag == "script" and id:
            self.payloads[id] = json.loads(gzip.decompress(base64.b64decode(data)))
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
    assert set(page.payloads) == {"sample-1-S1-payload", "sample-2-S2-payload", "sample-3-lone-payload"}


def test_markers_trajectory_and_enhancement_are_shown(assembled_run: SmallRun) -> None:
    gene = {"gene": "G<7>", "log2_fold_change": 2.0, "correlation": -0.5}
    estimates = ("raw", "normalised", "smoothed", "mean")
    results: dict[str, dict[str, Any]] = {
        "markers": {
            "n_markers": {"1": 31, "2": 0},
            "n_specific": {"1": 4, "2": 0},
            "recovered": {"1": 0.875, "2": 0.1},
            "markers": {"1": [gene], "2": []},
            "spatial": {"lone": [{"gene": "G2", "morans_i": 0.625}]},
        },
        "trajectory": {
            "root": {"rule": "the spot of domain 2", "domain": "2"},
            "median_pseudotime": {"1": 0.75, "2": 0.25, "10": None},
            "paga": [{"one": "1", "other": "2", "connectivity": 0.5}],
            "genes": [gene],
            "n_changing": 7,
            "n_genes_tested": 19,
            "spots_without": 3,
        },
        "enhance": {
            "better_than": dict.fromkeys(estimates, 0.81),
            "median_ratio": dict.fromkeys(estimates, 0.95),
        },
    }
    for stage, result in results.items():
        text = {"stage": stage, "id": "lone", "parameters": {}, "messages": [], "result": result}
        (assembled_run.folder / f"lone.{stage}.json").write_text(json.dumps(text))
    page = Page(make_report(assembled_run)[0])
    assert "2 (0.25) → 1 (0.75)" in page.text
    assert "3 spots cannot be reached" in page.text
    assert "falling: G<7>" in page.text
    assert "G2 (0.625)" in page.text
    assert page.text.count("81 %") == 4
    assert page.text.count("De-noised expression") == 2  # the other samples have no such summaries; and the methods
    assert "Neufeld" in page.text


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
    data = json.loads(gzip.decompress(base64.b64decode(interactive_payload(drawn))))
    assert data["values"] == {"Counts": [1, None, 3], "Share": [0.1235, 1.0, 2.0]}
    np.testing.assert_allclose(np.array(data["x"]) - data["x"][0], [0, 0.256, 1], atol=0.01)


def test_payload_image_is_small() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (2000, 2000, 3), dtype=np.uint8)
    drawn = section(x=np.linspace(0, 1999, 9), y=np.linspace(0, 1999, 9), image=noise, scale=1.0)
    data = json.loads(gzip.decompress(base64.b64decode(interactive_payload(drawn))))
    image = Image.open(io.BytesIO(base64.b64decode(data["image"].partition(",")[2])))
    assert max(image.size) == MAX_IMAGE_SIDE


def test_too_many_spots_are_thinned_evenly() -> None:
    rows = drawn_spots(5 * MAX_INTERACTIVE_SPOTS)
    assert len(rows) == len(set(rows)) == MAX_INTERACTIVE_SPOTS
    assert rows[0] == 0
    assert rows[-1] == 5 * MAX_INTERACTIVE_SPOTS - 1
    assert set(np.diff(rows)) <= {4, 5, 6}
    assert len(drawn_spots(7)) == 7


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
