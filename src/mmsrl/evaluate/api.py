"""Scores of the domains of a unit."""

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
    """Result of :func:`score`."""

    table: pd.DataFrame
    """Columns ``sample``, ``metric``, ``value``, ``n_spots`` (number of scored spots). A unit of several sections has
    rows of its own under its id."""
    facts: dict[str, Any]
    """By sample: confusion matrix of domains and labels, matched labels, and fraction of spots that agree after
    matching."""
    messages: list[dict[str, str]]
    """``level`` and ``text`` of every message."""


def score(
    unit: str,
    domains: pd.DataFrame,
    embedding: AnnData,
    truth: Mapping[str, pd.Series[str]],
    *,
    pseudotime: pd.DataFrame | None = None,
    label_order: Sequence[str] = (),
) -> Scores:
    """Score domains by agreement with labels, and by spatial continuity.

    Parameters
    ----------
    unit
        Id of the unit.
    domains
        Columns ``sample``, ``barcode``, ``domain``.
    embedding
        Spots of the unit: ``obs['sample']``, ``obs['barcode']``, ``obsm['spatial']`` (n, 2).
    truth
        Label of each labelled barcode, by sample. Spots without a label only enter the spatial metrics.
    pseudotime
        Columns ``sample``, ``barcode``, ``pseudotime``.
    label_order
        Expected order of labels along pseudotime. Empty: the order is not scored.

    Raises
    ------
    InputError
        Domains and embedding have different spots, or the labels of a sample match none of its spots.
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
            # Sections have separate coordinates: the value of the unit is the mean over spots.
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
    """Add the agreement of pseudotime with the given order of labels, for each labelled sample."""
    keys = [_keys.SAMPLE, _keys.BARCODE]
    times = pseudotime[[*keys, _keys.PSEUDOTIME]].astype(dict.fromkeys(keys, str))
    timed = spots.merge(times, on=keys, how="left")
    for name in names:
        labelled = timed[(timed[_keys.SAMPLE] == name) & timed["label"].isin(label_order)].dropna(
            subset=_keys.PSEUDOTIME
        )
        agreement_of_order = order_agreement(
            labelled[_keys.PSEUDOTIME].to_numpy(np.float64), labelled["label"].tolist(), label_order
        )
        if agreement_of_order is None:
            text = f"sample {name}: fewer than three of the labels in label_order have spots with a pseudotime"
            messages.append({"level": "warning", "text": text})
            continue
        rows.append((name, "pseudotime_order", agreement_of_order.medians, len(labelled)))
        rows.append((name, "pseudotime_order_spots", agreement_of_order.spots, len(labelled)))
        facts[name]["median_pseudotime"] = agreement_of_order.median_by_label


def _located(unit: str, domains: pd.DataFrame, embedding: AnnData) -> pd.DataFrame:
    """Join domains and coordinates: columns ``sample, barcode, domain, x, y``."""
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
    """Return the label of each barcode, or an empty text."""
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
    label_of_spot = barcodes.map(labels.astype(object)).fillna("")
    if (unlabelled := int((label_of_spot == "").sum())) > 0:
        text = f"sample {sample}: {unlabelled} of {len(barcodes)} spots have no label and are left out of the scores"
        messages.append({"level": "info", "text": text})
    if label_of_spot[label_of_spot != ""].nunique() == 1:
        messages.append({"level": "warning", "text": f"sample {sample}: there is only one label; scores mean little"})
    return list(label_of_spot)


def _compare(name: str, spots: pd.DataFrame, rows: list[tuple[str, str, float, int]], facts: dict[str, Any]) -> None:
    """Add agreement scores of labelled spots to ``rows`` and their confusion matrix to ``facts``."""
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
