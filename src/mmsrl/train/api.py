"""Compute the embedding of tissue sections given as AnnData."""

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
"""Maximum number of spots from which variable genes are selected. A random subset is used beyond."""


class Training(NamedTuple):
    """Result of :func:`train`. N spots, d dimensions."""

    embedding: FloatArray
    """(N, d) float32, in the order of the sections. For ``default``, the embedding of the first member."""
    latent: FloatArray | None
    """(N, h) float32, the latent representation of a published preset; ``None`` for ``default``."""
    members: list[Member]
    """Ensemble of ``default``, from which domains are clustered. Empty for the published presets."""
    history: list[Row]
    """Losses of each epoch. Empty for ``default``."""
    model: dict[str, Any]
    """Weights and settings from which the model can be rebuilt: plain types and arrays."""
    facts: dict[str, Any]
    """Summary of the run."""
    messages: list[Message]
    """Warnings and notes for the user: ``level`` and ``text``."""
    unit: Unit
    """Stacked input."""


def spatial_graph(adata: ad.AnnData, *, width: float = 1.0, key: str = "spatial_gaussian") -> None:
    """Write the row-normalised Gaussian spatial graph, with self loops, to ``obsp[key]``.

    Parameters
    ----------
    adata
        One section with ``obsm['spatial']``.
    width
        Bandwidth (standard deviation) of the Gaussian kernel in spot pitches.
    key
        Key in ``obsp`` of the (n, n) sparse matrix.
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
    """Compute the embedding of all spots and write it to ``obsm['X_mmsrl']``. Several sections are trained jointly.

    Parameters
    ----------
    data
        One section or several, with raw counts in ``X`` (CSR) and coordinates in ``obsm['spatial']``. If the files are
        opened with ``backed="r"``, only the counts of modelled genes are loaded. Optional: ``uns['mmsrl']`` with
        ``sample`` and ``pitch_px``; ``obs['array_row']`` and ``obs['array_col']``; image features, for one section as
        components in ``obsm['X_image']``, for several as descriptors in ``obsm['X_image_descriptor']``.
    preset
        ``default``, or one of the published models ``mmsrl`` and ``stmmr``.
    seed
        Random seed. ``None``: set by the preset. On a CPU, the same input and seed give the same embedding.
    device
        Device for a published preset: ``auto``, ``cpu`` or ``cuda``. ``default`` has no network and runs on the CPU.
    batch_correction
        Correct for the batch key (the section) if there are several sections. ``default`` aligns expression by mutual
        nearest neighbours. Harmony corrects image features, and the expression of the published presets. ``None``: set
        by the preset.
    block_size
        Number of spots per block in computations over pairs of spots. Smaller blocks need less memory.
    show_progress
        Report the epochs.
    settings
        Fields of :class:`mmsrl.train.presets.Default` or :class:`~mmsrl.train.presets.Published` to change. ``None``
        keeps the value of the preset.

    Returns
    -------
    Training
        Embedding, losses, weights and summary.

    Raises
    ------
    InputError
        If the sections share no gene or lack coordinates, or if a setting is unknown or invalid.
    NonFiniteLossError
        If training diverges.
    OutOfMemoryError
        If the device has too little memory for this block size.
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
            unit.messages.append(info(f"device cuda: preset {preset} has no network and is computed on the CPU"))
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
    """Return the result of training as AnnData: one row per spot, in the order of the sections.

    The index is the barcode, or ``<barcode>-<sample>`` if there are several sections.

    - ``obs``: ``sample``, ``barcode`` and, for counts, ``total_counts`` (library size over all genes)
    - ``obsm``: ``X_mmsrl``, the embedding; ``spatial``, coordinates in spot pitches of the section;
      ``member_0``, ``member_1``, …, the ensemble of ``default``; ``latent``, the latent representation of a published
      preset
    - ``uns``: ``preset``; ``members``, names of the members; ``structure_p_with_depth`` and, for counts,
      ``structure_p``, p-values of the test of spatial structure with sequencing depth and beyond it
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
    """Return the settings of a preset with all ``changes`` that are not ``None``.

    Parameters
    ----------
    joint
        Whether several sections are trained jointly.

    Raises
    ------
    InputError
        If the preset or a setting is unknown, or a value is invalid.
    """
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
    """Stack the input of several sections: normalised expression of the modelled genes, coordinates, image features.

    Parameters
    ----------
    sections
        As :func:`train` takes them.
    n_top_genes
        Number of highly variable genes to model, among the genes that all sections share.
    genes
        Genes to model instead. All sections must have them.
    by_section
        Select variable genes and standardise image descriptors within each section, instead of over all spots.

    Raises
    ------
    InputError
        If the sections share no gene, lack one of ``genes`` or coordinates, or have no variable expression.
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
            raise InputError(f"the model has genes that the counts lack, such as {missing[0]}; give files of one run")
    counts, library = counts_of(sections, modelled)
    counted, scaled = all_counted(sections), None
    if counted:
        expression = log_normalised(counts, library)
    else:
        stabilised = stabilise(counts)
        expression, scaled, library = stabilised.values, stabilised.scaled, np.ones_like(library)
        messages.append(info(f"expression is normalised already: values taken as {stabilised.scale}"))
    if counts.shape[1] < 2 or not mean_variance_axis(expression, axis=0)[1].any():
        raise InputError(
            f"none of {counts.shape[1]} genes varies between spots beyond sequencing depth; check the matrix of counts"
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
    """Return row and column on the array, (n, 2), or ``None`` unless all spots have numbers there."""
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
    """Return the most variable of ``genes``."""
    spots = None
    if len(section) > VARIABLE_SPOTS:
        rng, most = np.random.default_rng(0), VARIABLE_SPOTS // len(sections)
        by_sample = [np.flatnonzero(section == s) for s in range(len(sections))]
        spots = np.concatenate([np.sort(rng.choice(rows, min(len(rows), most), replace=False)) for rows in by_sample])
        section = section[spots]
    counts, _ = counts_of(sections, genes, spots)
    try:
        if all_counted(sections):
            variable = variable_genes(counts, n_top, section if by_section else None)
        else:
            variable = most_varying(stabilise(counts).values, n_top)
    except ValueError as error:
        raise InputError(
            f"variable genes: the mean-variance trend cannot be fitted ({error}); check that the counts are raw"
        ) from error
    if variable.n_seen == 0:
        raise InputError(f"no gene is detected in {MIN_SPOTS} or more spots; the data are too sparse to train on")
    if variable.n_seen < n_top:
        messages.append(info(f"all {variable.n_seen} genes are modelled; n_top_genes asks for {n_top}"))
    if variable.span > SPANS[0]:
        text = f"variable genes: the mean-variance trend needed a loess span of {variable.span:g}"
        messages.append(info(text))
    return [genes[g] for g in variable.columns]


def _image(
    sections: Sequence[ad.AnnData],
    samples: list[str],
    section: NDArray[np.int64],
    by_section: bool,
    messages: list[Message],
) -> FloatArray | None:
    """Return image features of all spots, (N, D), or ``None``. Sections without image features have zeros."""
    key = _keys.IMAGE if len(sections) == 1 else _keys.IMAGE_DESCRIPTOR
    features = {i: a.obsm[key] for i, a in enumerate(sections) if key in a.obsm and a.obsm[key].shape[1]}
    if not features:
        text = "no image features: expression alone is used"
        if any(_keys.IMAGE in a.obsm and a.obsm[_keys.IMAGE].shape[1] for a in sections):
            text += (
                f"; components of single sections (obsm['{_keys.IMAGE}']) cannot be compared between sections: write "
                f"the descriptors (mmsrl.pp.spot_descriptors) to obsm['{_keys.IMAGE_DESCRIPTOR}']"
            )
        messages.append(info(text))
        return None
    if len(sections) == 1:
        return np.asarray(features[0], dtype=np.float32)
    widths = {values.shape[1] for values in features.values()}
    if len(widths) > 1:
        messages.append(warning("image descriptors of the sections differ in kind: expression alone is used"))
        return None
    for i, sample in enumerate(samples):
        if i not in features:
            messages.append(warning(f"{sample} has no image features: its spots get the mean of the other sections"))
    described = np.isin(section, list(features))
    rows = evenly(int(described.sum()), FIT_SPOTS)
    starts = np.cumsum([0, *map(len, features.values())])[:-1]
    sampled = np.split(rows, np.searchsorted(rows, starts[1:]))
    parts = [np.asarray(v)[at - start] for v, at, start in zip(features.values(), sampled, starts, strict=True)]
    if len(features) > 1 and by_section:
        share = between_sections(np.concatenate(parts), section[described][rows])
        text = f"{share:.0%} of the variance of image descriptors lies between sections (stain, scanner)"
        messages.append(info(f"{text}: descriptors are standardised within each section, which removes it"))
    # Standardisation within each section removes stain and scanner before the joint components are computed.
    scaled_by = features.values() if by_section else [np.concatenate(parts)] * len(features)
    scales = [(v.mean(axis=0), np.maximum(v.std(axis=0), 1e-6)) for v in scaled_by]
    standard = [(part - mean) / deviation for part, (mean, deviation) in zip(parts, scales, strict=True)]
    fitted = fit_components(np.concatenate(standard), 50)
    scores = [
        fitted.scores((v[start : start + SPOTS_AT_A_TIME] - mean) / deviation)
        for v, (mean, deviation) in zip(features.values(), scales, strict=True)
        for start in range(0, len(v), SPOTS_AT_A_TIME)
    ]
    image = np.zeros((len(section), fitted.axes.shape[1]), np.float32)
    image[described] = np.concatenate(scores)
    return image


def _threads() -> int:
    """Return the number of threads of the linear algebra library."""
    return max((pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"), default=1)


def _facts(unit: Unit, history: list[Row], seconds: float) -> dict[str, Any]:
    """Return the entries of the summary that all presets share."""
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
