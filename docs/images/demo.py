"""Draw the picture of the README from the demo's results: ``make demo picture``."""

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
from PIL import Image

GENE = "MBP"
matplotlib.use("agg")


def spots(axes: Axes, xy: np.ndarray, **colours: Any) -> Any:
    """Draw spots (n, 2) about as large as they are."""
    axes.set_aspect("equal")
    return axes.scatter(*xy.T, s=5.5, linewidths=0, **colours)


def main(source: Path, denoised: Path, target: Path) -> None:
    """Draw tissue, domains, confidence, pseudotime and a de-noised gene of the first section of ``source``."""
    adata = ad.read_h5ad(source)
    shown = next(iter(adata.uns["spatial"].values()))
    image, scale = shown["images"]["lowres"], shown["scalefactors"]["tissue_lowres_scalef"]
    xy = np.asarray(adata.obsm["spatial"]) * scale
    domain = pd.Categorical(adata.obs["domain"])
    enhanced = ad.read_h5ad(denoised).to_df()[GENE].loc[adata.obs_names]

    figure, panels = plt.subplots(1, 5, figsize=(15, 3.4), dpi=90, layout="constrained")
    panels[0].imshow(image)
    panels[0].set_title("H&E")
    spots(panels[1], xy, c=np.asarray(adata.uns["domain_colors"])[domain.codes])
    panels[1].set_title(f"{len(domain.categories)} domains")
    values = {
        "confidence of the domain": (adata.obs["domain_confidence"], "viridis"),
        f"pseudotime from {GENE} (rank)": (adata.obs["pseudotime_rank"], "magma"),
        f"{GENE}, de-noised": (enhanced, "cividis"),
    }
    for axes, (title, (value, colours)) in zip(panels[2:], values.items(), strict=True):
        drawn = spots(axes, xy, c=value, cmap=colours)
        figure.colorbar(drawn, ax=axes, shrink=0.7)
        axes.set_title(title)
    for axes in panels:
        axes.set(xlim=(xy[:, 0].min() - 8, xy[:, 0].max() + 8), ylim=(xy[:, 1].max() + 8, xy[:, 1].min() - 8))
        axes.set_axis_off()
    figure.canvas.draw()
    drawing = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("RGB")
    # An octree keeps the colours of small domains, which the median cut mixes with those of large ones.
    palette = drawing.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    palette.save(target, optimize=True)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
