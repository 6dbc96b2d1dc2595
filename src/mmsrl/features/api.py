"""Image features of one section."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from mmsrl import _keys
from mmsrl._alignment import read_alignment
from mmsrl._errors import InputError, error_prefix
from mmsrl._files import sha256
from mmsrl._samples import evenly
from mmsrl.features import orientation, placing, slide
from mmsrl.features.components import FIT_SPOTS, fit_components
from mmsrl.features.descriptors import colour, make_descriptors
from mmsrl.features.gallery import Gallery, take_pictures
from mmsrl.features.nodes import Descriptors, Nodes
from mmsrl.features.rasters import Raster, from_array, open_rasters
from mmsrl.features.tiles import (
    COLOUR_PITCHES,
    RESOLVED_PX,
    SCALES,
    TEXTURE_PX,
    Ruler,
    outside,
    tile_sides,
)
from mmsrl.features.tissue import Appearance
from mmsrl.graph import gaussian_graph
from mmsrl.heldout import explained, in_block_unit
from mmsrl.normalisation import log_normalised, standard_components

if TYPE_CHECKING:
    from anndata import AnnData

COMPONENTS_PREDICTED = 10
"""Number of leading principal components of expression that measure how informative an image is."""

THREE_WIDTHS = float(np.exp(-4.5))
"""Weight of the Gaussian at three bandwidths, beyond which spots are not averaged."""

GENE_SPOTS = 3
"""Minimum number of spots with a gene that enters these components."""


class ImageFeatures(NamedTuple):
    """Result of :func:`image_features`."""

    features: AnnData
    """Descriptors in ``X``, (n_spots, d) float32 (empty for small bins, see :func:`mmsrl.pp.spot_descriptors`);
    principal components in ``obsm['X_image']``; ``in_image``, tissue, focus and stain in ``obs``. Without a usable
    image, both matrices have no columns."""
    facts: dict[str, Any]
    """Summary: the image and how it was used."""
    messages: list[dict[str, str]]
    """``level`` and ``text`` of every message."""
    gallery: Gallery | None
    """Tiles of spots to look at. ``None`` if the image is too coarse."""


def image_features(
    adata: AnnData,
    image: str | Path | None = None,
    *,
    alignment: str | Path | None = None,
    use_image: bool = True,
    backbone: str = "efficientnet_lite0+texture",
    backbone_weights: Path | None = None,
    backbone_options: Mapping[str, Any] | None = None,
    tile_um: str | None = None,
    stain_normalisation: str = "none",
    image_smoothing: float = 0.0,
    n_image_components: int = 50,
    image_variance: float = 0.99,
    cache: str | Path | None = None,
    device: str = "auto",
) -> ImageFeatures:
    """Describe the histology around every spot; :func:`mmsrl.pp.image_features` describes method and parameters.

    Parameters
    ----------
    adata
        One section in the internal form (``docs/architecture.md``), raw counts in ``X``. Not modified.
    image, alignment, backbone, backbone_weights, backbone_options, tile_um, stain_normalisation, image_smoothing
        See :func:`mmsrl.pp.image_features`.
    use_image
        ``False`` returns a result without columns, with a message.
    n_image_components, image_variance, cache, device
        See :func:`mmsrl.pp.image_features`.

    Returns
    -------
    ImageFeatures
        Without columns, and with a message, if there is no usable image. Spots outside the image have the mean of all
        others.

    Raises
    ------
    InputError
        An image, alignment or network cannot be read, or most spots lie outside the image.
    """
    about = adata.uns.get(_keys.UNS, {})
    lacking = [key for key in (_keys.SAMPLE, _keys.PITCH_PX, _keys.PITCH_UM) if key not in about]
    if lacking:
        raise InputError(f"uns['{_keys.UNS}'] has no {', '.join(lacking)}: read the section by mmsrl.pp first")
    if stain_normalisation not in ("none", "reinhard"):
        raise InputError(f"stain_normalisation {stain_normalisation!r} is not one of none, reinhard")
    image, alignment, cache = (None if path is None else Path(path) for path in (image, alignment, cache))
    sample = str(about[_keys.SAMPLE])
    pitch_px, pitch_um = float(about[_keys.PITCH_PX]), float(about[_keys.PITCH_UM])
    if not use_image:
        return _without_image(adata, "use_image is false", level="info")
    if not np.isfinite(pitch_px):
        return _without_image(adata, "the spot spacing is unknown")
    with _best_image(adata, image, sample) as (rasters, checksum), _naming(sample):
        if not rasters:
            return _without_image(adata, "there is no image")
        finest = rasters[0]
        placed = _place(adata, pitch_px, alignment)
        ruler, messages = _ruler(placed.pitch, pitch_um, finest)
        spot_px, um = placed.pitch * finest.scale, ruler.um_per_px / finest.scale
        facts: dict[str, Any] = {
            "image": {name: getattr(finest, name) for name in ("name", "scale", "width", "height")}
            | {"sha256": checksum, "um_per_px": um if ruler.known else None},
            "px_per_pitch": spot_px,
        }
        coarse = ruler.px(ruler.texture) * finest.scale < TEXTURE_PX
        if coarse and spot_px < RESOLVED_PX:
            reason = f"the best image ({finest.name}) is too coarse: {_resolution(spot_px, um)}"
            off = outside(placed.centres * finest.scale, finest)
            seen = slide.Slide(rasters, checksum, placed.centres, off, ruler)
            turned = [] if off.all() else _orientation(seen, slide.appearance(seen))
            return _without_image(adata, f"{reason} (colour needs {RESOLVED_PX:g} px)", facts, more=turned)
        off, said = placing.check_inside(placed.centres, finest)
        messages = said + messages + placing.check_scale(finest, ruler.um_per_px)
        messages += [{"level": "warning", "text": finest.remark}] if finest.remark else []
        if coarse:
            messages.insert(len(said), _coarse(finest.name, spot_px, um))
            sides, descriptors = [COLOUR_PITCHES * ruler.base], [colour()]
        else:
            sides = _visible(tile_sides(ruler, tile_um), ruler, finest, messages)
            weights = None if backbone_weights is None else str(backbone_weights)
            descriptors = make_descriptors(backbone, device, weights, backbone_options)
        of_section = slide.Slide(rasters, checksum, placed.centres, off, ruler)
        look = slide.appearance(of_section)
        described = slide.describe(
            of_section, descriptors, sides, stain=look if stain_normalisation == "reinhard" else None, cache=cache
        )
        measured = slide.measure_quality(of_section, look)
        quality = pd.DataFrame(measured, columns=list(_keys.IMAGE_QUALITY), index=adata.obs_names)
        messages += placing.check_tissue(measured[~off, 0], finest.name)
        messages += _orientation(of_section, look)
        gallery = take_pictures(of_section, adata.obs_names.astype(str).tolist())
    descriptors_of = Descriptors.of(described.nodes, off)
    in_pitches = placed.centres / placed.pitch
    if image_smoothing > 0:
        graph = gaussian_graph(in_pitches, image_smoothing, self_weight=1.0, cut=THREE_WIDTHS)
        descriptors_of = descriptors_of.smoothed(graph)
    descriptors_seen = descriptors_of.at(evenly(len(off), FIT_SPOTS))
    fitted = fit_components(descriptors_seen, n_image_components, variance=image_variance, blocks=described.blocks)
    scores = np.concatenate([fitted.scores(part) for _, part in descriptors_of.parts()])
    if scores.shape[1] == 0:
        return _without_image(adata, f"the image ({finest.name}) looks the same at every spot", facts, more=messages)
    predicted = _predicted(adata, scores, in_block_unit(in_pitches, ruler.pitch_um), messages)
    facts |= {
        "descriptor": "+".join(descriptor.name for descriptor in descriptors),
        "columns": len(described.columns),
        "tiles": described.parts,
        "stain": {"background": look.background, "grey": look.grey, "lab": look.lab_mean, "lab_sd": look.lab_sd},
        "quality": {name: float(column.median()) for name, column in quality.items()},
        "spots_outside": int(off.sum()),
        "components": scores.shape[1],
        "explained_variance_ratio": fitted.explained,
        "explained_variance": float(fitted.explained.sum()),
        "expression": predicted,
    }
    return _result(adata, descriptors_of, scores, described.columns, quality, facts, messages, gallery)


@contextmanager
def _naming(sample: str) -> Iterator[None]:
    """Prefix errors with the sample, if they do not name it."""
    try:
        yield
    except InputError as error:
        text = str(error)
        raise InputError(text if text.startswith("sample ") else f"sample {sample}: {text}") from error


@contextmanager
def _best_image(adata: AnnData, image: Path | None, sample: str) -> Iterator[tuple[list[Raster], str]]:
    """Yield the resolutions of the best image, finest first, and its checksum. Empty without an image."""
    if image is not None:
        with open_rasters(image, sample=sample) as rasters:
            yield rasters, sha256(image)
        return
    libraries = adata.uns.get(_keys.UNS_SPATIAL, {})
    only = next(iter(libraries.values())) if len(libraries) == 1 else {}
    stored = libraries.get(sample, only)  # a section that was given another name has its library under the old one
    images, factors = stored.get("images", {}), stored.get("scalefactors", {})
    stored_rasters = [
        from_array(images[name], name=name, scale=float(factors[f"tissue_{name}_scalef"]))
        for name in ("hires", "lowres")
        if name in images and f"tissue_{name}_scalef" in factors
    ]
    best = sorted(stored_rasters, key=lambda raster: -raster.scale)[:1]
    checksum = hashlib.sha256(np.asarray(images[best[0].name]).tobytes()).hexdigest() if best else ""
    yield best, checksum


def _place(adata: AnnData, pitch_px: float, alignment: Path | None) -> placing.Placed:
    coordinates = np.asarray(adata.obsm[_keys.SPATIAL], dtype=np.float64)
    if alignment is None:
        return placing.Placed(coordinates, pitch_px)
    on_array = _keys.ARRAY_ROW in adata.obs and _keys.ARRAY_COL in adata.obs
    array = adata.obs[[_keys.ARRAY_ROW, _keys.ARRAY_COL]].to_numpy(np.int64) if on_array else None
    with error_prefix(f"alignment {alignment.name}"):
        return placing.place(coordinates, pitch_px, read_alignment(alignment), array)


def _ruler(pitch_px: float, pitch_um: float, finest: Raster) -> tuple[Ruler, list[dict[str, str]]]:
    """Return the ruler of a section: its scale from ingest, else from the image file, else none, with a message."""
    ruler = Ruler(pitch_px, pitch_um)
    if ruler.known:
        return ruler, []
    if finest.um_per_px is not None:
        ruler = Ruler(pitch_px, pitch_px * finest.um_per_px * finest.scale)
        text = f"the scale is taken from the image {finest.name}, {finest.um_per_px:.3g} µm per pixel"
        return ruler, [{"level": "info", "text": f"{text}: the spot spacing is {ruler.pitch_um:.3g} µm"}]
    text = (
        f"the scale of the section is unknown: tiles are {ruler.text(*(s * ruler.base for s in SCALES))} wide "
        f"({pitch_px * finest.scale:.3g} px of the image {finest.name}), not a length in µm; give um_per_px "
        "or pitch_um in the samplesheet"
    )
    return ruler, [{"level": "warning", "text": text}]


def _orientation(of_section: slide.Slide, look: Appearance) -> list[dict[str, str]]:
    """Suggest another orientation of the section on the image, if it fits the tissue better."""
    tissue = orientation.tissue_map(of_section.rasters, look)
    agreement = orientation.agreements(tissue, of_section.centres, of_section.ruler.pitch_px)
    text = orientation.suggestion(agreement, of_section.rasters[0].name)
    return [{"level": "warning", "text": text}] if text else []


def _resolution(spot_px: float, um: float) -> str:
    scale = f", {um:.3g} µm per pixel" if np.isfinite(um) else ""
    return f"{spot_px:.2g} px per spot spacing{scale}"


def _coarse(name: str, spot_px: float, um: float) -> dict[str, str]:
    needed = f"{TEXTURE_PX} px to {'100 µm' if np.isfinite(um) else 'one spot spacing'}"
    text = (
        f"the best image ({name}) has {_resolution(spot_px, um)}, too coarse for texture ({needed}): only its colour "
        "is used"
    )
    return {"level": "warning", "text": text}


def _visible(sides: list[float], ruler: Ruler, finest: Raster, messages: list[dict[str, str]]) -> list[float]:
    """Return the sides of tiles with enough pixels for texture, and warn about the others."""
    pixels = {side: ruler.px(side) * finest.scale for side in sides}
    kept = [side for side in sides if pixels[side] >= TEXTURE_PX]
    if not kept:
        raise InputError(
            f"tile_um: the largest tile, {ruler.text(sides[-1])}, has {pixels[sides[-1]]:.2g} px in the image "
            f"{finest.name}; {TEXTURE_PX} are needed: give larger tiles"
        )
    if len(kept) < len(sides):
        left_out = ruler.text(*(side for side in sides if side not in kept))
        text = f"tiles of {left_out} have fewer than {TEXTURE_PX} px in the image {finest.name} and are left out"
        messages.append({"level": "warning", "text": text})
    return kept


def _predicted(
    adata: AnnData, image: npt.NDArray[np.float32], places: npt.NDArray[np.float64], messages: list[dict[str, str]]
) -> dict[str, Any] | None:
    """Compute the cross-validated R² of leading expression components predicted from the image."""
    import scipy.sparse as sp

    counts = sp.csr_matrix(adata.X, dtype=np.float32)
    library = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
    counts = sp.csr_matrix(counts[:, counts.getnnz(axis=0) >= GENE_SPOTS])
    if min(counts.shape) <= COMPONENTS_PREDICTED:
        return None
    expression, _ = standard_components(
        log_normalised(counts, library), np.zeros(adata.n_obs, np.int64), COMPONENTS_PREDICTED, seed=0
    )
    result = explained(expression, image, places)
    if result is None:
        messages.append({"level": "info", "text": "too little tissue to test how well the image predicts expression"})
        return None
    by_component, together = result
    what = f"of the first {COMPONENTS_PREDICTED} components of expression in held-out tissue"
    share = f"{together:.0%} " if together >= 0.005 else "nothing "
    messages.append({"level": "info", "text": f"the image predicts {share}{what}"})
    return {"components": COMPONENTS_PREDICTED, "r2": together, "r2_by_component": by_component}


def _without_image(
    adata: AnnData,
    reason: str,
    facts: dict[str, Any] | None = None,
    level: str = "warning",
    more: Sequence[dict[str, str]] = (),
) -> ImageFeatures:
    text = f"no image features: {reason}; expression alone is used"
    nothing = np.zeros((adata.n_obs, 0), np.float32)
    described = Descriptors([Nodes(nothing, None)], np.ones(adata.n_obs, dtype=bool), np.zeros(0, np.float32))
    facts = {"image": None, **(facts or {}), "descriptor": None, "components": 0}
    return _result(
        adata,
        described,
        nothing,
        [],
        pd.DataFrame(index=adata.obs_names),
        facts,
        [{"level": level, "text": text}, *more],
        None,
    )


def _result(
    adata: AnnData,
    described: Descriptors,
    scores: npt.NDArray[np.float32],
    columns: list[str],
    quality: pd.DataFrame,
    facts: dict[str, Any],
    messages: list[dict[str, str]],
    gallery: Gallery | None,
) -> ImageFeatures:
    import anndata

    features = anndata.AnnData(
        X=None if described.interpolated else described.at(slice(None)),
        obs=quality.assign(**{_keys.IN_IMAGE: ~described.off}),
        var=pd.DataFrame(index=pd.Index(columns, dtype=str)),
        obsm={_keys.IMAGE: scores},
        uns={_keys.UNS: {_keys.SAMPLE: str(adata.uns[_keys.UNS][_keys.SAMPLE])}}
        | ({_keys.IMAGE_NODES: described.as_uns()} if described.interpolated else {}),
    )
    return ImageFeatures(features, facts, messages, gallery)
