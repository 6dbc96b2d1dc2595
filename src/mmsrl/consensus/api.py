"""One labelling of the members of an ensemble."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from mmsrl import _keys
from mmsrl._errors import InputError
from mmsrl.consensus.neighbourhood import CONFIDENCE_SPOTS, SPOTS, confidence, neighbourhood, refinement, vote
from mmsrl.domains import average
from mmsrl.domains.readouts import by_size

if TYPE_CHECKING:
    from anndata import AnnData


class Consensus(NamedTuple):
    """Domains of one unit."""

    table: pd.DataFrame
    """One row a spot, in the order of the members: ``sample``, ``barcode``, ``domain`` ("1", "2", … from the largest to
    the smallest), ``domain_confidence`` (float32, 0 to 1)."""
    facts: dict[str, Any]
    """How they were found: for the summary."""
    messages: list[dict[str, str]]
    """What the user should be told: ``level`` and ``text``."""


def consensus(members: AnnData) -> Consensus:
    """Average the members of an ensemble into one labelling, and say how sure it is at each spot.

    A vote of the neighbours then settles each spot's domain where that brings the halves of the ensemble closer to
    each other, see :func:`mmsrl.consensus.neighbourhood.refinement`.

    Parameters
    ----------
    members
        From :func:`mmsrl.domains.api.domains`: probabilities of each domain in ``obsm['posterior_0']`` and so on;
        ``obs['sample']``, ``obs['barcode']``, ``obsm['spatial']``.

    Raises
    ------
    InputError
        If there is no member, or they do not have the same number of domains.
    """
    posteriors = _posteriors(members)
    sample = members.obs[_keys.SAMPLE].astype(str).to_numpy()
    places = np.asarray(members.obsm[_keys.SPATIAL])
    around = neighbourhood(places, sample)
    agreement = average.agreement(posteriors)
    mean = average.consensus(posteriors, agreement)
    labels = mean.argmax(axis=1)
    refined = _refinement(posteriors, around)
    if refined["applied"]:
        labels = vote(labels, around)
    messages = [{"level": "info", "text": str(refined["reason"])}]
    domain = by_size(labels)
    table = pd.DataFrame(
        {
            _keys.SAMPLE: sample,
            _keys.BARCODE: members.obs[_keys.BARCODE].astype(str).to_numpy(),
            _keys.DOMAIN: domain.astype(str),
            _keys.CONFIDENCE: confidence(mean, labels, neighbourhood(places, sample, CONFIDENCE_SPOTS)),
        }
    )
    found, wanted = int(domain.max()), mean.shape[1]
    if found < wanted:
        text = f"{wanted} domains were wanted; in the consensus {found} have spots"
        messages.append({"level": "warning", "text": text})
    return Consensus(
        table,
        {
            "n_domains": found,
            "members": len(posteriors),
            "agreement": agreement,
            "mean_agreement": average.mean_agreement(agreement),
            "neighbourhood": {"vote": SPOTS, "confidence": CONFIDENCE_SPOTS},
            "refinement": refined,
            "confidence": {str(k): float(table.loc[domain == k, _keys.CONFIDENCE].mean()) for k in range(1, found + 1)},
            "spots": {
                str(name): {str(k): int((part == str(k)).sum()) for k in range(1, found + 1)}
                for name, part in table.groupby(_keys.SAMPLE, sort=False)[_keys.DOMAIN]
            },
        },
        messages,
    )


def _posteriors(members: AnnData) -> list[average.Posterior]:
    """Return the members' posteriors in the order of their numbers."""
    names = [name for name in members.obsm if name.startswith(_keys.POSTERIOR)]
    names.sort(key=lambda name: int(name.removeprefix(_keys.POSTERIOR)))
    posteriors = [np.asarray(members.obsm[name]) for name in names]
    if len({posterior.shape[1] for posterior in posteriors}) != 1:
        raise InputError("there are no members of one number of domains; give the .h5ad that mmsrl-domains wrote")
    return posteriors


def _refinement(posteriors: list[average.Posterior], around: Any) -> dict[str, Any]:
    """Return whether a vote of the neighbours pays, why, and the figures behind it."""
    if len(posteriors) < 2:
        text = "domains are not refined by their neighbours: one member cannot tell whether that pays"
        return {"applied": False, "reason": text}
    found = refinement(posteriors, around)
    did = "are" if found.pays else "are not"
    text = (
        f"domains {did} refined by a vote of the neighbours: one half of the members agrees with the other to "
        f"{found.after:.3f} after it, to {found.before:.3f} before"
    )
    return {"applied": found.pays, "reason": text, "before": found.before, "after": found.after}
