"""Training on AnnData."""

from __future__ import annotations

import dataclasses
import difflib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import anndata as ad
import numpy as np
import scanpy as sc
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from mmsrl import _keys, geometry
from mmsrl._errors import InputError
from mmsrl.features.components import principal_components as image_components
from mmsrl.train import graph as graphs
from mmsrl.train.checkpoint import Checkpoint, fingerprint
from mmsrl.train.default import DefaultInputs, DefaultModel
from mmsrl.train.fit import Row, choose_device, fit, memory_errors
from mmsrl.train.presets import PRESETS, Default, Published, Settings
from mmsrl.train.published import Inputs, PublishedModel
from mmsrl.train.sections import harmonise, principal_components, section_mixing

FloatArray = NDArray[np.floating]

MIN_SPOTS = 3
"""Genes seen in fewer spots are not modelled, as published."""


class Unit(NamedTuple):
    """Sections that are trained together, stacked."""

    samples: list[str]
    section: NDArray[np.int64]
    """(N,): position of each spot's section in ``samples``."""
    barcodes: list[str]
    genes: list[str]
    """(G,): the modelled genes."""
    counts: sp.csr_matrix
    """(N, G), raw, float32."""
    library: FloatArray
    """(N,): total counts of all genes."""
    expression: sp.csr_matrix
    """(N, G): log1p of counts scaled to the median library, float32."""
    coordinates: list[FloatArray]
    """Of each section, (n, 2), in spot pitches."""
    array_coordinates: list[FloatArray] | None
    """Of each section, (n, 2), array row and column, where all sections have them."""
    image: FloatArray | None
    """(N, D); rows of sections without image are 0, the mean. ``None`` where no section has one."""
    platforms: set[str]
    messages: list[dict[str, str]]


class Training(NamedTuple):
    """What training came to."""

    embedding: FloatArray
    """(N, d) float32, in the order of the sections."""
    history: list[Row]
    """Losses by epoch."""
    model: dict[str, Any]
    """Weights and all that is needed to rebuild the model; plain types and tensors."""
    facts: dict[str, Any]
    messages: list[dict[str, str]]
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
    adata.obsp[key] = graphs.gaussian_graph(_in_pitches(adata), width)


def train(
    data: ad.AnnData | Sequence[ad.AnnData],
    *,
    preset: str = "default",
    seed: int = 0,
    device: str = "auto",
    n_top_genes: int = 3000,
    batch_correction: bool = True,
    block_size: int | None = None,
    checkpoint: Path | None = None,
    checkpoint_every: int = 10,
    show_progress: bool = True,
    **settings: Any,
) -> Training:
    """Embed every spot of one section, or of several trained jointly, and write it to ``obsm['X_mmsrl']``.

    Parameters
    ----------
    data
        Sections with raw counts in ``X`` (CSR) and ``obsm['spatial']``. Optional: ``uns['mmsrl']`` with ``sample`` and
        ``pitch_px``; ``obs['array_row']``, ``obs['array_col']``; image features in ``obsm['X_image']`` (one section) or
        descriptors in ``obsm['X_image_descriptor']`` (several: components are computed jointly).
    preset
        ``default``, or ``mmsrl`` or ``stmmr`` as published.
    seed
        Same input and seed give the same embedding on a CPU.
    device
        ``auto``, ``cpu`` or ``cuda``.
    n_top_genes
        Highly variable genes to model (``seurat_v3`` on raw counts).
    batch_correction
        Correct expression and image for the section by Harmony where there are several.
    block_size
        Spots of a block where pairs of spots are visited; bounds memory.
    checkpoint
        File to go on from after an interruption, saved every ``checkpoint_every`` epochs and removed at the end.
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
    chosen = choose_settings(preset, settings)
    place = choose_device(device)
    block = block_size or (4096 if place.type == "cuda" else 512)
    unit = stack(sections, n_top_genes)
    with memory_errors(block):
        build = _default_model if isinstance(chosen, Default) else _published_model
        model, adjacency, facts = build(unit, chosen, seed, batch_correction, block, place)
        save = None
        if checkpoint is not None:
            identity = fingerprint(
                chosen, [unit.counts.data, unit.counts.indices, *model.fixed()], seed=seed, block=block
            )
            save = Checkpoint(checkpoint, identity, checkpoint_every)
        history = fit(
            model,
            epochs=chosen.epochs,
            learning_rate=chosen.learning_rate,
            weight_decay=chosen.weight_decay,
            seed=seed,
            checkpoint=save,
            show_progress=show_progress,
        )
        z = model.embedding().float().cpu().numpy()
    if isinstance(chosen, Published):
        z, _, facts["variance_kept"] = principal_components(z, chosen.components, seed)
    _write(sections, unit, z)
    facts |= _facts(unit, model, adjacency, history, place, time.perf_counter() - started)
    if len(unit.samples) > 1:
        facts["section_mixing"] = section_mixing(z, unit.section)
    weights = {
        "preset": preset,
        "settings": dataclasses.asdict(chosen),
        "genes": unit.genes,
        "state": {name: value.cpu() for name, value in model.state_dict().items()},
    }
    return Training(z, history, weights, facts, unit.messages, unit)


def choose_settings(preset: str, changes: dict[str, Any]) -> Settings:
    """Return a preset's settings with ``changes`` that are not ``None``."""
    if preset not in PRESETS:
        raise InputError(f"preset '{preset}' is not one of {', '.join(PRESETS)}")
    changes = {name: value for name, value in changes.items() if value is not None}
    known = [field.name for field in dataclasses.fields(PRESETS[preset])]
    for name in changes:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else f"; it has {', '.join(known)}"
            raise InputError(f"preset '{preset}' has no setting '{name}'{hint}")
    return dataclasses.replace(PRESETS[preset], **changes)


def stack(sections: Sequence[ad.AnnData], n_top_genes: int) -> Unit:
    """Stack sections: common genes, highly variable ones, normalised expression, coordinates and image features."""
    messages: list[dict[str, str]] = []
    samples = [str(a.uns.get(_keys.UNS, {}).get(_keys.SAMPLE, f"section{i + 1}")) for i, a in enumerate(sections)]
    if len(set(samples)) < len(samples):
        raise InputError(f"sections must have different names in uns['mmsrl']['sample']; got {', '.join(samples)}")
    section = np.repeat(np.arange(len(sections)), [a.n_obs for a in sections])
    genes = _common_genes(sections, samples, messages)
    library = np.concatenate([np.asarray(a.X.sum(axis=1)).ravel() for a in sections])
    joint = ad.AnnData(
        sp.vstack([sp.csr_matrix(a[:, genes].X, dtype=np.float32) for a in sections], format="csr"),
    )
    joint.var_names = genes
    joint.obs["section"] = [samples[s] for s in section]
    joint = _variable_genes(joint, n_top_genes, messages)
    scaled = sp.diags(np.median(library[library > 0]) / np.maximum(library, 1.0)) @ joint.X
    on_array = all(_keys.ARRAY_ROW in a.obs and _keys.ARRAY_COL in a.obs for a in sections)
    return Unit(
        samples,
        section,
        [barcode for a in sections for barcode in a.obs_names],
        joint.var_names.tolist(),
        sp.csr_matrix(joint.X),
        library.astype(np.float32),
        sp.csr_matrix(scaled.log1p(), dtype=np.float32),
        [_in_pitches(a) for a in sections],
        [a.obs[[_keys.ARRAY_ROW, _keys.ARRAY_COL]].to_numpy(np.float64) for a in sections] if on_array else None,
        _image(sections, samples, section, messages),
        {str(a.uns.get(_keys.UNS, {}).get(_keys.PLATFORM, "other")) for a in sections},
        messages,
    )


def _common_genes(sections: Sequence[ad.AnnData], samples: list[str], messages: list[dict[str, str]]) -> list[str]:
    shared = set.intersection(*(set(a.var_names) for a in sections))
    genes = [gene for gene in sections[0].var_names if gene in shared]
    if not genes:
        raise InputError(f"sections {', '.join(samples)} have no gene in common; are they of one species and naming?")
    if any(a.n_vars > len(genes) for a in sections):
        counts = ", ".join(f"{sample} {a.n_vars}" for sample, a in zip(samples, sections, strict=True))
        messages.append(_info(f"{len(genes)} genes are common to all sections ({counts}); only these are used"))
    return genes


def _variable_genes(joint: ad.AnnData, n_top: int, messages: list[dict[str, str]]) -> ad.AnnData:
    joint = joint[:, np.asarray((joint.X > 0).sum(axis=0)).ravel() >= MIN_SPOTS].copy()
    if joint.n_vars == 0:
        raise InputError(f"no gene is seen in {MIN_SPOTS} or more spots; the data are too sparse to train on")
    if joint.n_vars <= n_top:
        messages.append(_info(f"all {joint.n_vars} genes are modelled; {n_top} variable ones were asked for"))
        return joint
    several = joint.obs["section"].nunique() > 1
    for span in (0.3, 0.6, 1.0):
        try:
            sc.pp.highly_variable_genes(
                joint, flavor="seurat_v3", n_top_genes=n_top, span=span, batch_key="section" if several else None
            )
        except ValueError as error:  # loess finds too few distinct means in a window
            reason = str(error)
            continue
        if span > 0.3:
            messages.append(_info(f"variable genes: the mean-variance trend needed a window of {span:g} of the genes"))
        return joint[:, joint.var["highly_variable"]].copy()
    raise InputError(f"variable genes: the mean-variance trend cannot be fitted ({reason}); are the counts raw?")


def _in_pitches(adata: ad.AnnData) -> FloatArray:
    """Return the coordinates, (n, 2), in spot pitches."""
    if _keys.SPATIAL not in adata.obsm:
        raise InputError(f"obsm['{_keys.SPATIAL}'] is missing: training needs the spots' coordinates")
    points = np.asarray(adata.obsm[_keys.SPATIAL], dtype=np.float64)
    pitch = float(adata.uns.get(_keys.UNS, {}).get(_keys.PITCH_PX, np.nan))
    if not np.isfinite(pitch):
        pitch = geometry.measure(points).pitch
    if not np.isfinite(pitch):
        raise InputError(f"obsm['{_keys.SPATIAL}']: all spots lie at one place")
    return points / pitch


def _image(
    sections: Sequence[ad.AnnData], samples: list[str], section: NDArray[np.int64], messages: list[dict[str, str]]
) -> FloatArray | None:
    """Return image features of all sections, (N, D), or ``None``; sections without them have zeros, and a message."""
    key = _keys.IMAGE if len(sections) == 1 else _keys.IMAGE_DESCRIPTOR
    found = {i: a.obsm[key] for i, a in enumerate(sections) if key in a.obsm and a.obsm[key].shape[1]}
    if not found:
        messages.append(_info("no image features: expression alone is used"))
        return None
    if len(sections) == 1:
        return np.asarray(found[0], dtype=np.float32)
    widths = {values.shape[1] for values in found.values()}
    if len(widths) > 1:
        messages.append(_warning("sections have image descriptors of different kinds: expression alone is used"))
        return None
    for i, sample in enumerate(samples):
        if i not in found:
            messages.append(_warning(f"{sample} has no image features: its spots take the mean of the other sections"))
    # Standardised in each section, stain and scanner drop out before the joint components are taken.
    values = np.concatenate([_standardise(np.asarray(v, dtype=np.float32)) for v in found.values()])
    scores, _ = image_components(values, 50)
    image = np.zeros((len(section), scores.shape[1]), np.float32)
    image[np.isin(section, list(found))] = scores
    return image


def _standardise(values: FloatArray) -> FloatArray:
    return (values - values.mean(axis=0)) / np.maximum(values.std(axis=0), 1e-6)


def _correct_image(unit: Unit, seed: int) -> FloatArray | None:
    """Return image features corrected for the section among the sections that have any."""
    if unit.image is None:
        return None
    rows = unit.image.any(axis=1)
    if np.unique(unit.section[rows]).size < 2:
        return unit.image
    image = unit.image.copy()
    image[rows] = harmonise(image[rows], unit.section[rows], seed)
    return image


def _published_model(
    unit: Unit, settings: Published, seed: int, correct: bool, block: int, device: torch.device
) -> tuple[PublishedModel, sp.csr_matrix, dict[str, Any]]:
    width = settings.kernel_width or (1.0 if unit.platforms == {"visium_hd"} else 2.0)
    n_genes = len(unit.genes)
    if settings.mask_fraction and settings.masked_weight and settings.hidden_dim not in (None, n_genes):
        raise InputError(
            f"masked reconstruction compares {settings.hidden_dim} hidden values with {n_genes} genes: "
            f"leave --hidden-dim empty, or set --masked-weight 0"
        )
    if unit.array_coordinates is None:
        unit.messages.append(_info("no array coordinates: the graph is built on positions in spot pitches"))
    places = unit.array_coordinates or unit.coordinates
    adjacency = graphs.block_diagonal([graphs.gaussian_graph(points, width) for points in places])
    smooth = graphs.smooth(adjacency, unit.expression, 2)
    image = unit.image
    if len(unit.samples) > 1 and correct:
        scores, axes, _ = principal_components(unit.expression, 50, seed)
        smooth += graphs.smooth(adjacency, harmonise(scores, unit.section, seed) - scores, 2) @ axes
        image = _correct_image(unit, seed)
        unit.messages.append(_info("expression and image features are corrected for the section (Harmony)"))
    if image is None:
        unit.messages.append(
            _info("the published models have no path for a missing image: the image branch contributes nothing")
        )
    inputs = Inputs(
        unit.expression,
        torch.as_tensor(smooth),
        None if image is None else torch.as_tensor(graphs.smooth(adjacency, image, 2)),
        adjacency,
    )
    torch.manual_seed(seed)
    model = PublishedModel(inputs, settings, block=block, device=device)
    return model, adjacency, {"kernel_width": width, "hidden_dim": settings.hidden_dim or n_genes}


def _default_model(
    unit: Unit, settings: Default, seed: int, correct: bool, block: int, device: torch.device
) -> tuple[DefaultModel, sp.csr_matrix, dict[str, Any]]:
    adjacency = graphs.block_diagonal([graphs.gaussian_graph(p, settings.kernel_width) for p in unit.coordinates])
    scores, _, _ = principal_components(unit.expression, settings.components, seed)
    image = unit.image
    if len(unit.samples) > 1 and correct:
        scores, image = harmonise(scores, unit.section, seed), _correct_image(unit, seed)
        unit.messages.append(_info("expression and image features are corrected for the section (Harmony)"))
    parts = [_unit_variance(graphs.smooth(adjacency, scores, k)) for k in range(1, settings.scales + 1)]
    if image is not None:
        parts.append(settings.image_weight**0.5 * _unit_variance(graphs.smooth(adjacency, image, settings.scales)))
    inputs = DefaultInputs(
        unit.counts, torch.as_tensor(unit.library), torch.as_tensor(np.hstack(parts).astype(np.float32))
    )
    torch.manual_seed(seed)
    return DefaultModel(inputs, settings, device=device), adjacency, {"kernel_width": settings.kernel_width}


def _unit_variance(values: FloatArray) -> FloatArray:
    """Scale a view so that its total variance is that of as many standard columns."""
    return values / np.sqrt(np.maximum(values.var(axis=0).mean(), 1e-12))


def _write(sections: Sequence[ad.AnnData], unit: Unit, z: FloatArray) -> None:
    for i, adata in enumerate(sections):
        adata.obsm[_keys.EMBEDDING] = z[unit.section == i]


def _facts(
    unit: Unit,
    model: torch.nn.Module,
    adjacency: sp.csr_matrix,
    history: list[Row],
    device: torch.device,
    seconds: float,
) -> dict[str, Any]:
    last = {name: value for name, value in history[-1].items() if name not in ("epoch", "seconds")}
    return {
        "samples": dict(zip(unit.samples, np.bincount(unit.section).tolist(), strict=True)),
        "n_spots": len(unit.section),
        "n_genes": len(unit.genes),
        "n_image_features": 0 if unit.image is None else unit.image.shape[1],
        "graph_entries_per_spot": adjacency.nnz / adjacency.shape[0],
        "n_weights": sum(p.numel() for p in model.parameters()),
        "device": device.type,
        "threads": torch.get_num_threads(),
        "epochs": len(history),
        "losses": last,
        "seconds": seconds,
        "seconds_per_epoch": float(np.median([row["seconds"] for row in history])),
        "gpu_peak_bytes": torch.cuda.max_memory_allocated() if device.type == "cuda" else None,
    }


def _info(text: str) -> dict[str, str]:
    return {"level": "info", "text": text}


def _warning(text: str) -> dict[str, str]:
    return {"level": "warning", "text": text}
