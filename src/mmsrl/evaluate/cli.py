"""``mmsrl-evaluate``: score the domains of a unit."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from mmsrl._click import INPUT_FILE, log_messages, output_dir_option, stage_command


@stage_command("evaluate")
@click.option("--id", "id", required=True, help="Id of the unit; names the outputs.")
@click.option("--domains", type=INPUT_FILE, required=True, help="<unit>.domains.csv.")
@click.option("--embedding", type=INPUT_FILE, required=True, help="<unit>.embedding.h5ad.")
@click.option(
    "--truth",
    metavar="SAMPLE=CSV",
    multiple=True,
    required=True,
    help="Labels of a section, columns barcode and label; once for each labelled section.",
)
@click.option("--trajectory", type=INPUT_FILE, help="<unit>.trajectory.h5ad, for the order of the labels.")
@output_dir_option("<unit>.scores.csv and <unit>.evaluate.json")
def main(
    id: str,
    domains: Path,
    embedding: Path,
    truth: tuple[str, ...],
    trajectory: Path | None,
    output_dir: Path,
    label_order: str | None,
) -> None:
    """Score the domains of a unit by agreement with labels, and by spatial continuity."""
    import pandas as pd

    from mmsrl import _keys
    from mmsrl._errors import InputError
    from mmsrl._files import write_summary, write_text
    from mmsrl._hdf5 import read_stage_file
    from mmsrl._tables import read_table
    from mmsrl.evaluate.api import score
    from mmsrl.evaluate.order import names_in_order
    from mmsrl.evaluate.truth import read_truth

    labels: dict[str, pd.Series[str]] = {}
    for given in truth:
        sample, _, path = given.partition("=")
        if not sample or not path:
            raise InputError(f"--truth {given}: write it as SAMPLE=CSV")
        if sample in labels:
            raise InputError(f"--truth is given twice for sample {sample}")
        labels[sample] = read_truth(Path(path), sample=sample)
    columns = (_keys.SAMPLE, _keys.BARCODE, _keys.DOMAIN)
    table_of_domains = read_table(domains, "domains", columns, text=columns)
    times = read_stage_file(trajectory, "trajectory").obs if trajectory else None
    order = names_in_order(label_order or "")
    table, facts, messages = score(
        id, table_of_domains, read_stage_file(embedding, "train"), labels, pseudotime=times, label_order=order
    )
    log = logging.getLogger(__name__)
    log_messages(log, messages)
    for row in table[table["metric"] == "ARI"].itertuples():
        log.info("%s: ARI %.3f over %d labelled spots", row.sample, row.value, row.n_spots)
    write_text(output_dir / f"{id}.scores.csv", table.to_csv(index=False, lineterminator="\n", float_format="%.6g"))
    write_summary(output_dir, "evaluate", id, parameters={"label_order": label_order}, result=facts, messages=messages)
