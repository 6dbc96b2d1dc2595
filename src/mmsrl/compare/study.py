"""The comparison of conditions, from the sums of the sections. Arrays and tables only."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmsrl import _design
from mmsrl._errors import InputError
from mmsrl._palette import natural_order
from mmsrl.compare.composition import share_difference
from mmsrl.compare.genes import MIN_SPOTS, TOP, compare_genes
from mmsrl.compare.quality import outliers
from mmsrl.compare.replicates import ReplicateSums
from mmsrl.compare.shared import SharedDomains, shared_domains
from mmsrl.compare.sums import SectionSums, common_genes, with_domains_of_unit
from mmsrl.markers.table import adjusted

Float = NDArray[np.float64]
Message = dict[str, str]

UNEQUAL = 2
"""Ratio of the numbers of replicates from which it is warned that variances are pooled."""

COMPOSITION = (
    *("domain", "condition", "control", "n_condition", "n_control", "share_condition", "share_control"),
    *("odds_ratio", "low", "high", "p_value", "p_adjusted"),
)


class Study(NamedTuple):
    """Conditions compared."""

    composition: pd.DataFrame
    """A row for every condition and domain, see :data:`COMPOSITION`: shares are means over the replicates, the odds
    ratio with its 95 % interval is of the linear model."""
    expression: pd.DataFrame
    """A row for every condition, domain and tested gene, most significant first, see
    :data:`~mmsrl.compare.genes.EXPRESSION`. ``mean`` is in molecules per 10,000 of the domain; ``low`` and ``high`` are
    the 95 % interval of the log2 fold change."""
    gene_sets: pd.DataFrame
    """A row for every condition, domain and gene set, see :data:`~mmsrl.compare.genes.GENE_SETS`: ``n_set`` genes were
    tested, of which ``n_both`` (``genes``) changed in the ``direction`` of the set."""
    shares: pd.DataFrame
    """A row for every section and domain: ``sample``, ``unit``, ``condition``, ``donor``, ``domain``, ``n_spots``,
    ``share``."""
    matches: pd.DataFrame
    """See :class:`mmsrl.compare.shared.SharedDomains`; empty where all sections are of one unit."""
    facts: dict[str, Any]
    messages: list[Message]


def compare_sections(
    summed: Sequence[SectionSums], control: str | None, gene_sets: Mapping[str, Collection[str]]
) -> Study:
    """Compare each condition with the control, see :func:`mmsrl.compare.api.compare`."""
    conditions = _conditions(summed, control)
    genes, summed = common_genes(with_domains_of_unit(summed))
    shared = shared_domains(summed)
    replicates = _design.replicates_of([own.assigned for own in summed])
    messages: list[Message] = []
    quality = _quality(summed, messages)
    _tell_of_matches(shared, messages)
    of_replicates = ReplicateSums.of(replicates, [own.assigned.sample for own in summed], shared)
    models = _models(replicates, conditions, messages)
    _tell_of_covariates([own.assigned for own in summed], replicates, models, messages)
    _tell_of_other_models(of_replicates, models, conditions[0], shared.names, messages)
    composition = _composition(of_replicates, conditions, shared.names)
    expression, sets, tested = compare_genes(of_replicates, conditions, shared.names, genes, gene_sets)
    facts = {
        "conditions": conditions,
        "control": conditions[0],
        "replicate": "donor" if any(own.donor for own in replicates) else "section",
        "paired": any("donor" in model.terms for model in models.values()),
        "covariates": natural_order({term for model in models.values() for term in model.terms} - _NO_COVARIATES),
        "model": "; ".join(dict.fromkeys(model.formula for model in models.values())),
        "domains": shared.names,
        "domains_of": shared.unit,
        "sections": _section_facts(summed, shared, quality),
        "quality": quality,
        "composition": composition.drop(columns="control").to_dict("records"),
        "expression": tested,
        "matches": shared.matches.to_dict("records"),
    }
    return Study(composition, expression, sets, _shares(summed, shared), shared.matches, facts, messages)


_NO_COVARIATES = {"donor", "condition"}


def _conditions(sections: Sequence[SectionSums], control: str | None) -> list[str]:
    """Return the conditions, the control first."""
    found = list(dict.fromkeys(own.assigned.condition for own in sections))
    first = found[0] if control is None else control
    if first not in found:
        raise InputError(f"no section is of the condition {first}; there are {', '.join(found)}")
    if len(found) < 2:
        raise InputError(f"all sections are of the condition {first}: there is nothing to compare it with")
    return [first, *natural_order(name for name in found if name != first)]


def _quality(sections: Sequence[SectionSums], messages: list[Message]) -> dict[str, dict[str, float]]:
    """Return metrics by section, and tell of outliers."""
    titles = [title for title in sections[0].quality if all(title in own.quality for own in sections)]
    result = {title: {own.assigned.sample: own.quality[title] for own in sections} for title in titles}
    # Where the genes of a metric are not in the data it is 0 everywhere.
    result = {title: values for title, values in result.items() if any(values.values())}
    for title, values in result.items():
        middle = np.median(list(values.values()))
        for sample in outliers(values):
            text = (
                f"section {sample} is an outlier: {title.lower()} {_short(values[sample])}, where the median of all "
                f"sections is {_short(middle)}"
            )
            messages.append({"level": "warning", "text": text})
    return result


def _models(
    replicates: Sequence[_design.Replicate], conditions: Sequence[str], messages: list[Message]
) -> dict[str, _design.Comparison]:
    """Return the model of each condition that can be compared, of all its replicates, and tell of the others."""
    models = {}
    for condition in conditions[1:]:
        model = _design.compare(replicates, [True] * len(replicates), condition, conditions[0])
        if isinstance(model, str):
            messages.append({"level": "warning", "text": f"{condition} is not tested: {model}"})
            continue
        models[condition] = model
        few, many = sorted([model.n_condition, model.n_control])
        if many >= UNEQUAL * few:
            text = (
                f"{condition}: {many} replicates against {few}. Both are taken to vary alike: where the smaller side "
                "varies more, p-values are too small"
            )
            messages.append({"level": "warning", "text": text})
        unused = [own for i, own in enumerate(replicates) if own.condition in (condition, conditions[0])]
        unused = [own for own in unused if own not in [replicates[i] for i in model.rows]]
        if unused:
            names = ", ".join(dict.fromkeys(str(own.donor) for own in unused))
            text = f"{condition}: donors are blocks, and {names} have one of the two conditions only: they are left out"
            messages.append({"level": "warning", "text": text})
    return models


def _tell_of_covariates(
    assigned: Sequence[_design.Assignment],
    replicates: Sequence[_design.Replicate],
    models: Mapping[str, _design.Comparison],
    messages: list[Message],
) -> None:
    """Tell of covariates that a model is without because a replicate has no one value of them."""
    for name in natural_order({name for own in assigned for name in own.covariates}):
        for condition, model in models.items():
            if any(name not in replicates[i].covariates for i in model.rows):
                text = f"{condition}: {name} is not in the model, as not every replicate has one value of it"
                messages.append({"level": "warning", "text": text})


def _tell_of_other_models(
    found: ReplicateSums,
    models: Mapping[str, _design.Comparison],
    control: str,
    domains: Sequence[str],
    messages: list[Message],
) -> None:
    """Tell of domains that too few replicates have for the model of all of them, and that another one compares."""
    for condition, model in models.items():
        for what, usable in (("shares", np.isfinite(found.spots)), ("genes", found.spots >= MIN_SPOTS)):
            for d, domain in enumerate(domains):
                arms = _design.compare(found.replicates, usable[:, d].tolist(), condition, control)
                if isinstance(arms, _design.Comparison) and arms.terms != model.terms:
                    text = (
                        f"{condition}: {what} of domain {domain} are compared by {arms.formula}, not {model.formula}, "
                        "as some replicates have too little of it"
                    )
                    messages.append({"level": "warning", "text": text})


def _composition(found: ReplicateSums, conditions: Sequence[str], domains: Sequence[str]) -> pd.DataFrame:
    """Compare the shares of every domain."""
    rows = []
    share = found.spots / found.total[:, None]
    for condition in conditions[1:]:
        for d, domain in enumerate(domains):
            known = np.isfinite(found.spots[:, d]).tolist()
            arms = _design.compare(found.replicates, known, condition, conditions[0])
            row: dict[str, Any] = dict.fromkeys(COMPOSITION, np.nan)
            row |= {"domain": domain, "condition": condition, "control": conditions[0]}
            for side, name in (("condition", condition), ("control", conditions[0])):
                of_side = np.array([r.condition == name for r in found.replicates]) & known
                row |= {f"n_{side}": int(of_side.sum()), f"share_{side}": _mean(share[of_side, d])}
            if isinstance(arms, _design.Comparison):
                tested = share_difference(found.spots[arms.rows, d], found.total[arms.rows], arms)
                row |= tested._asdict() | {"n_condition": arms.n_condition, "n_control": arms.n_control}
                treated, tested_share = arms.matrix[:, -1] > 0, share[arms.rows, d]
                row |= {"share_condition": _mean(tested_share[treated]), "share_control": _mean(tested_share[~treated])}
            rows.append(row)
    table = pd.DataFrame(rows, columns=list(COMPOSITION))
    table["p_adjusted"] = table.groupby("condition", sort=False)["p_value"].transform(lambda p: adjusted(p.to_numpy()))
    return table


def _section_facts(
    sections: Sequence[SectionSums], shared: SharedDomains, quality: Mapping[str, Mapping[str, float]]
) -> list[dict[str, Any]]:
    unlike = {title: outliers(values) for title, values in quality.items()}
    return [
        {
            **own.assigned._asdict(),
            "unit": own.unit,
            "n_spots": int(total),
            "shares": dict(zip(shared.names, spots / total, strict=True)),
            "outlier": [title for title, samples in unlike.items() if own.assigned.sample in samples],
        }
        for own, spots, total in zip(sections, shared.spots, shared.total, strict=True)
    ]


def _shares(sections: Sequence[SectionSums], shared: SharedDomains) -> pd.DataFrame:
    """Return the table of spots and shares; domains without a counterpart in a section's unit have no row there."""
    rows = [
        (a.sample, own.unit, a.condition, a.donor, domain, int(n), n / total)
        for own, spots, total in zip(sections, shared.spots, shared.total, strict=True)
        for a in [own.assigned]
        for domain, n in zip(shared.names, spots, strict=True)
        if np.isfinite(n)
    ]
    return pd.DataFrame(rows, columns=["sample", "unit", "condition", "donor", "domain", "n_spots", "share"])


def _tell_of_matches(shared: SharedDomains, messages: list[Message]) -> None:
    unmatched = shared.matches[shared.matches["matched"].isna()]
    if len(unmatched):
        named = ", ".join(f"{unit} {domain}" for unit, domain in unmatched[["unit", "domain"]].to_numpy()[:TOP])
        more = f" and {len(unmatched) - TOP} more" if len(unmatched) > TOP else ""
        text = (
            f"{len(unmatched)} domains have no counterpart in {shared.unit} and are left out of the comparison: "
            f"{named}{more}. Sections of one group share their domains"
        )
        messages.append({"level": "warning", "text": text})


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _mean(values: Float) -> float:
    return float(values.mean()) if len(values) else float("nan")
