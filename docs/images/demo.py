"""Draw the picture of the README from the results of the demo: ``make demo picture``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import anndata as ad
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from PIL import Image

GENE = "MBP"
matplotlib.use("agg")


def draw_spots(axes: Axes, xy: np.ndarray, **style: Any) -> Any:
    """Draw spots (n, 2) at about their true size."""
    axes.set_aspect("equal")
    return axes.scatter(*xy.T, s=5.5, linewidths=0, **style)


def main(assembled: Path, enhanced: Path, target: Path) -> None:
    """Draw tissue, domains, confidence, pseudotime and a de-noised gene of a section."""
    adata = ad.read_h5ad(assembled)
    library = next(iter(adata.uns["spatial"].values()))
    image, scale = library["images"]["lowres"], library["scalefactors"]["tissue_lowres_scalef"]
    xy = np.asarray(adata.obsm["spatial"]) * scale
    domain = pd.Categorical(adata.obs["domain"])
    colors = list(adata.uns["domain_colors"])
    expression = ad.read_h5ad(enhanced).to_df()[GENE].loc[adata.obs_names]

    figure, panels = plt.subplots(1, 5, figsize=(15, 3.8), dpi=90, layout="compressed")
    panels[0].imshow(image)
    panels[0].set_title("Tissue (H&E)")
    draw_spots(panels[1], xy, c=np.asarray(colors)[domain.codes])
    panels[1].set_title(f"{len(domain.categories)} spatial domains")
    handles = [Line2D([], [], marker="o", linestyle="", markersize=7, color=color) for color in colors]
    legend = panels[1].legend(
        handles, domain.categories, title="Domain", ncols=len(colors), loc="upper center", bbox_to_anchor=(0.5, 0.0),
        fontsize=9, handlelength=1, frameon=False, columnspacing=0.5, handletextpad=0.2,
    )  # fmt: skip
    legend.set_in_layout(False)
    ranks = [0, 0.5, 1]
    values = {
        "Confidence": (adata.obs["domain_confidence"], "viridis", "Mean probability (0 to 1)", ranks),
        f"Pseudotime from {GENE}": (adata.obs["pseudotime_rank"], "magma", "Rank (0 = root, 1 = end)", ranks),
        f"De-noised {GENE}": (expression, "cividis", "ln(1 + scaled counts)", None),
    }
    for axes, (title, (value, cmap, label, ticks)) in zip(panels[2:], values.items(), strict=True):
        points = draw_spots(axes, xy, c=value, cmap=cmap)
        if ticks:
            points.set_clim(0, 1)
        figure.colorbar(points, ax=axes, location="bottom", shrink=0.9, pad=0.02, aspect=25, label=label, ticks=ticks)
        axes.set_title(title)
    for axes in panels:
        axes.set(xlim=(xy[:, 0].min() - 8, xy[:, 0].max() + 8), ylim=(xy[:, 1].max() + 8, xy[:, 1].min() - 8))
        axes.set_axis_off()
    figure.canvas.draw()
    drawing = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("RGB")
    # An octree keeps the colours of small domains, which a median cut would mix with the colours of large domains.
    palette = drawing.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    palette.save(target, optimize=True)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
