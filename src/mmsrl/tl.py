"""Tools, as scverse tools name them: ``mmsrl.tl``. Each function imports what it needs when it is called."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anndata import AnnData

    from mmsrl.domains.api import Domains

_WHERE = {
    "train": "mmsrl.train.api",
    "markers": "mmsrl.markers.api",
    "trajectory": "mmsrl.trajectory.api",
    "enhance": "mmsrl.enhance.api",
    "map": "mmsrl.map.api",
    "compare": "mmsrl.compare.api",
    "match": "mmsrl.compare.api",
}


def domains(
    data: AnnData | Sequence[AnnData],
    n_domains: int | None = None,
    *,
    preset: str = "default",
    n_seeds: int = 1,
    seed: int = 0,
    readout: str = "gmm",
    threads: int = 1,
    **training: Any,
) -> Domains:
    """Find spatial domains as the pipeline does: an ensemble of embeddings, a read-out of each, and their consensus.

    Writes ``obs['domain']`` (categories "1", "2", … from the largest to the smallest), ``obs['domain_confidence']``
    (0 to 1) and ``obsm['X_mmsrl']``, the first member. Sections that are given together share their domains.

    Parameters
    ----------
    data
        One section or several, as :func:`mmsrl.tl.train` takes them.
    n_domains
        Number of domains; chosen by stability if it is not given.
    preset
        ``default``, ``mmsrl`` or ``stmmr``.
    n_seeds
        Of the published presets: members of the ensemble, trainings with the seeds ``seed``, ``seed`` + 1 and so on.
        ``default`` has its whole ensemble from one.
    seed
        Seed of everything random.
    readout
        ``gmm``, ``gmm_full``, ``kmeans`` or ``leiden``.
    threads
        Read-outs that run at once.
    training
        Further arguments of :func:`mmsrl.tl.train`.

    Returns
    -------
    Domains
        The table of domains, those of every member, how they were found, and what is worth knowing of it and of the
        first seed's training.

    Raises
    ------
    InputError
        As :func:`mmsrl.tl.train` does, where there are more domains than different spots, and where ``default`` is to
        be trained more than once.
    """
    import anndata as ad
    import pandas as pd

    from mmsrl import _keys
    from mmsrl._errors import InputError
    from mmsrl.domains.api import check_readout
    from mmsrl.domains.api import domains as read_out
    from mmsrl.train.api import as_anndata, train

    sections = [data] if isinstance(data, ad.AnnData) else list(data)
    check_readout(n_domains, readout)
    if n_seeds < 1 or seed < 0:
        raise InputError(f"n_seeds {n_seeds}, seed {seed}: must be 1 or more, and 0 or more")
    if preset == "default":
        if n_seeds > 1:
            raise InputError(
                f"n_seeds {n_seeds}: preset 'default' has its whole ensemble from one training; leave it out"
            )
    # The first seed comes last, so that it is its embedding that stays with the sections.
    trainings: list[ad.AnnData] = []
    for s in reversed(range(seed, seed + n_seeds)):
        trained = train(sections, preset=preset, seed=s, **training)
        trainings.insert(0, as_anndata(trained))
    result = read_out(trainings, n_domains, readout=readout, seed=seed, threads=threads)  # type: ignore[arg-type]
    result.messages[:0] = trained.messages
    categories = [str(k) for k in range(1, result.facts["n_domains"] + 1)]
    first = 0
    for section in sections:
        rows = result.table.iloc[first : first + section.n_obs]
        section.obs[_keys.DOMAIN] = pd.Categorical(rows[_keys.DOMAIN], categories)
        section.obs[_keys.CONFIDENCE] = rows[_keys.CONFIDENCE].to_numpy()
        first += section.n_obs
    return result


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(_WHERE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__dir__())}")


def __dir__() -> list[str]:
    return sorted({*_WHERE, "domains"})
