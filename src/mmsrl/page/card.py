"""The card of a section: what the report says of it without its page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mmsrl.page.content import SAMPLE_STAGES, Outputs
from mmsrl.page.genes import ASKED
from mmsrl.page.sample import Sample
from mmsrl.page.sections import medians
from mmsrl.page.tissue import MAX_THUMBNAIL_SIDE, data_uri, domain_figure


@dataclass(frozen=True)
class Card:
    """A section in some ten kilobytes, however many spots and genes it has."""

    sample: str
    unit: str
    unit_sections: int
    """Sections of the unit."""
    noun: str
    """``cells`` or ``spots``."""
    platform: str
    design: Mapping[str, str]
    """Condition, donor and covariates by the title shown."""
    n_spots: int
    n_spots_before: int | None
    """Before quality control; ``None`` where that is not known."""
    n_genes: int
    medians: Mapping[str, float | None]
    """Over the spots, by the title shown."""
    colors: Mapping[str, str]
    """Of the unit's domains."""
    domains: Mapping[str, int]
    """Spots of every domain that the section can have."""
    scores: Mapping[str, float]
    flags: Sequence[str]
    """Stages of the section that gave a warning."""
    warnings: int
    """Warnings on the page."""
    genes_asked: Sequence[str]
    genes_lacking: Sequence[str]
    """Genes asked for that the section lacks."""
    thumbnail: str
    """Data URI."""
    thumbnail_size: Sequence[int]
    """Width and height in pixels."""

    @property
    def n_domains(self) -> int:
        """Number of domains."""
        return len(self.domains)

    @property
    def kept_share(self) -> float | None:
        """Share of the spots that passed quality control."""
        return self.n_spots / self.n_spots_before if self.n_spots_before else None

    @property
    def words(self) -> str:
        """What the section is found by, in small letters."""
        return " ".join([self.sample, self.unit, self.platform, *self.design.values()]).lower()


def card_of(
    sample: Sample,
    n_sections: int,
    colors: Mapping[str, str],
    genes: Mapping[str, Sequence[str]],
    outputs: Outputs,
) -> Card:
    """Return the card of a section.

    Parameters
    ----------
    sample
        The section.
    n_sections
        Sections of its unit.
    colors
        Of the unit's domains.
    genes
        As :func:`mmsrl.page.genes.listed_genes` returns them.
    outputs
        What the stages wrote.
    """
    section = sample.section
    asked = list(genes.get(ASKED, ()))
    warned = [m["stage"] for m in outputs.messages(sample.name, sample.unit) if m["level"] == "warning"]
    thumbnail = domain_figure(section, MAX_THUMBNAIL_SIDE)
    sizes = dict.fromkeys(section.colors, 0)
    for label in section.domains:
        sizes[label] += 1
    return Card(
        sample=sample.name,
        unit=sample.unit,
        unit_sections=n_sections,
        noun=sample.noun,
        platform=sample.platform,
        design=sample.design,
        n_spots=len(section.barcodes),
        n_spots_before=outputs.result("qc", sample.name, sample.unit).get("n_spots_before"),
        n_genes=sample.n_genes,
        medians=medians(section),
        colors=colors,
        domains=sizes,
        scores=outputs.scores_of(sample.name),
        flags=[stage for stage in dict.fromkeys(warned) if stage in SAMPLE_STAGES],
        warnings=len(warned),
        genes_asked=asked,
        genes_lacking=[gene for gene in asked if gene not in section.genes],
        thumbnail=data_uri(thumbnail),
        thumbnail_size=thumbnail.size,
    )
