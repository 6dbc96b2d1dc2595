"""What pages draw, piece by piece."""

from __future__ import annotations

import base64
import gzip
import io
import json
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mmsrl.page.charts import INK, MAX_POINTS, domain_map, evidence, training_curves
from mmsrl.page.genes import ASKED, GAINS, MARKERS, listed_genes, marker_note
from mmsrl.page.payload import MAX_INTERACTIVE_SPOTS, drawn_spots, tissue_payload
from mmsrl.page.pictures import SHOWN, choose_spots
from mmsrl.page.series import MOST_GENES, adjoining_domains, domain_graph, drawn_genes, gene_trends
from mmsrl.page.tables import marker_table
from mmsrl.page.tissue import (
    ELSEWHERE,
    MAX_IMAGE_SIDE,
    Section,
    background,
    domain_figure,
    layout_figure,
    shades,
    window_of,
)
from mmsrl.page.words import brief


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
    saved = np.linspace(-2, 0.5, n)
    verdict = np.select([saved > 0.2, saved < -0.2], ["better", "worse"], "undecided")
    table = pd.DataFrame(
        {"gene": [f"g{i}" for i in range(n)], "held_out": np.arange(n), "over_mean": saved, "verdict": verdict}
    )
    drawn = drawn_genes(table)
    assert 0.99 * MOST_GENES <= len(drawn) <= MOST_GENES
    assert set(range(n - 100, n)) <= set(drawn["held_out"])
    assert drawn["held_out"].min() == 0
    undecided, better, worse = evidence(table, "over_mean").data
    assert min(better.y) > 20 > max(undecided.y) and max(worse.y) < -20 < min(undecided.y)
    assert min(worse.y) == -50  # what lies lower stands at the edge
    assert len(better.x) + len(worse.x) + len(undecided.x) == len(drawn)


def test_layout_is_drawn_in_its_colours_over_other_sections() -> None:
    points = np.array([[0.0, 0.0], [10.0, 10.0]])
    figure = np.asarray(layout_figure(points, ["#FF0000", "#0000FF"], np.array([[10.0, 0.0]]), 400))
    assert tuple(figure[388, 12]) == (255, 0, 0)  # y points up
    assert tuple(figure[12, 388]) == (0, 0, 255)
    assert tuple(figure[388, 388]) == tuple(int(ELSEWHERE[at : at + 2], 16) for at in (1, 3, 5))
    assert tuple(figure[200, 200]) == (255, 255, 255)


def test_shades_are_the_same_on_every_section_and_grey_where_nothing_is_known() -> None:
    low, high = shades(np.array([np.nan, 0.0, 0.25])), shades(np.array([0.25, 0.75, 1.0]))
    assert low[0] == ELSEWHERE
    assert low[2] == high[0]
    assert len({*low, *high}) == 5


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1448.7, "1,449"),
        (99.96, "100"),
        (12.345, "12.3"),
        (12.02, "12.0"),
        (7.0, "7"),
        (0.801, "0.80"),
        (0.04912, "0.049"),
        (math.nan, "–"),
        (None, "–"),
    ],
)
def test_narrow_columns_have_short_numbers(value: float | None, text: str) -> None:
    assert brief(value) == text


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


def test_cells_of_a_large_section_are_drawn_wide_enough_to_be_seen() -> None:
    # Four cells that are a hundredth of a pixel wide.
    places = np.array([[0.0, 0.0], [1e4, 0.0], [0.0, 1e4], [1e4, 1e4]])
    sparse = section(4, x=places[:, 0], y=places[:, 1], diameter=1.0, image=None)
    dark = np.asarray(domain_figure(sparse, 112)).min(axis=2) < 200
    assert 4 * np.pi / 2 <= dark.sum() <= 4 * 3**2


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


def test_marker_note_names_adjustments_and_missing_tests():
    result = {"markers": {"1": []}, "corrected_for": ["library", "section"], "found_anew": True}
    assert "adjusted for the library size of each spot and the level of each section" in marker_note(result)
    assert "found in the same counts, so genes have no p-value" in marker_note(result | {"found_anew": False})
    assert "over samples" not in marker_note(result)
    over = {"pseudobulk": {"sections": 4, "domains": ["1"]}, "markers": {"1": [], "2": []}}
    assert "also over samples in domain 1 (pseudobulk of at least 4 samples)" in marker_note(result | over)
    assert marker_note({}) == ""


def test_genes_that_were_not_tested_have_an_empty_p_in_the_table():
    row = {"gene": "A", "log2_fold_change": 1.0, "log2_fold_change_low": 0.6, "log2_fold_change_high": 1.4}
    row |= {"log2_fold_change_next": 0.9, "share": 0.5, "share_elsewhere": 0.1, "p_adjusted": None, "specific": True}
    row |= {"p_adjusted_pseudobulk": None, "samples_up": 3}
    over = row | {"gene": "B", "p_adjusted_pseudobulk": 0.01}
    for domains, rows in (([], [row]), (["1"], [row, over])):
        packed = marker_table({"markers": {"1": rows}, "pseudobulk": {"domains": domains}}, 3)
        columns = {column["title"]: column["cells"] for column in json.loads(gzip.decompress(base64.b64decode(packed)))}
        assert columns["Adjusted p"] == [None] * len(rows)
        assert columns.get("Adjusted p over samples") == ([None, 0.01] if domains else None)
