"""Image features of an AnnData object."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from mmsrl import _keys
from mmsrl._errors import InputError
from mmsrl.features.components import principal_components
from mmsrl.features.descriptors import BACKBONES, Descriptor, colour
from mmsrl.features.rasters import Raster, from_array, open_rasters
from mmsrl.features.tiles import (
    NODES_PER_TILE,
    RESOLVED_PX,
    TEXTURE_PX,
    cut_tiles,
    interpolation_grid,
    outside,
    tile_in_pitches,
)

if TYPE_CHECKING:
    from anndata import AnnData


class ImageFeatures(NamedTuple):
    """Image features of one section."""

    features: AnnData
    """Spots × descriptor, float32; components in ``obsm['X_image']``; ``obs['in_image']``. Both matrices have no
    columns where there is no usable image."""
    facts: dict[str, Any]
    """The image used and how: for the summary."""
    messages: list[dict[str, str]]
    """What the user should be told: ``level`` and ``text``."""


def image_features(
    adata: AnnData,
    image: Path | None = None,
    *,
    use_image: bool = True,
    backbone: str = "efficientnet_lite0",
    n_components: int = 50,
    device: str = "auto",
) -> ImageFeatures:
    """Describe the histology around every spot.

    The best image there is, is used: the full-resolution file, else ``hires``, else ``lowres`` of ``uns['spatial']``.
    A tile is two spot pitches wide, and at least 200 um where micrometres are known. With 16 or more pixels across it
    is described by ``backbone``; with fewer it has no texture and is described by its colour, provided that spots are
    2 or more pixels apart; else the image is left out. Where spots lie closer than a quarter of a tile (small bins),
    descriptors are computed at the nodes of a grid with that spacing and interpolated bilinearly.

    Parameters
    ----------
    adata
        One section in the internal form (``docs/architecture.md``).
    image
        File of the full-resolution image, in whose pixels ``obsm['spatial']`` is.
    use_image
        If false, the result has no columns, and says so.
    backbone
        Name in :data:`mmsrl.features.descriptors.BACKBONES`.
    n_components
        Principal components to keep of the standardised descriptor; bounded by its rank.
    device
        ``cpu``, ``cuda`` or ``auto``.

    Returns
    -------
    ImageFeatures
        Without columns, and with a message why, where there is no usable image. Spots outside the image have the
        mean of all others.

    Raises
    ------
    InputError
        If an image cannot be read, or most spots lie outside it.
    """
    about = adata.uns[_keys.UNS]
    sample = str(about[_keys.SAMPLE])
    pitch_px, in_pitches = float(about[_keys.PITCH_PX]), tile_in_pitches(float(about[_keys.PITCH_UM]))
    if not use_image:
        return _without_image(adata, "the image is not used, as asked (use_image)", level="info")
    if not np.isfinite(pitch_px):
        return _without_image(adata, "the distance from spot to spot is not known")
    with _best_rasters(adata, image, sample) as rasters:
        if not rasters:
            return _without_image(adata, "there is no image")
        finest = rasters[0]
        tile = in_pitches * pitch_px  # in pixels of the full-resolution image, as the coordinates are
        spot_px, tile_px = pitch_px * finest.scale, tile * finest.scale
        facts: dict[str, Any] = {
            "image": {name: getattr(finest, name) for name in ("name", "scale", "width", "height")},
            "px_per_pitch": spot_px,
            "tile": {"px": tile_px, "pitches": in_pitches},
        }
        textured = tile_px >= TEXTURE_PX
        if not (textured or spot_px >= RESOLVED_PX):
            reason = (
                f"the best image ({finest.name}) is too coarse: {spot_px:.2g} px from spot to spot "
                f"(colour needs {RESOLVED_PX:g}), {tile_px:.2g} px a tile (texture needs {TEXTURE_PX})"
            )
            return _without_image(adata, reason, facts)
        centres = np.asarray(adata.obsm[_keys.SPATIAL], dtype=np.float64)
        off = outside(centres * finest.scale, finest)
        messages = _registration_messages(off, centres * finest.scale, finest, sample)
        if not textured:
            text = (
                f"the best image ({finest.name}) has {tile_px:.2g} px a tile, too few for texture ({TEXTURE_PX}): "
                "features are its colours only"
            )
            messages.append({"level": "warning", "text": text})
        descriptor = BACKBONES[backbone](_device(device)) if textured else colour()
        # The coarsest level of a pyramid that still has all the pixels the descriptor can take.
        raster = [level for level in rasters if level is finest or level.scale * tile >= descriptor.input_px][-1]
        values, places = _describe(raster, centres, tile, pitch_px, descriptor)
    values[off] = values[~off].mean(axis=0, dtype=np.float64)
    scores, explained = principal_components(values, n_components)
    if scores.shape[1] == 0:
        return _without_image(adata, f"the image ({finest.name}) looks the same at every spot", facts)
    facts |= {
        "descriptor": descriptor.name,
        "columns": values.shape[1],
        "weights_sha256": descriptor.weights_sha256,
        "places_described": places,
        "spots_outside": int(off.sum()),
        "components": scores.shape[1],
        "explained_variance_ratio": explained,
        "explained_variance": float(explained.sum()),
    }
    return _result(adata, values, scores, descriptor.columns, off, facts, messages)


@contextmanager
def _best_rasters(adata: AnnData, image: Path | None, sample: str) -> Iterator[list[Raster]]:
    """Yield the resolutions of the best image, the finest first; none if there is no image."""
    if image is not None:
        with open_rasters(image, sample=sample) as rasters:
            yield rasters
        return
    stored = adata.uns.get(_keys.UNS_SPATIAL, {}).get(sample, {})
    images, factors = stored.get("images", {}), stored.get("scalefactors", {})
    found = [
        from_array(images[name], name=name, scale=float(factors[f"tissue_{name}_scalef"]))
        for name in ("hires", "lowres")
        if name in images and f"tissue_{name}_scalef" in factors
    ]
    yield sorted(found, key=lambda raster: -raster.scale)[:1]


def _registration_messages(
    off: npt.NDArray[np.bool_], centres: npt.NDArray[np.float64], raster: Raster, sample: str
) -> list[dict[str, str]]:
    if not off.any():
        return []
    where = (
        f"of {off.size} spots {int(off.sum())} lie outside the image {raster.name} "
        f"({raster.width} x {raster.height} px): spots span x {centres[:, 0].min():.0f} to {centres[:, 0].max():.0f}, "
        f"y {centres[:, 1].min():.0f} to {centres[:, 1].max():.0f}"
    )
    if off.mean() > 0.5:
        raise InputError(
            f"sample {sample}: {where}; coordinates and image do not belong together: give the full-resolution image "
            "that the coordinates were measured on, and its own scale factors"
        )
    return [{"level": "warning", "text": f"{where}; these have the mean of the others as image features"}]


def _describe(
    raster: Raster, centres: npt.NDArray[np.float64], tile: float, pitch: float, descriptor: Descriptor
) -> tuple[npt.NDArray[np.float32], int]:
    """Describe tiles around centres, all lengths in full-resolution pixels; returns also how many were described."""
    from tqdm import tqdm

    spacing = tile / NODES_PER_TILE
    places, weights = interpolation_grid(centres, spacing) if pitch < spacing else (centres, None)
    values = np.empty((len(places), len(descriptor.columns)), np.float32)
    with tqdm(total=len(places), desc="features", unit="tile", disable=None) as progress:
        for index, tiles in cut_tiles(raster, places * raster.scale, max(1, round(tile * raster.scale))):
            values[index] = descriptor.describe(tiles)
            progress.update(len(index))
    return (values if weights is None else np.asarray(weights @ values, dtype=np.float32)), len(places)


def _without_image(
    adata: AnnData, reason: str, facts: dict[str, Any] | None = None, level: str = "warning"
) -> ImageFeatures:
    text = f"no image features: {reason}; the section goes on with expression alone"
    nothing = np.zeros((adata.n_obs, 0), np.float32)
    facts = {"image": None, **(facts or {}), "descriptor": None, "components": 0}
    off = np.ones(adata.n_obs, dtype=bool)
    return _result(adata, nothing, nothing, [], off, facts, [{"level": level, "text": text}])


def _result(
    adata: AnnData,
    values: npt.NDArray[np.float32],
    scores: npt.NDArray[np.float32],
    columns: list[str],
    off: npt.NDArray[np.bool_],
    facts: dict[str, Any],
    messages: list[dict[str, str]],
) -> ImageFeatures:
    import anndata

    features = anndata.AnnData(
        X=values,
        obs=pd.DataFrame({_keys.IN_IMAGE: ~off}, index=adata.obs_names.copy()),
        var=pd.DataFrame(index=pd.Index(columns, dtype=str)),
        obsm={_keys.IMAGE: scores},
        uns={_keys.UNS: {_keys.SAMPLE: str(adata.uns[_keys.UNS][_keys.SAMPLE])}},
    )
    return ImageFeatures(features, facts, messages)


def _device(asked: str) -> str:
    import torch

    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if asked == "cuda" and not torch.cuda.is_available():
        raise InputError("device 'cuda' was asked for, but there is no CUDA device; use 'auto' or 'cpu'")
    return asked
