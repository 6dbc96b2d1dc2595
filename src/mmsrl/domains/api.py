"""Domains of the sections trained together: of every member of an ensemble, and their consensus."""

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
"""Stability below which a chosen number of domains is said to be uncertain."""


LATENT_READOUTS = ("kmeans", "leiden")
"""Read-outs that cluster the whole latent representation of a published preset. The Gaussian mixtures cluster its
principal components."""

STRUCTURE_LEVEL = 0.01
"""p-value of the test of spatial structure (:func:`mmsrl.train.bandwidth.structure_p`) above which K is 1."""


class Domains(NamedTuple):
    """Domains of one unit."""

    table: pd.DataFrame
    """One row a spot, in the order of the embeddings: ``sample``, ``barcode``, ``domain`` ("1", "2", … from the largest
    to the smallest), ``domain_confidence`` (float32, 0 to 1)."""
    members: ad.AnnData
    """The spots, with their probabilities of each domain in ``obsm['posterior_0']`` and so on, one a member:
    (n, K) float32, from the member's largest domain to its smallest."""
    facts: dict[str, Any]
    """How they were found: for the summary."""
    messages: list[dict[str, str]]
    """What the user should be told: ``level`` and ``text``."""


def domains(
    embeddings: ad.AnnData | Sequence[ad.AnnData],
    n_domains: int | None = None,
    *,
    readout: Readout | None = None,
    seed: int | None = None,
    refine: int | None = None,
    threads: int = 1,
) -> Domains:
    """Group the spots of all sections of a unit into domains, jointly, so that one number means one domain in all.

    Parameters
    ----------
    embeddings
        Of one training or several: the same spots in the same order, each with the members of an ensemble in
        ``obsm['member_0']`` and so on, or with one in ``obsm['X_mmsrl']``, (n, d); ``obs['sample']``,
        ``obs['barcode']``, ``obsm['spatial']``.
    n_domains
        Number of domains; if it is not given, 1 where there is no spatial structure beyond depth and noise, else
        chosen by stability over the members, see :func:`mmsrl.domains.number.choose_number`.
    readout
        ``gmm``, ``gmm_full``, ``kmeans`` or ``leiden``: see :func:`mmsrl.domains.readouts.read_out`.
    seed
        Seed of the first member's read-out; the next one has the next seed.
    threads
        Read-outs that run at once; the result does not depend on it.

    Raises
    ------
    InputError
        If an embedding is missing, not finite or constant, the embeddings are not of the same spots, or ``n_domains``
        exceeds the number of different spots.
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

        # igraph draws from one random stream a process.
        posteriors = list((map if readout == "leiden" else at_once)(read, range(len(points))))
    _tell_of_fewer(posteriors, n_domains, readout, messages)
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
    """Tell whether there is structure beyond noise; one domain is the answer where there is none.

    Structure that depth tells is divided, with a warning: in a tumour the molecules of a spot are biology. Of values
    that were normalised before depth is not known, and all structure counts.
    """
    beyond, with_depth = (
        None if training.uns.get(key) is None else float(training.uns[key])
        for key in (_keys.STRUCTURE_P, _keys.STRUCTURE_P_WITH_DEPTH)
    )
    facts |= {_keys.STRUCTURE_P: beyond, _keys.STRUCTURE_P_WITH_DEPTH: with_depth}
    if with_depth is None or (with_depth if beyond is None else beyond) <= STRUCTURE_LEVEL:
        return True
    if with_depth <= STRUCTURE_LEVEL:
        text = f"what structure there is goes with depth: beyond it there is none to be seen (p = {beyond:.3f})"
        messages.append({"level": "warning", "text": text})
        return True
    aside = "" if beyond is None else f"; depth left aside, {beyond:.3f}"
    text = (
        "no structure found: neighbours explain expression no better than permuted spots "
        f"(p = {with_depth:.3f}{aside}); there is one domain. Give n_domains to have it divided all the same"
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
    """Raise InputError where there is no such read-out, or ``n_domains`` is no number of domains or ``None``."""
    if readout is not None and readout not in get_args(Readout):
        raise InputError(f"readout {readout!r} is not one of {', '.join(get_args(Readout))}")
    if n_domains is not None and not (isinstance(n_domains, (int, np.integer)) and n_domains >= 1):
        raise InputError(f"n_domains {n_domains!r}: must be a whole number from 1 on, or None to have it chosen")


def _spots(trainings: Sequence[ad.AnnData]) -> pd.DataFrame:
    """Return sample and barcode of the spots, which all trainings have in the same order."""
    tables: list[pd.DataFrame] = [adata.obs[[_keys.SAMPLE, _keys.BARCODE]].astype(str) for adata in trainings]
    for number, table in enumerate(tables[1:], start=2):
        if not np.array_equal(tables[0].to_numpy(), table.to_numpy()):
            raise InputError(f"embedding {number} is not of the same spots as the first, in the same order")
    return tables[0]


def _members(adata: ad.AnnData) -> list[Any]:
    """Return the embeddings of a training: its members in the order of their numbers, or the only one."""
    names = member_keys(adata) or [_keys.EMBEDDING]
    if names[0] not in adata.obsm:
        raise InputError(f"the embedding file has no obsm['{_keys.EMBEDDING}']; it must come from mmsrl-train")
    return [np.asarray(adata.obsm[name]) for name in names]


def _tell_of_fewer(
    posteriors: Sequence[Posterior], n_domains: int, readout: str, messages: list[dict[str, str]]
) -> None:
    """Add a message where members have fewer domains than were wanted: a warning where most of them have."""
    found = [int(posterior.argmax(axis=1).max()) + 1 for posterior in posteriors]
    fewer = [number for number in found if number < n_domains]
    if fewer:
        text = (
            f"{n_domains} domains were wanted; {readout} finds fewer (at least {min(fewer)}) in {len(fewer)} of the "
            f"{len(found)} members"
        )
        messages.append({"level": "warning" if len(fewer) > len(found) / 2 else "info", "text": text})


def _choose(points: Sequence[Any], seed: int, mapper: Mapper, facts: dict[str, Any], messages: list[Any]) -> int:
    number = choose_number(points, seed, mapper)
    tried = f"{number.curve[1]['n_domains']:.0f} to {number.curve[-2]['n_domains']:.0f}"
    if not number.peak:
        rule = f"the most stable of {tried}, which have no peak"
    elif number.n_domains < number.highest:
        rule = f"of {tried} the first peak as stable as the highest, at {number.highest}, within its standard error"
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
        text = "no number of domains is stable in these data: look at the curve, and give n_domains if it is known"
        messages.append({"level": "warning", "text": text})
    return number.n_domains


@contextmanager
def _at_once(threads: int) -> Iterator[Mapper]:
    """Give a ``map`` that runs so many calls at once, each on one core.

    The matrices are small: more threads within a call take no less time, and many times more on a busy machine.
    Limits of BLAS are the process's, those of OpenMP each thread's own, which it starts without.
    """
    from threadpoolctl import threadpool_limits

    def several(function: Callable[[Any], Any], items: Iterable[Any]) -> Iterable[Any]:
        return pool.map(function, items)

    # The outer one gives the process its limits back, once no worker is left that sets them.
    with threadpool_limits(1), ThreadPoolExecutor(threads, initializer=threadpool_limits, initargs=(1,)) as pool:
        yield several
