"""Tissue detection, focus and stain of an image, for quality control and stain normalisation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mmsrl._pictures import RGB
from mmsrl.features.rasters import Raster

Pixels = npt.NDArray[Any]

WINDOWS, WINDOW_PX = 12, 48
"""Number of sampling windows per side of an image, and their side in pixels."""

SAMPLED_SPOTS = 200

HED_UNIT = 6.0
"""Decadic optical density that equals 1 in scikit-image, whose stains use logarithms to the base 1e-6."""

BLACK, WHITE = 30, 190
"""Grey values below which all channels of black paint lie, and above which those of glass lie."""

LEAST_CHROMA, MOST_CHROMA = 12.0, 30.0
"""Range of the chroma threshold of tissue, which is chosen by Otsu's method. If no glass is visible, Otsu's threshold
would split pale stroma from nuclei."""

LEAST_BLACK = 0.05
"""Minimum fraction of black pixels in an image with a black background, if it also exceeds the fraction of glass."""

GREY = 10.0
"""An image is grey if 95 % of its pixels have less chroma."""

LEAST_CONTRAST = 15.0
"""Minimum contrast of tissue to glass or black in a grey image."""

REINHARD_MEAN, REINHARD_SD = np.array([65.0, 22.0, -16.0]), np.array([13.0, 9.0, 7.0])
"""Mean and standard deviation of tissue in CIE L*a*b* of a typical H&E stain, the target of ``reinhard``."""


class Appearance(NamedTuple):
    """Appearance of tissue and background in one image."""

    background: str
    """``white`` (glass) or ``black`` (masked)."""
    grey: bool
    threshold: float
    """Minimum chroma of tissue. In a grey image: brightness between tissue and background."""
    lab_mean: npt.NDArray[np.float64]
    """(3,): mean CIE L*a*b* of the tissue at spots."""
    lab_sd: npt.NDArray[np.float64]

    def tissue(self, pixels: Pixels) -> npt.NDArray[np.bool_]:
        """Return the mask of tissue among pixels, (…, 3)."""
        high, low = pixels.max(axis=-1).astype(np.int16), pixels.min(axis=-1).astype(np.int16)
        if self.grey:
            mask = high < self.threshold if self.background == "white" else high > self.threshold
        else:
            mask = (high - low >= self.threshold) & (high > BLACK)
        return np.asarray(mask)


def look_at(raster: Raster, centres: npt.NDArray[np.float64]) -> Appearance:
    """Learn the appearance of tissue and background from windows over the whole image and at spots.

    Parameters
    ----------
    raster
        Any resolution of the image. Coarse ones are read faster.
    centres
        Spots as x, y in pixels of the raster, (n, 2).
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
    if len(tissue) < WINDOW_PX**2:  # too little tissue to learn the stain from
        return rule
    lab = rgb2lab(tissue[None])[0]
    return rule._replace(lab_mean=lab.mean(axis=0), lab_sd=np.maximum(lab.std(axis=0), 1.0))


def _sample(raster: Raster, centres: npt.NDArray[np.float64]) -> RGB:
    """Return the pixels, (n, 3), of small windows around centres."""
    windows = []
    for x, y in centres:
        left = int(np.clip(x - WINDOW_PX / 2, 0, max(raster.width - WINDOW_PX, 0)))
        top = int(np.clip(y - WINDOW_PX / 2, 0, max(raster.height - WINDOW_PX, 0)))
        bottom, right = min(top + WINDOW_PX, raster.height), min(left + WINDOW_PX, raster.width)
        windows.append(raster.read(top, bottom, left, right).reshape(-1, 3))
    return np.concatenate(windows)


def quality(tiles: RGB, appearance: Appearance) -> npt.NDArray[np.float32]:
    """Measure the quality of tiles, (b, side, side, 3): (b, 4) float32.

    Fraction of tissue. Sharpness: variance of the Laplacian of brightness divided by the variance of brightness, lower
    out of focus within one image. Mean decadic optical density of haematoxylin and eosin in the tissue (Ruifrok and
    Johnston 2001, as in scikit-image), NaN without tissue.
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
    """Return a function that normalises the stain of tiles, (b, side, side, 3).

    It maps mean and standard deviation of the tissue in CIE L*a*b* to those of a typical stain (Reinhard et al. 2001),
    with the same transformation for all tiles of a section. Background is unchanged.
    """
    from skimage.color import lab2rgb, rgb2lab

    def normalise(tiles: RGB) -> RGB:
        scaled = (rgb2lab(tiles) - appearance.lab_mean) / appearance.lab_sd * REINHARD_SD + REINHARD_MEAN
        scaled[..., 0] = np.clip(scaled[..., 0], 0.0, 100.0)
        rgb = np.rint(np.clip(lab2rgb(scaled), 0.0, 1.0) * 255.0).astype(np.uint8)
        return np.where(appearance.tissue(tiles)[..., None], rgb, tiles)

    return normalise
