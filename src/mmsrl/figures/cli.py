"""``mmsrl-figures``: draw the sections of a unit."""

from __future__ import annotations

from pathlib import Path

import click

from mmsrl._click import INPUT_FILE, output_dir_option, stage_command

DPI = 150
"""Resolution of PNG files and of rasterised spots in PDF files."""


@stage_command("figures")
@click.option("--id", "id", required=True, help="Id of the unit; names the summary.")
@click.option(
    "--assembled", type=INPUT_FILE, multiple=True, required=True, help="<sample>.mmsrl.h5ad; repeat for each sample."
)
@click.option("--trajectory", type=INPUT_FILE, help="<unit>.trajectory.json, for the PAGA graph.")
@output_dir_option("<sample>.<figure>.png and .pdf, and <unit>.figures.json")
def main(id: str, assembled: tuple[Path, ...], trajectory: Path | None, output_dir: Path) -> None:
    """Draw domains, confidence, pseudotime and quality on the tissue, the UMAP and the PAGA graph, for print."""
    import logging

    import anndata as ad
    import matplotlib
    from anndata.io import read_elem

    from mmsrl import _keys
    from mmsrl._files import atomic_path, read_summary, write_summary
    from mmsrl._hdf5 import open_stage_file
    from mmsrl._sections import sample_of
    from mmsrl.figures.api import figures

    logging.getLogger("fontTools").setLevel(logging.WARNING)
    # Keep text editable in PDF files. Without dates, the same input gives the same files.
    matplotlib.rcParams.update({"pdf.fonttype": 42})
    undated = {"png": {}, "pdf": {"CreationDate": None}}
    paga = read_summary(trajectory)["result"]["paga"] if trajectory else []
    drawn: dict[str, list[str]] = {}
    for path in assembled:
        with open_stage_file(path, "assemble") as file:  # do not load the large expression matrix
            adata = ad.AnnData(**{part: read_elem(file[part]) for part in ("obs", "obsm", "uns")})
        if "samples" in adata.uns[_keys.UNS]:
            continue  # the file of a group, which has one file per sample as well
        sample = sample_of(adata)
        drawings = figures(adata, paga)
        for name, figure in drawings.items():
            for form, metadata in undated.items():
                with atomic_path(output_dir / f"{sample}.{name}.{form}") as temporary:
                    figure.savefig(temporary, format=form, dpi=DPI, metadata=metadata, bbox_inches="tight")
        drawn[sample] = list(drawings)
        logging.getLogger(__name__).info("%s: %s", sample, ", ".join(drawings))
    write_summary(output_dir, "figures", id, parameters={}, result={"drawn": drawn})
