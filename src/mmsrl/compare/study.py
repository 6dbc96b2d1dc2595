"""Comparison of conditions from sums of sections. Arrays and tables only."""

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
"""Ratio of numbers of replicates from which a warning about the pooled variance is given."""

COMPOSITION = (
    *("domain", "condition", "control", "n_condition", "n_control", "share_condition", "share_control"),
    *("odds_ratio", "low", "high", "p_value", "p_adjusted"),
)


class Study(NamedTuple):
    """Result of a comparison of conditions."""

    composition: pd.DataFrame
    """One row for each condition and domain (:data:`COMPOSITION`): mean shares over replicates, and the odds ratio of
    the linear model with its 95 % confidence interval."""
    expression: pd.DataFrame
    """One row for each condition, domain and tested gene, most significant first
    (:data:`~mmsrl.compare.genes.EXPRESSION`). ``mean``: counts per 10,000 of the domain. ``low`` and ``high``: 95 %
    confidence interval of the log2 fold change."""
    gene_sets: pd.DataFrame
    """One row for each condition, domain and gene set (:data:`~mmsrl.compare.genes.GENE_SETS`). ``n_set``: tested genes
    of the set. ``n_both`` and ``genes``: those that changed in the ``direction`` of the set."""
    shares: pd.DataFrame
    """One row for each section and domain: ``sample``, ``unit``, ``condition``, ``donor``, ``domain``, ``n_spots``,
    ``share``."""
    matches: pd.DataFrame
    """See :class:`mmsrl.compare.shared.SharedDomains`. Empty if all sections belong to one unit."""
    facts: dict[str, Any]
    messages: list[Message]


def compare_sections(
    summed: Sequence[SectionSums], control: str | None, gene_sets: Mapping[str, Collection[str]]
) -> Study:
    """Compare each condition with the control, see :func:`mmsrl.tl.compare`."""
    conditions = _conditions(summed, control)
    genes, summed = common_genes(with_domains_of_unit(summed))
    shared = shared_domains(summed)
    replicates = _design.replicates_of([section.assigned for section in summed])
    messages: list[Message] = []
    quality = _quality(summed, messages)
    _tell_of_matches(shared, messages)
    of_replicates = ReplicateSums.of(replicates, [section.assigned.sample for section in summed], shared)
    models = _models(replicates, conditions, messages)
    _tell_of_covariates([section.assigned for section in summed], replicates, models, messages)
    _tell_of_other_models(of_replicates, models, conditions[0], shared.names, messages)
    composition = _composition(of_replicates, conditions, shared.names)
    expression, sets, tested = compare_genes(of_replicates, conditions, shared.names, genes, gene_sets)
    facts = {
        "conditions": conditions,
        "control": conditions[0],
        "replicate": "donor" if any(replicate.donor for replicate in replicates) else "section",
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
    """Return the conditions, with the control first."""
    conditions = list(dict.fromkeys(section.assigned.condition for section in sections))
    first = conditions[0] if control is None else control
    if first not in conditions:
        raise InputError(f"no section is of the condition {first}; there are {', '.join(conditions)}")
    if len(conditions) < 2:
        raise InputError(f"all sections are of the condition {first}: give sections of a second condition")
    return [first, *natural_order(name for name in conditions if name != first)]


def _quality(sections: Sequence[SectionSums], messages: list[Message]) -> dict[str, dict[str, float]]:
    """Return quality metrics by section, and warn about outliers."""
    titles = [title for title in sections[0].quality if all(title in section.quality for section in sections)]
    result = {title: {section.assigned.sample: section.quality[title] for section in sections} for title in titles}
    # A metric is 0 for all sections if its genes are not in the data.
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
    """Return the model of each condition with all its replicates, and warn about conditions that cannot be tested."""
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
                f"{condition}: {many} replicates against {few}. The model assumes equal variances: p-values are "
                "too small if the smaller group varies more"
            )
            messages.append({"level": "warning", "text": text})
        unused = [
            replicate for i, replicate in enumerate(replicates) if replicate.condition in (condition, conditions[0])
        ]
        unused = [replicate for replicate in unused if replicate not in [replicates[i] for i in model.rows]]
        if unused:
            names = ", ".join(dict.fromkeys(str(replicate.donor) for replicate in unused))
            text = (
                f"{condition}: donors are blocks of the model, so {names} with one of the two conditions are left out"
            )
            messages.append({"level": "warning", "text": text})
    return models


def _tell_of_covariates(
    assigned: Sequence[_design.Assignment],
    replicates: Sequence[_design.Replicate],
    models: Mapping[str, _design.Comparison],
    messages: list[Message],
) -> None:
    """Warn about covariates that a model omits because a replicate has no unique value."""
    for name in natural_order({name for assignment in assigned for name in assignment.covariates}):
        for condition, model in models.items():
            if any(name not in replicates[i].covariates for i in model.rows):
                text = f"{condition}: {name} is not in the model, because some replicates have no unique value"
                messages.append({"level": "warning", "text": text})


def _tell_of_other_models(
    sums: ReplicateSums,
    models: Mapping[str, _design.Comparison],
    control: str,
    domains: Sequence[str],
    messages: list[Message],
) -> None:
    """Warn about domains with a different model because some replicates have too few spots."""
    for condition, model in models.items():
        for what, usable in (("shares", np.isfinite(sums.spots)), ("genes", sums.spots >= MIN_SPOTS)):
            for d, domain in enumerate(domains):
                arms = _design.compare(sums.replicates, usable[:, d].tolist(), condition, control)
                if isinstance(arms, _design.Comparison) and arms.terms != model.terms:
                    text = (
                        f"{condition}: {what} of domain {domain} are compared by {arms.formula}, not {model.formula}, "
                        "because some replicates have too few spots"
                    )
                    messages.append({"level": "warning", "text": text})


def _composition(sums: ReplicateSums, conditions: Sequence[str], domains: Sequence[str]) -> pd.DataFrame:
    """Test the shares of every domain."""
    rows = []
    share = sums.spots / sums.total[:, None]
    for condition in conditions[1:]:
        for d, domain in enumerate(domains):
            known = np.isfinite(sums.spots[:, d]).tolist()
            arms = _design.compare(sums.replicates, known, condition, conditions[0])
            row: dict[str, Any] = dict.fromkeys(COMPOSITION, np.nan)
            row |= {"domain": domain, "condition": condition, "control": conditions[0]}
            for side, name in (("condition", condition), ("control", conditions[0])):
                of_side = np.array([r.condition == name for r in sums.replicates]) & known
                row |= {f"n_{side}": int(of_side.sum()), f"share_{side}": _mean(share[of_side, d])}
            if isinstance(arms, _design.Comparison):
                tested = share_difference(sums.spots[arms.rows, d], sums.total[arms.rows], arms)
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
            **section.assigned._asdict(),
            "unit": section.unit,
            "n_spots": int(total),
            "shares": dict(zip(shared.names, spots / total, strict=True)),
            "outlier": [title for title, samples in unlike.items() if section.assigned.sample in samples],
        }
        for section, spots, total in zip(sections, shared.spots, shared.total, strict=True)
    ]


def _shares(sections: Sequence[SectionSums], shared: SharedDomains) -> pd.DataFrame:
    """Return the table of spots and shares. Domains without a counterpart in the unit of a section have no row."""
    rows = [
        (a.sample, section.unit, a.condition, a.donor, domain, int(n), n / total)
        for section, spots, total in zip(sections, shared.spots, shared.total, strict=True)
        for a in [section.assigned]
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
