"""``mmsrl-compare``: compare the conditions of a study."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mmsrl._click import INPUT_FILE, log_messages, output_dir_option, stage_command

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import anndata as ad

STUDY = "study"
"""Id of the outputs, which cover all sections."""


@stage_command("compare")
@click.option("--counts", type=INPUT_FILE, multiple=True, required=True, help="<sample>.qc.h5ad; once a sample.")
@click.option("--domains", type=INPUT_FILE, multiple=True, required=True, help="<unit>.domains.csv; once a unit.")
@click.option(
    "--design", type=INPUT_FILE, required=True, help="Condition, donor and covariates of the samples, as JSON."
)
@output_dir_option("the tables and study.compare.json")
def main(
    counts: tuple[Path, ...],
    domains: tuple[Path, ...],
    design: Path,
    gene_sets: Path | None,
    output_dir: Path,
    control: str | None,
) -> None:
    """Compare composition and expression between conditions, with sections or donors as replicates."""
    import logging

    from mmsrl._files import read_design, write_summary, write_text
    from mmsrl._gmt import read_gmt
    from mmsrl.compare.api import compare

    assigned = {str(own["sample"]): own for own in read_design(design)}
    sets = read_gmt(gene_sets) if gene_sets else None
    sections = _sections(counts, domains, assigned)
    found = compare(
        sections, control=control or _first_condition(assigned), gene_sets=sets, several_units=len(domains) > 1
    )
    missing = sorted({*assigned} - {section["sample"] for section in found.facts["sections"]})
    if missing:
        text = f"sections {', '.join(missing)} could not be analysed: the comparison is without them"
        found.messages.insert(0, {"level": "warning", "text": text})
    log = logging.getLogger("mmsrl.compare")
    log_messages(log, found.messages)
    tables = {"composition": found.composition, "expression": found.expression, "shares": found.shares}
    if sets:
        tables["gene_sets"] = found.gene_sets
    if len(domains) > 1:
        tables["matches"] = found.matches
    for name, table in tables.items():
        text = table.to_csv(sep="\t", index=False, lineterminator="\n", float_format="%.6g")
        write_text(output_dir / f"{STUDY}.{name}.tsv", text)
    write_summary(
        output_dir,
        "compare",
        STUDY,
        parameters={"control": control, "gene_sets": gene_sets.name if gene_sets else None},
        result=found.facts,
        messages=found.messages,
    )
    changed = sum(row["n_up"] + row["n_down"] for row in found.facts["expression"])
    log.info("%s: %d changed genes in %d domains", found.facts["model"], changed, len(found.facts["domains"]))


def _first_condition(assigned: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Return the condition of the first sample of the design: sections come in the order of their files' names."""
    return next((str(own["condition"]) for own in assigned.values()), None)


def _sections(
    counts: Sequence[Path], domains: Sequence[Path], assigned: Mapping[str, Mapping[str, Any]]
) -> Iterator[ad.AnnData]:
    """Yield every section with its domains and what it is assigned to, one in memory at a time."""
    from mmsrl import _keys
    from mmsrl._errors import InputError
    from mmsrl._hdf5 import read_stage_file
    from mmsrl._sections import add_domains, design_columns, sample_of
    from mmsrl._tables import read_domains

    table_of = {sample: path for path in domains for sample in read_domains(path)[_keys.SAMPLE].unique()}
    for path in sorted(counts):
        adata = read_stage_file(path, "qc")
        sample = sample_of(adata)
        if sample not in assigned or sample not in table_of:
            raise InputError(f"{path.name}: sample {sample} has no {'domains' if sample in assigned else 'condition'}")
        add_domains([adata], table_of[sample])
        adata.uns[_keys.UNS][_keys.UNIT] = table_of[sample].name.removesuffix(".domains.csv")
        for column, value in design_columns(assigned[sample]).items():
            adata.obs[column] = value
        yield adata
