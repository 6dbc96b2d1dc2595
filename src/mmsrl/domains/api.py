"""Cluster the members of an ensemble into spatial domains, and build their consensus."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple, get_args

import anndata as ad
import numpy as np
import pandas as pd

from mmsrl import _keys
from mmsrl._errors import InputError
from mmsrl._sections import member_keys
from mmsrl.domains.consensus import consensus
from mmsrl.domains.covariates import covariates
from mmsrl.domains.neighbourhood import majority_vote
from mmsrl.domains.number import Mapper, choose_number
from mmsrl.domains.readouts import Posterior, read_out, reduce
from mmsrl.train.presets import Readout, with_defaults

UNSTABLE = 0.7
"""Stability of a chosen number of domains below which a warning is given."""

LATENT_READOUTS = ("kmeans", "leiden")
"""Read-outs that cluster the whole latent representation of a published preset. The Gaussian mixtures cluster its
principal components."""

STRUCTURE_LEVEL = 0.01
"""Significance level of the test of spatial structure (:func:`mmsrl.train.bandwidth.structure_p`). Above it K is 1."""


class Domains(NamedTuple):
    """Domains of one unit."""

    table: pd.DataFrame
    """One row per spot, in the order of the embeddings: ``sample``, ``barcode``, ``domain`` ("1", "2", … from the
    largest to the smallest), ``domain_confidence`` (float32, 0 to 1)."""
    members: ad.AnnData
    """Posterior probabilities of each member in ``obsm['posterior_0']``, ``obsm['posterior_1']``, …: (n, K) float32,
    from the largest domain of the member to the smallest."""
    facts: dict[str, Any]
    """Summary of the clustering."""
    messages: list[dict[str, str]]
    """Warnings and notes for the user: ``level`` and ``text``."""


def domains(
    embeddings: ad.AnnData | Sequence[ad.AnnData],
    n_domains: int | None = None,
    *,
    readout: Readout | None = None,
    seed: int | None = None,
    refine: int | None = None,
    threads: int = 1,
) -> Domains:
    """Cluster the spots of all sections of a unit jointly, so that a domain has the same name in all sections.

    Each member of the ensemble is clustered, and the consensus of the members gives the domains.

    Parameters
    ----------
    embeddings
        Embeddings of one training or several, of the same spots in the same order
        (:func:`mmsrl.train.api.as_anndata`). The members are in ``obsm['member_0']``, ``obsm['member_1']``, …, or the
        only member in ``obsm['X_mmsrl']``, (n, d).
    n_domains
        Number of domains K. ``None``: 1 without spatial structure beyond depth and noise, else chosen by stability over
        the members (:func:`mmsrl.domains.number.choose_number`).
    readout
        ``gmm``, ``gmm_full``, ``kmeans`` or ``leiden`` (:func:`mmsrl.domains.readouts.read_out`). ``None``: set by the
        preset of the embeddings.
    seed
        Random seed of the first member. Each further member adds 1. ``None``: set by the preset.
    refine
        Number of nearest spots whose majority vote replaces the domain of a spot, for the published presets. ``None``:
        set by the preset.
    threads
        Number of members that are clustered in parallel. It does not affect the result.

    Raises
    ------
    InputError
        If an embedding is missing, not finite or constant, if the embeddings belong to different spots, or if
        ``n_domains`` exceeds the number of different spots.
    """
    trainings = [embeddings] if isinstance(embeddings, ad.AnnData) else list(embeddings)
    settings = readout_settings(trainings[0], readout=readout, seed=seed, refine=refine)
    readout, seed, refine = settings["readout"], settings["seed"], settings["refine"]
    check_readout(n_domains, readout)
    spots = _spots(trainings)
    points = [reduce(values) for adata in trainings for values in _members(adata)]
    clustered = points
    if readout in LATENT_READOUTS and _keys.LATENT in trainings[0].obsm:
        clustered = [np.asarray(adata.obsm[_keys.LATENT], dtype=np.float64) for adata in trainings]
    messages: list[dict[str, str]] = []
    facts: dict[str, Any] = {"readout": readout, "components": [p.shape[1] for p in clustered], "chosen": None}
    with _at_once(threads) as at_once:
        if n_domains is None:
            structured = _structured(trainings[0], facts, messages)
            n_domains = _choose(points, seed, at_once, facts, messages) if structured else 1

        def read(member: int) -> Posterior:
            return read_out(clustered[member], n_domains, readout, seed + member)

        # igraph has one random stream per process, so Leiden runs serially.
        posteriors = list((map if readout == "leiden" else at_once)(read, range(len(points))))
    _report_fewer(posteriors, n_domains, readout, messages)
    places = np.asarray(trainings[0].obsm[_keys.SPATIAL])
    section = spots[_keys.SAMPLE].to_numpy()
    if refine:
        posteriors = [majority_vote(posterior, places, section, refine) for posterior in posteriors]
    found = consensus(posteriors, places, section)
    total = trainings[0].obs.get(_keys.TOTAL_COUNTS)
    followed, said = covariates(found.labels, section, total)
    columns = {_keys.DOMAIN: found.labels.astype(str), _keys.CONFIDENCE: found.confidence}
    obsm = {f"{_keys.POSTERIOR}{i}": posterior for i, posterior in enumerate(posteriors)}
    members = ad.AnnData(obs=spots, obsm=obsm | {_keys.SPATIAL: places})
    table = spots.reset_index(drop=True).assign(**columns)
    return Domains(table, members, facts | followed | found.facts, [*messages, *said, *found.messages])


def _structured(training: ad.AnnData, facts: dict[str, Any], messages: list[dict[str, str]]) -> bool:
    """Return whether there is significant spatial structure. Without it, there is one domain.

    If all structure follows sequencing depth, spots are clustered with a warning, because depth can be biological, as
    in tumours. Depth is unknown for values that are normalised already. Then all structure counts.
    """
    beyond, with_depth = (
        None if training.uns.get(key) is None else float(training.uns[key])
        for key in (_keys.STRUCTURE_P, _keys.STRUCTURE_P_WITH_DEPTH)
    )
    facts |= {_keys.STRUCTURE_P: beyond, _keys.STRUCTURE_P_WITH_DEPTH: with_depth}
    if with_depth is None or (with_depth if beyond is None else beyond) <= STRUCTURE_LEVEL:
        return True
    if with_depth <= STRUCTURE_LEVEL:
        text = (
            f"spatial structure follows sequencing depth: none is significant beyond depth (p = {beyond:.3f}); check "
            "whether domains follow total_counts"
        )
        messages.append({"level": "warning", "text": text})
        return True
    aside = "" if beyond is None else f"; beyond depth, p = {beyond:.3f}"
    text = (
        "no structure found: neighbours predict expression no better than permuted spots "
        f"(p = {with_depth:.3f}{aside}), so there is one domain; give n_domains to cluster all the same"
    )
    messages.append({"level": "warning", "text": text})
    return False


def readout_settings(
    training: ad.AnnData, *, readout: Readout | None, seed: int | None, refine: int | None
) -> dict[str, Any]:
    """Return ``readout``, ``seed`` and ``refine``, with the defaults of the preset for each ``None``.

    Raises
    ------
    InputError
        If ``refine`` is given for ``default``, which has no such setting.
    """
    preset = str(training.uns.get(_keys.PRESET, "default"))
    if preset == "default" and refine:
        raise InputError("refine: the preset 'default' has no refinement by neighbours; leave it out")
    return with_defaults(preset, {"readout": readout, "seed": seed, "refine": refine})


def check_readout(n_domains: Any, readout: str | None) -> None:
    """Raise :class:`InputError` if the read-out is unknown or ``n_domains`` is not a positive integer or ``None``."""
    if readout is not None and readout not in get_args(Readout):
        raise InputError(f"readout {readout!r} is not one of {', '.join(get_args(Readout))}")
    if n_domains is not None and not (isinstance(n_domains, (int, np.integer)) and n_domains >= 1):
        raise InputError(f"n_domains {n_domains!r}: must be a whole number from 1, or None to choose it by stability")


def _spots(trainings: Sequence[ad.AnnData]) -> pd.DataFrame:
    """Return sample and barcode of the spots, and check that all trainings have the same spots."""
    tables: list[pd.DataFrame] = [adata.obs[[_keys.SAMPLE, _keys.BARCODE]].astype(str) for adata in trainings]
    for number, table in enumerate(tables[1:], start=2):
        if not np.array_equal(tables[0].to_numpy(), table.to_numpy()):
            raise InputError(f"embedding {number} is not of the same spots as the first; give trainings of one unit")
    return tables[0]


def _members(adata: ad.AnnData) -> list[Any]:
    """Return the members of a training in the order of their numbers, or its only embedding."""
    names = member_keys(adata) or [_keys.EMBEDDING]
    if names[0] not in adata.obsm:
        raise InputError(f"the embedding file has no obsm['{_keys.EMBEDDING}']; give a file that mmsrl-train wrote")
    return [np.asarray(adata.obsm[name]) for name in names]


def _report_fewer(
    posteriors: Sequence[Posterior], n_domains: int, readout: str, messages: list[dict[str, str]]
) -> None:
    """Add a message if members have fewer domains than requested: a warning if most members do."""
    numbers = [int(posterior.argmax(axis=1).max()) + 1 for posterior in posteriors]
    fewer = [number for number in numbers if number < n_domains]
    if fewer:
        text = (
            f"{n_domains} domains were requested; {readout} finds fewer (at least {min(fewer)}) in {len(fewer)} of the "
            f"{len(numbers)} members"
        )
        messages.append({"level": "warning" if len(fewer) > len(numbers) / 2 else "info", "text": text})


def _choose(points: Sequence[Any], seed: int, mapper: Mapper, facts: dict[str, Any], messages: list[Any]) -> int:
    """Choose the number of domains, and describe the choice in ``facts`` and ``messages``."""
    number = choose_number(points, seed, mapper)
    tried = f"{number.curve[1]['n_domains']:.0f} to {number.curve[-2]['n_domains']:.0f}"
    if not number.peak:
        rule = f"the most stable of {tried} (stability has no peak)"
    elif number.n_domains < number.highest:
        rule = f"the first peak of {tried} within one standard error of the highest peak, at {number.highest}"
    else:
        rule = f"the most stable peak of {tried}"
    facts["chosen"] = {
        "n_domains": number.n_domains,
        "stability": number.stability,
        "rule": rule,
        "curve": number.curve,
    }
    text = f"the number of domains was not given: {number.n_domains}, {rule} (stability {number.stability:.2f})"
    messages.append({"level": "info", "text": text})
    if number.stability < UNSTABLE:
        text = "no number of domains is stable in these data: inspect the stability curve, and give n_domains if known"
        messages.append({"level": "warning", "text": text})
    return number.n_domains


@contextmanager
def _at_once(threads: int) -> Iterator[Mapper]:
    """Provide a ``map`` that runs up to ``threads`` calls in parallel, each on one core.

    The matrices are small, so more threads per call save no time, and cost much time on a busy machine. The limit of
    BLAS holds for the process. The limit of OpenMP holds for one thread, so each worker sets it.
    """
    from threadpoolctl import threadpool_limits

    def several(function: Callable[[Any], Any], items: Iterable[Any]) -> Iterable[Any]:
        return pool.map(function, items)

    # The outer limit restores the settings of the process after the last worker.
    with threadpool_limits(1), ThreadPoolExecutor(threads, initializer=threadpool_limits, initargs=(1,)) as pool:
        yield several
