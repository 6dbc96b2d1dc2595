"""Scores of the domains of one unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from mmsrl import _keys
from mmsrl._errors import InputError
from mmsrl.evaluate.metrics import agreement, chaos, confusion, match, pas, spatial_silhouette
from mmsrl.evaluate.order import order_agreement

if TYPE_CHECKING:
    from anndata import AnnData

SPATIAL_METRICS = {"PAS": pas, "CHAOS": chaos, "ASW": spatial_silhouette}


class Scores(NamedTuple):
    """Scores of one unit."""

    table: pd.DataFrame
    """Columns ``sample`` (a unit of several sections has its own rows, under its id), ``metric``, ``value``,
    ``n_spots`` (spots that the value is of)."""
    facts: dict[str, Any]
    """By sample: confusion table of domains and labels, matched labels, share of spots that agree after matching."""
    messages: list[dict[str, str]]
    """What the user should be told: ``level`` and ``text``."""


def score(
    unit: str,
    domains: pd.DataFrame,
    embedding: AnnData,
    truth: Mapping[str, pd.Series[str]],
    *,
    pseudotime: pd.DataFrame | None = None,
    label_order: Sequence[str] = (),
) -> Scores:
    """Score domains against labels, and by how they lie on the tissue.

    Parameters
    ----------
    unit
        Id of the unit.
    domains
        Columns ``sample``, ``barcode``, ``domain``.
    embedding
        The spots of the unit: ``obs['sample']``, ``obs['barcode']``, ``obsm['spatial']``.
    truth
        By sample, the label of each labelled barcode. Spots without a label are left out of the agreement with labels
        and only of that.
    pseudotime
        ``sample``, ``barcode``, ``pseudotime``.
    label_order
        Labels in the order in which pseudotime should meet them; without it the order is not scored.

    Raises
    ------
    InputError
        If domains and embedding are not of the same spots, or labels of a sample match none of its spots.
    """
    spots = _located(unit, domains, embedding)
    messages: list[dict[str, str]] = []
    spots["label"] = ""
    for sample, labels in truth.items():
        here = spots[_keys.SAMPLE] == sample
        if not here.any():
            raise InputError(f"unit {unit}: there are labels for sample {sample}, which is not in this unit")
        spots.loc[here, "label"] = _labels(sample, spots.loc[here, _keys.BARCODE], labels, messages)

    rows: list[tuple[str, str, float, int]] = []
    facts: dict[str, Any] = {}
    names = list(dict.fromkeys(spots[_keys.SAMPLE]))
    for sample in names:
        section = spots[spots[_keys.SAMPLE] == sample]
        if sample in truth:
            _compare(sample, section, rows, facts)
        groups = section[_keys.DOMAIN].astype("category").cat.codes.to_numpy(np.int64)
        coordinates = section[["x", "y"]].to_numpy(np.float64)
        rows += [(sample, name, metric(groups, coordinates), len(section)) for name, metric in SPATIAL_METRICS.items()]
    if pseudotime is not None and label_order:
        _order(spots, pseudotime, label_order, [name for name in names if name in truth], rows, facts, messages)
    if len(names) > 1:
        by_section = [row for row in rows if row[1] in SPATIAL_METRICS]
        if (spots["label"] != "").any():
            _compare(unit, spots, rows, facts)
        for name in SPATIAL_METRICS:
            # Coordinates of different sections have nothing in common: the unit's value is the mean over spots.
            values, weights = zip(*[(row[2], row[3]) for row in by_section if row[1] == name], strict=True)
            rows.append((unit, name, float(np.average(values, weights=weights)), len(spots)))
    table = pd.DataFrame(rows, columns=[_keys.SAMPLE, "metric", "value", "n_spots"])
    return Scores(table, facts, messages)


def _order(
    spots: pd.DataFrame,
    pseudotime: pd.DataFrame,
    label_order: Sequence[str],
    names: Sequence[str],
    rows: list[tuple[str, str, float, int]],
    facts: dict[str, Any],
    messages: list[dict[str, str]],
) -> None:
    """Add how far pseudotime meets the labels of each labelled sample in the order that was given."""
    keys = [_keys.SAMPLE, _keys.BARCODE]
    times = pseudotime[[*keys, _keys.PSEUDOTIME]].astype(dict.fromkeys(keys, str))
    timed = spots.merge(times, on=keys, how="left")
    for name in names:
        own = timed[(timed[_keys.SAMPLE] == name) & timed["label"].isin(label_order)].dropna(subset=_keys.PSEUDOTIME)
        found = order_agreement(own[_keys.PSEUDOTIME].to_numpy(np.float64), own["label"].tolist(), label_order)
        if found is None:
            text = f"sample {name}: fewer than three of the labels in label_order have spots with a pseudotime"
            messages.append({"level": "warning", "text": text})
            continue
        rows.append((name, "pseudotime_order", found.medians, len(own)))
        rows.append((name, "pseudotime_order_spots", found.spots, len(own)))
        facts[name]["median_pseudotime"] = found.median_by_label


def _located(unit: str, domains: pd.DataFrame, embedding: AnnData) -> pd.DataFrame:
    """Join domains to coordinates; the result has ``sample, barcode, domain, x, y``."""
    keys = [_keys.SAMPLE, _keys.BARCODE]
    places = embedding.obs[keys].astype(str).reset_index(drop=True)
    places[["x", "y"]] = np.asarray(embedding.obsm[_keys.SPATIAL], dtype=np.float64)[:, :2]
    spots = domains.astype(str).merge(places, on=keys, how="inner", validate="one_to_one")
    if not len(spots) == len(domains) == len(places):
        raise InputError(
            f"unit {unit}: {len(domains)} spots have domains, {len(places)} are in the embedding, {len(spots)} are in "
            "both; give the embedding that the domains were made from"
        )
    return spots


def _labels(sample: str, barcodes: pd.Series[str], labels: pd.Series[str], messages: list[dict[str, str]]) -> list[str]:
    """Return the label of each barcode, empty where there is none."""
    unknown = labels.index.difference(pd.Index(barcodes))
    if len(unknown) == len(labels):
        raise InputError(
            f"sample {sample}: none of its {len(barcodes)} spots is labelled: spots are named like "
            f"'{barcodes.iloc[0]}', labels are for '{labels.index[0]}'; give the truth of this section, with the "
            "barcodes of its counts"
        )
    if len(unknown):
        text = (
            f"sample {sample}: {len(unknown)} of {len(labels)} labels are for spots that are not there or did not pass "
            f"quality control (such as '{unknown[0]}')"
        )
        messages.append({"level": "info", "text": text})
    found = barcodes.map(labels.astype(object)).fillna("")
    if (unlabelled := int((found == "").sum())) > 0:
        text = f"sample {sample}: {unlabelled} of {len(barcodes)} spots have no label and are left out of the scores"
        messages.append({"level": "info", "text": text})
    if found[found != ""].nunique() == 1:
        messages.append({"level": "warning", "text": f"sample {sample}: there is only one label; scores mean little"})
    return list(found)


def _compare(name: str, spots: pd.DataFrame, rows: list[tuple[str, str, float, int]], facts: dict[str, Any]) -> None:
    """Add the agreement of labelled spots to ``rows`` and their confusion table to ``facts``."""
    spots = spots[spots["label"] != ""]
    labels = spots["label"].astype("category")
    domains = spots[_keys.DOMAIN].astype("category")
    domains = domains.cat.reorder_categories(sorted(domains.cat.categories, key=lambda name: (len(name), name)))
    label_codes, domain_codes = (
        labels.cat.codes.to_numpy().astype(np.int64),
        domains.cat.codes.to_numpy().astype(np.int64),
    )
    rows += [(name, metric, value, len(spots)) for metric, value in agreement(label_codes, domain_codes).items()]
    label_names, domain_names = list(labels.cat.categories), list(domains.cat.categories)
    table = confusion(label_codes, domain_codes, len(label_names), len(domain_names))
    pairs = match(table)
    facts[name] = {
        "labelled_spots": len(spots),
        "domains": domain_names,
        "labels": label_names,
        "confusion": table,
        "matched": {domain_names[row]: label_names[column] for row, column in pairs},
        "matched_share": sum(int(table[pair]) for pair in pairs) / len(spots),
    }
