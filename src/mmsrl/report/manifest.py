"""Machine-readable manifest of a run, with everything needed to repeat it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmsrl import __version__
from mmsrl._palette import natural_order
from mmsrl.page.card import Card
from mmsrl.page.content import Summaries
from mmsrl.report.content import RunOutputs, package_versions, seeds
from mmsrl.report.missing import Missing


def analysed(cards: Sequence[Card], outputs: Summaries) -> dict[str, str]:
    """Return the unit of each section with results, in natural order, including sections without a page."""
    units = {card.sample: card.unit for card in cards}
    for (stage, unit), summary in outputs.summaries.items():
        if stage == "assemble":
            units |= dict.fromkeys(summary["result"].get("samples", ()), unit)
    return {sample: units[sample] for sample in natural_order(units)}


def build_manifest(
    outputs: RunOutputs, samples: Sequence[tuple[str, str]], missing: Sequence[Missing] = ()
) -> dict[str, Any]:
    """Build the manifest from parameters, random seeds, versions and checksums of the input.

    Parameters
    ----------
    outputs
        Outputs of the run.
    samples
        Sample and unit, in the order of the report.
    missing
        Samples without results, or without a part of them.
    """
    return {
        "pipeline": {"name": "mmsrl", "version": __version__},
        "parameters": outputs.params,
        "seeds": seeds(outputs),
        "versions": {"packages": package_versions(outputs.versions), "by_process": outputs.versions},
        "samples": [
            {
                "sample": sample,
                "unit": unit,
                "inputs": outputs.result("ingest", sample, unit).get("inputs", []),
                "image": _image(outputs.result("features", sample, unit)),
            }
            for sample, unit in samples
        ],
        "missing": [entry._asdict() for entry in missing],
        "stages": [
            {"stage": stage, "id": id_, "parameters": summary["parameters"], "messages": summary["messages"]}
            for (stage, id_), summary in sorted(outputs.summaries.items())
        ],
    }


def _image(features: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the image and the model weights with their SHA-256; ``None`` if no image was used."""
    if not features.get("descriptor"):
        return None
    weights = {tile["descriptor"]: tile["weights_sha256"] for tile in features["tiles"] if tile["weights_sha256"]}
    return {"file": features["image"]["name"], "sha256": features["image"]["sha256"], "weights": weights}
