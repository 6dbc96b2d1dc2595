"""Summary card of a section, from which the report shows the section without its page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mmsrl import _keys
from mmsrl._stages import SAMPLE_STAGES
from mmsrl.page.content import Outputs
from mmsrl.page.genes import ASKED, domain_profiles
from mmsrl.page.sample import METRICS, Sample
from mmsrl.page.sections import medians
from mmsrl.page.tissue import MAX_THUMBNAIL_SIDE, data_uri, domain_figure

TOP_GENES = 3
"""Maximum number of marker genes of a domain on a card."""

TOP_WARNINGS = 2
"""Maximum number of warnings on a card."""


@dataclass(frozen=True)
class Card:
    """Summary of a section. A card takes some ten kilobytes, whatever the number of spots and genes."""

    sample: str
    unit: str
    unit_sections: int
    """Number of sections of the unit."""
    noun: str
    """``cells`` or ``spots``."""
    platform: str
    design: Mapping[str, str]
    """Condition, donor and covariates by their title."""
    n_spots: int
    n_spots_before: int | None
    """Number of spots before quality control, or ``None`` if not known."""
    n_genes: int
    medians: Mapping[str, float | None]
    """Medians over the spots by the title of the metric."""
    colors: Mapping[str, str]
    """Colour of each domain of the unit."""
    domains: Mapping[str, int]
    """Number of spots of each domain of the unit."""
    marker_genes: Mapping[str, Sequence[str]]
    """Top marker genes of each domain; empty if no domain has markers."""
    scores: Mapping[str, float]
    flags: Sequence[str]
    """Stages of the section that gave a warning."""
    warnings: int
    """Number of warnings on the page."""
    top_warnings: Sequence[str]
    """First warnings on the page."""
    genes_asked: Sequence[str]
    genes_lacking: Sequence[str]
    """Requested genes that the section lacks."""
    thumbnail: str
    """Domains on the tissue, as a data URI."""
    thumbnail_size: Sequence[int]
    """Width and height in pixels."""

    @property
    def n_domains(self) -> int:
        """Number of domains."""
        return len(self.domains)

    @property
    def confidence(self) -> float | None:
        """Median confidence of the domains, if known."""
        return self.medians.get(METRICS[_keys.CONFIDENCE])

    @property
    def kept_share(self) -> float | None:
        """Share of spots that passed quality control, if known."""
        return self.n_spots / self.n_spots_before if self.n_spots_before else None

    @property
    def search_text(self) -> str:
        """Lower-case text that the search field of the report looks through."""
        return " ".join([self.sample, self.unit, self.platform, *self.design.values()]).lower()


def card_of(
    sample: Sample,
    n_sections: int,
    colors: Mapping[str, str],
    genes: Mapping[str, Sequence[str]],
    outputs: Outputs,
) -> Card:
    """Build the card of a section.

    Parameters
    ----------
    sample
        Section.
    n_sections
        Number of sections of its unit.
    colors
        Colour of each domain of the unit.
    genes
        Genes by reason, from :func:`mmsrl.page.genes.listed_genes`.
    outputs
        Stage outputs of the unit.
    """
    section = sample.section
    requested = list(genes.get(ASKED, ()))
    warnings = [m for m in outputs.messages(sample.name, sample.unit) if m["level"] == "warning"]
    thumbnail = domain_figure(section, MAX_THUMBNAIL_SIDE)
    sizes = Counter(section.domains)
    profiles = domain_profiles(outputs.result("markers", sample.name, sample.unit), section.colors)
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
        domains={label: sizes[label] for label in section.colors},
        marker_genes={name: profile["genes"][:TOP_GENES] for name, profile in profiles.items() if profile["genes"]},
        scores=outputs.scores_of(sample.name),
        flags=[stage for stage in dict.fromkeys(m["stage"] for m in warnings) if stage in SAMPLE_STAGES],
        warnings=len(warnings),
        top_warnings=[m["text"] for m in warnings[:TOP_WARNINGS]],
        genes_asked=requested,
        genes_lacking=[gene for gene in requested if gene not in section.genes],
        thumbnail=data_uri(thumbnail),
        thumbnail_size=thumbnail.size,
    )
