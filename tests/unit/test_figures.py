"""Figures for print."""

from __future__ import annotations

import json
import re
import zlib
from typing import TYPE_CHECKING

import anndata as ad
import numpy as np
import pytest
from click.testing import CliRunner
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex
from matplotlib.text import Text
from mpl_toolkits.axes_grid1.anchored_artists import AnchoredSizeBar
from PIL import Image

from mmsrl._drawing import Window, visible
from mmsrl._errors import InputError
from mmsrl._palette import PALETTE
from mmsrl._scale_bar import bar_um, length_name
from mmsrl.figures.api import figures
from mmsrl.figures.cli import main

if TYPE_CHECKING:
    from conftest import SmallRun

PAGA = [
    {"one": "1", "other": "2", "connectivity": 0.5},
    {"one": "2", "other": "10", "connectivity": 0.25},
    {"one": "2", "other": "11", "connectivity": 0.25},
]


def ordered(run: SmallRun, sample: str) -> ad.AnnData:
    """Return an assembled section with all that there is to draw; one spot has no pseudotime."""
    adata = ad.read_h5ad(run.folder / f"{sample}.mmsrl.h5ad")
    adata.obs["domain_confidence"] = np.linspace(0.2, 0.9, adata.n_obs)
    adata.obs["pseudotime_rank"] = np.linspace(0, 1, adata.n_obs)
    adata.obs.iloc[3, adata.obs.columns.get_loc("pseudotime_rank")] = np.nan
    adata.obsm["X_umap"] = adata.obsm["spatial"] / 40
    return adata


def spots_of(axes) -> PolyCollection:
    return next(drawn for drawn in axes.collections if isinstance(drawn, PolyCollection))


def test_domains_are_drawn_where_the_spots_are_in_the_colours_of_the_file(assembled_run: SmallRun) -> None:
    adata = ordered(assembled_run, "S1")
    figure = figures(adata)["domains"]
    tissue, domains = figure.axes
    assert len(tissue.images) == 1 and not tissue.collections
    spots = spots_of(domains)
    centres = np.array([path.vertices[:-1].mean(axis=0) for path in spots.get_paths()])
    np.testing.assert_allclose(centres, adata.obsm["spatial"], atol=1e-6)
    widths = [np.ptp(path.vertices[:, 0]) for path in spots.get_paths()]
    np.testing.assert_allclose(widths, adata.uns["mmsrl"]["spot_diameter_px"], rtol=0.02)
    colors = dict(zip(adata.obs["domain"].cat.categories, PALETTE, strict=False))
    assert [to_hex(color).upper() for color in spots.get_facecolor()] == [
        colors[label] for label in adata.obs["domain"]
    ]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["1", "2", "10"]
    # y points down, as in the image.
    assert domains.get_ylim()[0] > domains.get_ylim()[1]


def test_cells_of_a_large_section_are_wide_enough_to_be_seen() -> None:
    window = Window(np.array([0.0, 0.0]), np.array([7_000.0, 3_500.0]))
    assert visible(1.0, window) == 20.0  # two of the 750 pixels of a panel
    assert visible(55.0, window) == 55.0


@pytest.mark.parametrize(
    ("width", "bar", "name"),
    [(7000.0, 1000.0, "1 mm"), (1999.0, 200.0, "200 µm"), (2000.0, 500.0, "500 µm"), (1.7, 0.2, "0.2 µm")],
)
def test_scale_bars_are_round_and_at_most_a_quarter(width: float, bar: float, name: str) -> None:
    found = bar_um(width)
    assert found == pytest.approx(bar) and length_name(found) == name


def test_scale_bar_is_as_long_as_it_says_and_absent_where_nothing_is_known(assembled_run: SmallRun) -> None:
    adata = ordered(assembled_run, "S1")
    figure = figures(adata)["domains"]
    (bar,) = figure.findobj(AnchoredSizeBar)
    assert bar.axes is figure.axes[0]
    (drawn,) = bar.size_bar.get_children()
    assert f"{drawn.get_width() * adata.uns['mmsrl']['um_per_px']:g} µm" == bar.txt_label.get_text()
    adata.uns["mmsrl"]["um_per_px"] = np.nan
    for plain in figures(adata).values():
        assert not plain.findobj(AnchoredSizeBar)


def test_numbers_keep_their_range_and_missing_ones_are_grey(assembled_run: SmallRun) -> None:
    found = figures(ordered(assembled_run, "S1"))
    assert spots_of(found["confidence"].axes[0]).get_clim() == (0, 1)
    spots = spots_of(found["pseudotime"].axes[0])
    assert "Pseudotime (rank, 0 = root, 1 = end)" in [text.get_text() for text in found["pseudotime"].findobj(Text)]
    found["pseudotime"].canvas.draw()
    spots.update_scalarmappable()
    assert to_hex(spots.get_facecolor()[3]) == "#d9d9d9"
    titles = [axes.get_title() for axes in found["quality"].axes if axes.get_title()]
    assert titles == ["Counts", "Genes"]  # no mitochondrial genes: the same everywhere, which shows nothing


def test_connections_are_between_the_domains_that_there_are(assembled_run: SmallRun) -> None:
    figure = figures(ordered(assembled_run, "S1"), PAGA)["paga"]
    assert [line.get_linewidth() for line in figure.axes[0].lines] == [4.0, 2.0]
    assert sorted(text.get_text() for text in figure.axes[0].texts) == ["1", "10", "2"]


def test_section_with_nothing_but_domains_has_fewer_figures(assembled_run: SmallRun) -> None:
    adata = ad.read_h5ad(assembled_run.folder / "lone.mmsrl.h5ad")
    found = figures(adata)
    assert set(found) == {"domains", "quality"}
    assert len(found["domains"].axes) == 1  # there is no image of the tissue


def test_section_without_domains_is_an_error(assembled_run: SmallRun) -> None:
    adata = ad.read_h5ad(assembled_run.folder / "S1.mmsrl.h5ad")
    del adata.obs["domain"]
    with pytest.raises(InputError, match=r"sample S1: needs obs\['domain'\]"):
        figures(adata)


def test_files_are_pictures_and_drawings_whose_text_is_text(assembled_run: SmallRun) -> None:
    folder = assembled_run.folder
    ordered(assembled_run, "S2").write_h5ad(folder / "S2.mmsrl.h5ad")
    trajectory = {"stage": "trajectory", "id": "pair", "parameters": {}, "messages": [], "result": {"paga": PAGA}}
    (folder / "pair.trajectory.json").write_text(json.dumps(trajectory))
    arguments = ["--id", "pair", "--trajectory", str(folder / "pair.trajectory.json"), "--output-dir", str(folder)]
    for name in ("S2", "pair"):
        arguments += ["--assembled", str(folder / f"{name}.mmsrl.h5ad")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    drawn = json.loads((folder / "pair.figures.json").read_text())["result"]["drawn"]
    assert drawn == {"S2": ["domains", "confidence", "pseudotime", "umap", "paga", "quality"]}
    for name in drawn["S2"]:
        with Image.open(folder / f"S2.{name}.png") as picture:
            assert min(picture.size) > 400
        assert (folder / f"S2.{name}.pdf").read_bytes().startswith(b"%PDF-1")
    # Spots are one picture, not hundreds of paths, and text is text.
    pdf = (folder / "S2.domains.pdf").read_bytes()
    parts = [zlib.decompress(part) for part in re.findall(rb"stream\r?\n(x.*?)\r?\nendstream", pdf, re.DOTALL)]
    drawing = next(part for part in parts if b" Tf" in part)
    assert re.search(rb"\(\x00S.{0,20}\x002\)", drawing)
    assert drawing.count(b"\nf") < 50 and b"/Subtype /Image" in pdf
    first = {path.name: path.read_bytes() for path in folder.glob("S2.domains.*")}
    CliRunner().invoke(main, arguments)
    assert {path.name: path.read_bytes() for path in folder.glob("S2.domains.*")} == first
