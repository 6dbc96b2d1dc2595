"""Training on AnnData."""

from __future__ import annotations

import dataclasses
import difflib
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

import anndata as ad
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils.sparsefuncs import mean_variance_axis
from threadpoolctl import threadpool_info

from mmsrl import _keys
from mmsrl._device import check_device
from mmsrl._errors import InputError
from mmsrl._samples import evenly
from mmsrl._sections import (
    all_counted,
    common_genes,
    counts_of,
    has_square_bins,
    image_places,
    in_pitches,
    of_cell_size,
    sample_names,
    section_index,
    spot_table,
)
from mmsrl.features.components import FIT_SPOTS, between_sections, fit_components
from mmsrl.features.nodes import SPOTS_AT_A_TIME
from mmsrl.graph import plain_graph
from mmsrl.normalisation import MIN_SPOTS, SPANS, log_normalised, most_varying, stabilise, variable_genes
from mmsrl.train.members import Member
from mmsrl.train.presets import JOINT, PRESETS, PUBLISHED, READOUT_SETTINGS, ConsistencyLoss, Published, Settings
from mmsrl.train.projections import projection_state
from mmsrl.train.sections import section_mixing
from mmsrl.train.unit import FloatArray, Message, Unit, build, info, warning

if TYPE_CHECKING:
    from mmsrl.train.fit import Row

VARIABLE_SPOTS = 50_000
"""Spots that variable genes are found on; of more, so many are drawn."""


class Training(NamedTuple):
    """What training came to."""

    embedding: FloatArray
    """(N, d) float32, in the order of the sections; in the default that of the first member."""
    latent: FloatArray | None
    """(N, h) float32, the latent representation of a published preset; ``None`` for ``default``."""
    members: list[Member]
    """The default's ensemble, which domains are read from; empty in the published presets."""
    history: list[Row]
    """Losses by epoch."""
    model: dict[str, Any]
    """Weights and all that is needed to rebuild the model; plain types and arrays."""
    facts: dict[str, Any]
    messages: list[Message]
    unit: Unit


def spatial_graph(adata: ad.AnnData, *, width: float = 1.0, key: str = "spatial_gaussian") -> None:
    """Write the Gaussian spatial graph to ``obsp[key]``: sparse, rows sum to 1, self loops included.

    Parameters
    ----------
    adata
        One section with ``obsm['spatial']``.
    width
        The kernel's standard deviation in spot pitches.
    """
    adata.obsp[key] = plain_graph(in_pitches(adata), width)


def train(
    data: ad.AnnData | Sequence[ad.AnnData],
    *,
    preset: str = "default",
    seed: int | None = None,
    device: str = "auto",
    batch_correction: bool | None = None,
    block_size: int | None = None,
    show_progress: bool = True,
    **settings: Any,
) -> Training:
    """Embed every spot of one section, or of several trained jointly, and write it to ``obsm['X_mmsrl']``.

    Parameters
    ----------
    data
        Sections with raw counts in ``X`` (CSR) and ``obsm['spatial']``; opened with ``backed="r"``, only the counts of
        modelled genes come into memory. Optional: ``uns['mmsrl']`` with ``sample`` and
        ``pitch_px``; ``obs['array_row']``, ``obs['array_col']``; image features in ``obsm['X_image']`` (one section) or
        descriptors in ``obsm['X_image_descriptor']`` (several: components are computed jointly).
    preset
        ``default``, or ``mmsrl`` or ``stmmr`` as published.
    seed
        Of everything random; same input and seed give the same embedding on a CPU.
    device
        ``auto``, ``cpu`` or ``cuda``: where a published preset is trained. ``default`` has no network and is computed
        on the CPU.
    batch_correction
        Correct expression and image for the section where there are several: expression of ``default`` by mutual
        nearest neighbours, all else by Harmony.
    block_size
        Spots of a block where pairs of spots are visited; bounds memory.
    settings
        Fields of :class:`mmsrl.train.presets.Default` or :class:`~mmsrl.train.presets.Published` that shall differ
        from the preset; ``None`` leaves the preset's.

    Returns
    -------
    Training
        The embedding, the losses, the weights and the facts of the run.

    Raises
    ------
    InputError
        If the sections have no gene in common, lack coordinates, or a setting does not exist or cannot be.
    NonFiniteLossError
        If training diverged.
    OutOfMemoryError
        If the device has not enough memory for this block size.
    """
    started = time.perf_counter()
    sections = [data] if isinstance(data, ad.AnnData) else list(data)
    chosen = choose_settings(
        preset, settings | {"seed": seed, "batch_correction": batch_correction}, joint=len(sections) > 1
    )
    check_device(device)
    unit = stack(sections, chosen.n_top_genes, by_section=chosen.by_section)
    history: list[Row] = []
    latent: FloatArray | None = None
    weights: dict[str, NDArray[Any]] = {}
    projections: dict[str, Any] = {}
    members: list[Member] = []
    if isinstance(chosen, Published):
        from mmsrl.train.networks import train_published

        embedding, latent, history, weights, facts = train_published(
            unit,
            chosen,
            device=device,
            block_size=block_size,
            show_progress=show_progress,
        )
    else:
        if device == "cuda":
            unit.messages.append(info(f"preset {preset} has no network to train on a GPU: it is computed on the CPU"))
        facts, members, fitted = build(unit, chosen, seed=chosen.seed, correct=chosen.batch_correction)
        embedding = np.asarray(members[0].embedding)
        projections = projection_state(fitted, members)
        facts |= {"n_weights": 0, "device": "cpu", "threads": _threads(), "gpu_peak_bytes": None}
    for i, adata in enumerate(sections):
        adata.obsm[_keys.EMBEDDING] = embedding[unit.section == i]
        if latent is not None:
            adata.obsm[_keys.LATENT] = latent[unit.section == i]
    facts |= _facts(unit, history, time.perf_counter() - started)
    if len(unit.samples) > 1:
        facts["section_mixing"] = section_mixing(embedding, unit.section)
    model = {
        "preset": preset,
        "settings": dataclasses.asdict(chosen),
        "genes": unit.genes,
        "state": weights,
        "samples": unit.samples,
        **projections,
    }
    return Training(embedding, latent, members, history, model, facts, unit.messages, unit)


def as_anndata(result: Training) -> ad.AnnData:
    """Return ``obsm['X_mmsrl']`` with each spot's sample, barcode and place.

    Spots are named by barcode, ``<barcode>-<sample>`` where there are several sections. ``obsm['spatial']`` is in spot
    pitches of the spot's own section. Members of the default's ensemble are in ``obsm['member_0']`` and so on, their
    names in ``uns['members']``, the p-values of the test of structure, beyond depth and with it, in
    ``uns['structure_p']`` (where there are counts) and ``uns['structure_p_with_depth']``.
    ``obs['total_counts']`` are those of all genes, where there are counts.
    """
    unit = result.unit
    obs = spot_table(unit.samples, unit.section, unit.barcodes)
    spatial = np.concatenate(unit.coordinates)
    obsm = {_keys.EMBEDDING: result.embedding, _keys.SPATIAL: spatial}
    obsm |= {f"{_keys.MEMBER}{i}": member.embedding for i, member in enumerate(result.members)}
    if result.latent is not None:
        obsm[_keys.LATENT] = result.latent
    if unit.counted:
        obs[_keys.TOTAL_COUNTS] = unit.library
    uns: dict[str, Any] = {_keys.PRESET: result.model["preset"]}
    if result.members:
        uns[_keys.MEMBERS] = np.array([member.name for member in result.members])
        tested = (_keys.STRUCTURE_P, _keys.STRUCTURE_P_WITH_DEPTH)
        uns |= {key: result.facts[key] for key in tested if key in result.facts}
    return ad.AnnData(obs=obs, obsm=obsm, uns=uns)


def choose_settings(preset: str, changes: dict[str, Any], *, joint: bool = False) -> Settings:
    """Return the settings of a preset with all ``changes`` that are not ``None``; ``joint``: for several sections."""
    if preset not in PRESETS:
        raise InputError(f"preset '{preset}' is not one of {', '.join(PRESETS)}")
    changes = {name: value for name, value in changes.items() if value is not None}
    known = [field.name for field in dataclasses.fields(PRESETS[preset]) if field.name not in READOUT_SETTINGS]
    for name in changes:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else f"; it has {', '.join(known)}"
            raise InputError(f"preset '{preset}' has no setting '{name}'{hint}")
    for name in ("kernel_width", "learning_rate", "components", "hidden_dim", "n_top_genes", "epochs"):
        if changes.get(name, 1.0) <= 0.0:
            raise InputError(f"{name} {changes[name]}: must be greater than 0")
    losses = get_args(ConsistencyLoss)
    if changes.get("consistency_loss", losses[0]) not in losses:
        raise InputError(f"consistency_loss {changes['consistency_loss']!r} is not one of {', '.join(losses)}")
    return dataclasses.replace(PRESETS[preset], **(JOINT if joint and preset in PUBLISHED else {}) | changes)


def stack(
    sections: Sequence[ad.AnnData], n_top_genes: int, genes: Sequence[str] | None = None, *, by_section: bool = True
) -> Unit:
    """Stack sections: genes to model of those in common, normalised, with coordinates and image features.

    Parameters
    ----------
    n_top_genes
        Highly variable genes to model.
    genes
        Genes to model in place of these, also if they are hardly seen; all sections must have them.
    """
    messages: list[Message] = []
    samples, section = sample_names(sections), section_index(sections)
    shared = common_genes(sections)
    if any(a.n_vars > len(shared) for a in sections):
        of_each = ", ".join(f"{sample} {a.n_vars}" for sample, a in zip(samples, sections, strict=True))
        messages.append(info(f"{len(shared)} genes are common to all sections ({of_each}); only these are used"))
    if genes is None:
        modelled = _variable_genes(sections, shared, section, n_top_genes, by_section, messages)
    else:
        modelled = list(genes)
        missing = sorted(set(modelled) - set(shared))
        if missing:
            raise InputError(f"the model has genes that the counts lack ({missing[0]}); give the files of one run")
    counts, library = counts_of(sections, modelled)
    counted, scaled = all_counted(sections), None
    if counted:
        expression = log_normalised(counts, library)
    else:
        found = stabilise(counts)
        expression, scaled, library = found.values, found.scaled, np.ones_like(library)
        messages.append(info(f"expression is normalised already: values taken as {found.scale}"))
    if counts.shape[1] < 2 or not mean_variance_axis(expression, axis=0)[1].any():
        raise InputError(
            f"of {counts.shape[1]} genes none varies from spot to spot by more than the spot's depth; there is nothing "
            "to learn from"
        )
    arrays = [_array_coordinates(a) for a in sections]
    return Unit(
        samples,
        section,
        [barcode for a in sections for barcode in a.obs_names],
        modelled,
        expression,
        counts,
        library,
        [in_pitches(a) for a in sections],
        all(of_cell_size(a) for a in sections),
        [image_places(a) for a in sections],
        None if any(a is None for a in arrays) else [a for a in arrays if a is not None],
        _image(sections, samples, section, by_section, messages),
        all(has_square_bins(a.uns.get(_keys.UNS, {})) for a in sections),
        messages,
        counted,
        scaled,
    )


def _array_coordinates(adata: ad.AnnData) -> NDArray[np.float64] | None:
    """Return row and column on the array, (n, 2); ``None`` where they are not known of every spot, as numbers."""
    if not {_keys.ARRAY_ROW, _keys.ARRAY_COL} <= set(adata.obs):
        return None
    columns = [pd.to_numeric(adata.obs[name], errors="coerce") for name in (_keys.ARRAY_ROW, _keys.ARRAY_COL)]
    places = np.column_stack([column.to_numpy(np.float64, na_value=np.nan) for column in columns])
    return places if np.isfinite(places).all() else None


def _variable_genes(
    sections: Sequence[ad.AnnData],
    genes: list[str],
    section: NDArray[np.int64],
    n_top: int,
    by_section: bool,
    messages: list[Message],
) -> list[str]:
    """Return those of ``genes`` that are most variable, found in each section where there are several."""
    spots = None
    if len(section) > VARIABLE_SPOTS:
        rng, most = np.random.default_rng(0), VARIABLE_SPOTS // len(sections)
        own = [np.flatnonzero(section == s) for s in range(len(sections))]
        spots = np.concatenate([np.sort(rng.choice(rows, min(len(rows), most), replace=False)) for rows in own])
        section = section[spots]
    counts, _ = counts_of(sections, genes, spots)
    try:
        if all_counted(sections):
            found = variable_genes(counts, n_top, section if by_section else None)
        else:
            found = most_varying(stabilise(counts).values, n_top)
    except ValueError as error:
        raise InputError(
            f"variable genes: the mean-variance trend cannot be fitted ({error}); are the counts raw?"
        ) from error
    if found.n_seen == 0:
        raise InputError(f"no gene is seen in {MIN_SPOTS} or more spots; the data are too sparse to train on")
    if found.n_seen < n_top:
        messages.append(info(f"all {found.n_seen} genes are modelled; n_top_genes asks for {n_top}"))
    if found.span > SPANS[0]:
        messages.append(info(f"variable genes: the mean-variance trend needed a window of {found.span:g} of the genes"))
    return [genes[g] for g in found.columns]


def _image(
    sections: Sequence[ad.AnnData],
    samples: list[str],
    section: NDArray[np.int64],
    by_section: bool,
    messages: list[Message],
) -> FloatArray | None:
    """Return image features of all sections, (N, D), or ``None``; sections without them have zeros, and a message."""
    key = _keys.IMAGE if len(sections) == 1 else _keys.IMAGE_DESCRIPTOR
    found = {i: a.obsm[key] for i, a in enumerate(sections) if key in a.obsm and a.obsm[key].shape[1]}
    if not found:
        text = "no image features: expression alone is used"
        if any(_keys.IMAGE in a.obsm and a.obsm[_keys.IMAGE].shape[1] for a in sections):
            text += (
                f"; components of one section's own image (obsm['{_keys.IMAGE}']) say nothing of another's: of several "
                f"sections the descriptor is taken, of mmsrl.pp.spot_descriptors, in obsm['{_keys.IMAGE_DESCRIPTOR}']"
            )
        messages.append(info(text))
        return None
    if len(sections) == 1:
        return np.asarray(found[0], dtype=np.float32)
    widths = {values.shape[1] for values in found.values()}
    if len(widths) > 1:
        messages.append(warning("sections have image descriptors of different kinds: expression alone is used"))
        return None
    for i, sample in enumerate(samples):
        if i not in found:
            messages.append(warning(f"{sample} has no image features: its spots take the mean of the other sections"))
    described = np.isin(section, list(found))
    rows = evenly(int(described.sum()), FIT_SPOTS)
    starts = np.cumsum([0, *map(len, found.values())])[:-1]
    own = np.split(rows, np.searchsorted(rows, starts[1:]))
    parts = [np.asarray(v)[at - start] for v, at, start in zip(found.values(), own, starts, strict=True)]
    if len(found) > 1 and by_section:
        share = between_sections(np.concatenate(parts), section[described][rows])
        told = f"of the variance of image descriptors {share:.0%} lies between sections (stain, scanner)"
        messages.append(info(f"{told}: they are standardised in each section, which leaves none of it"))
    # Standardisation within each section removes stain and scanner before the joint components are computed.
    scaled_by = found.values() if by_section else [np.concatenate(parts)] * len(found)
    scales = [(v.mean(axis=0), np.maximum(v.std(axis=0), 1e-6)) for v in scaled_by]
    standard = [(part - mean) / deviation for part, (mean, deviation) in zip(parts, scales, strict=True)]
    fitted = fit_components(np.concatenate(standard), 50)
    scores = [
        fitted.scores((v[start : start + SPOTS_AT_A_TIME] - mean) / deviation)
        for v, (mean, deviation) in zip(found.values(), scales, strict=True)
        for start in range(0, len(v), SPOTS_AT_A_TIME)
    ]
    image = np.zeros((len(section), fitted.axes.shape[1]), np.float32)
    image[described] = np.concatenate(scores)
    return image


def _threads() -> int:
    """Return how many threads linear algebra takes."""
    return max((pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"), default=1)


def _facts(unit: Unit, history: list[Row], seconds: float) -> dict[str, Any]:
    last = {name: value for name, value in history[-1].items() if name not in ("epoch", "seconds")} if history else {}
    return {
        "samples": dict(zip(unit.samples, np.bincount(unit.section).tolist(), strict=True)),
        "n_spots": len(unit.section),
        "expression": _keys.COUNTS if unit.counted else _keys.NORMALISED,
        "n_genes": len(unit.genes),
        "n_image_features": 0 if unit.image is None else unit.image.shape[1],
        "epochs": len(history),
        "losses": last,
        "seconds": seconds,
        "seconds_per_epoch": float(np.median([row["seconds"] for row in history])) if history else None,
    }
