"""Where tissue is in an image, how sharp and how stained: for quality control and for normalising the stain."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mmsrl._pictures import RGB
from mmsrl.features.rasters import Raster

Pixels = npt.NDArray[Any]

WINDOWS, WINDOW_PX = 12, 48
"""An image is sampled by a grid of so many windows a side, each so wide."""

SAMPLED_SPOTS = 200

HED_UNIT = 6.0
"""Decadic optical density that is 1 in scikit-image, whose stains are logarithms to the base of a millionth."""

BLACK, WHITE = 30, 190
"""Pixels all of whose channels are below or above are taken for black paint or glass, where they have no colour."""

LEAST_CHROMA, MOST_CHROMA = 12.0, 30.0
"""Between these, the spread of a pixel's channels from which it is tissue is chosen by Otsu's method: where no
glass is in sight there is nothing to split, and Otsu would part pale stroma from nuclei."""

LEAST_BLACK = 0.05
"""Share of an image from which black is its background, where there is more of it than of glass; less is dirt."""

GREY = 10.0
"""An image of which 95 % of pixels have less chroma has no colour."""

LEAST_CONTRAST = 15.0
"""By how much tissue in a grey image is darker than glass, or brighter than black."""

REINHARD_MEAN, REINHARD_SD = np.array([65.0, 22.0, -16.0]), np.array([13.0, 9.0, 7.0])
"""CIE L*a*b* of tissue in a usual H&E stain, to which ``reinhard`` brings every section."""


class Appearance(NamedTuple):
    """How tissue of one image is told from what is no tissue."""

    background: str
    """``white`` (glass) or ``black`` (cut out)."""
    grey: bool
    threshold: float
    """Least chroma of tissue; in a grey image, the brightness between tissue and background."""
    lab_mean: npt.NDArray[np.float64]
    """(3,), CIE L*a*b* of the tissue at spots."""
    lab_sd: npt.NDArray[np.float64]

    def tissue(self, pixels: Pixels) -> npt.NDArray[np.bool_]:
        """Tell which pixels, (…, 3), are tissue."""
        high, low = pixels.max(axis=-1).astype(np.int16), pixels.min(axis=-1).astype(np.int16)
        if self.grey:
            found = high < self.threshold if self.background == "white" else high > self.threshold
        else:
            found = (high - low >= self.threshold) & (high > BLACK)
        return np.asarray(found)


def look_at(raster: Raster, centres: npt.NDArray[np.float64]) -> Appearance:
    """Learn what tissue and background of an image look like, from windows over all of it and at spots.

    Parameters
    ----------
    raster
        Any resolution of the image; a coarse one is read faster.
    centres
        (n, 2), spots on it as x, y in pixels of the raster.
    """
    from skimage.color import rgb2lab
    from skimage.filters import threshold_otsu

    steps = (np.arange(WINDOWS) + 0.5) / WINDOWS
    x, y = np.meshgrid(steps * raster.width, steps * raster.height)
    everywhere = _sample(raster, np.column_stack([x.ravel(), y.ravel()]))
    chosen = np.linspace(0, len(centres) - 1, min(len(centres), SAMPLED_SPOTS)).round().astype(int)
    at_spots = _sample(raster, centres[chosen])
    seen = np.concatenate([everywhere, at_spots])
    high, low = seen.max(axis=1).astype(np.int16), seen.min(axis=1).astype(np.int16)
    chroma = high - low
    grey = bool(np.quantile(chroma, 0.95) < GREY)
    bright = (low > WHITE) & (chroma < LEAST_CHROMA)
    black = high[: len(everywhere)] < BLACK
    is_black = black.mean() >= max(LEAST_BLACK, bright[: len(everywhere)].mean())
    background = "black" if is_black else "white"
    split = chroma[high >= BLACK]
    if grey and background == "white":
        threshold = float(np.quantile(high[: len(everywhere)], 0.98)) - LEAST_CONTRAST
    elif grey:
        threshold = float(np.quantile(high[: len(everywhere)], 0.02)) + LEAST_CONTRAST
    else:
        threshold = float(threshold_otsu(split)) if split.size and np.ptp(split) else LEAST_CHROMA
        threshold = float(np.clip(threshold, LEAST_CHROMA, MOST_CHROMA))
    rule = Appearance(background, grey, threshold, REINHARD_MEAN, REINHARD_SD)
    tissue = at_spots[rule.tissue(at_spots)]
    if len(tissue) < WINDOW_PX**2:  # next to nothing is tissue: nothing to learn the stain from
        return rule
    lab = rgb2lab(tissue[None])[0]
    return rule._replace(lab_mean=lab.mean(axis=0), lab_sd=np.maximum(lab.std(axis=0), 1.0))


def _sample(raster: Raster, centres: npt.NDArray[np.float64]) -> RGB:
    """Return the pixels, (n, 3), of small windows around centres."""
    found = []
    for x, y in centres:
        left = int(np.clip(x - WINDOW_PX / 2, 0, max(raster.width - WINDOW_PX, 0)))
        top = int(np.clip(y - WINDOW_PX / 2, 0, max(raster.height - WINDOW_PX, 0)))
        bottom, right = min(top + WINDOW_PX, raster.height), min(left + WINDOW_PX, raster.width)
        found.append(raster.read(top, bottom, left, right).reshape(-1, 3))
    return np.concatenate(found)


def quality(tiles: RGB, appearance: Appearance) -> npt.NDArray[np.float32]:
    """Measure tiles, (b, side, side, 3); returns (b, 4).

    Share of tissue; sharpness, the variance of the Laplacian of brightness over the variance of brightness (in tiles
    of one image lower where it is out of focus); mean decadic optical density of haematoxylin and of eosin in the
    tissue (Ruifrok and Johnston 2001, as scikit-image has it), NaN where there is none.
    """
    from scipy.ndimage import laplace
    from skimage.color import rgb2hed

    result = np.full((len(tiles), 4), np.nan, np.float32)
    for row, tile in zip(result, tiles, strict=True):
        tissue = appearance.tissue(tile)
        light = tile.mean(axis=2, dtype=np.float32)
        row[0] = tissue.mean()
        row[1] = laplace(light).var() / light.var() if light.var() > 0 else np.nan
        if tissue.any():
            row[2:] = HED_UNIT * rgb2hed(tile)[tissue][:, :2].mean(axis=0)
    return result


def reinhard(appearance: Appearance) -> Callable[[RGB], RGB]:
    """Return a function that gives tiles, (b, side, side, 3), the colours of a usual stain.

    Mean and deviation in CIE L*a*b* of the section's tissue are brought to those of a usual stain (Reinhard et al.
    2001), the same for all tiles of a section; what is no tissue stays as it is.
    """
    from skimage.color import lab2rgb, rgb2lab

    def normalise(tiles: RGB) -> RGB:
        scaled = (rgb2lab(tiles) - appearance.lab_mean) / appearance.lab_sd * REINHARD_SD + REINHARD_MEAN
        scaled[..., 0] = np.clip(scaled[..., 0], 0.0, 100.0)
        rgb = np.rint(np.clip(lab2rgb(scaled), 0.0, 1.0) * 255.0).astype(np.uint8)
        return np.where(appearance.tissue(tiles)[..., None], rgb, tiles)

    return normalise
