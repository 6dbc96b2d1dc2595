"""Command line of ``mmsrl-assemble``: the final files of a unit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mmsrl._click import INPUT_FILE, stage_command

if TYPE_CHECKING:
    import anndata as ad

    from mmsrl.assemble.outlines import Found


@stage_command("assemble")
@click.option("--id", "id", required=True, help="Unit: the sample, or the group trained together.")
@click.option("--counts", type=INPUT_FILE, multiple=True, required=True, help="<sample>.qc.h5ad; once a sample.")
@click.option(
    "--features", type=INPUT_FILE, multiple=True, required=True, help="<sample>.features.h5ad; once a sample."
)
@click.option("--embedding", type=INPUT_FILE, required=True, help="<unit>.embedding.h5ad.")
@click.option("--domains", type=INPUT_FILE, required=True, help="<unit>.domains.csv.")
@click.option("--trajectory", type=INPUT_FILE, help="<unit>.trajectory.h5ad.")
@click.option("--enhanced", type=INPUT_FILE, help="<unit>.enhanced.h5ad, for SpatialData.")
@click.option(
    "--outlines", type=INPUT_FILE, multiple=True, help="<sample>.outlines.parquet, of cells; once a sample that has it."
)
@click.option(
    "--design", type=INPUT_FILE, help="JSON: `samples`, each with `sample`, `condition`, `donor` and `covariates`."
)
@click.option("--mapped", type=INPUT_FILE, multiple=True, help="<sample>.map.csv; once a sample that has it.")
@click.option(
    "--summaries", type=INPUT_FILE, multiple=True, help="Stage JSON whose parameters go into uns; repeatable."
)
@click.option("--output-dir", type=click.Path(file_okay=False, path_type=Path), default=".", show_default=True)
def main(
    id: str,
    counts: tuple[Path, ...],
    features: tuple[Path, ...],
    embedding: Path,
    domains: Path,
    trajectory: Path | None,
    enhanced: Path | None,
    outlines: tuple[Path, ...],
    design: Path | None,
    mapped: tuple[Path, ...],
    summaries: tuple[Path, ...],
    output_dir: Path,
    spatialdata: bool,
) -> None:
    """Write the final files of every sample, and <unit>.mmsrl.h5ad of a group.

    Files of a sample: <sample>.mmsrl.h5ad, <sample>.spots.csv, <sample>.coordinates.csv.gz, <sample>.loupe.csv and
    <sample>.domains.geojson.
    """
    import logging

    from mmsrl._files import atomic_folder, atomic_path, read_design, read_summary, write_summary
    from mmsrl._hdf5 import read_stage_file, write_compact
    from mmsrl._sections import all_counted, common_target, design_columns
    from mmsrl._tables import read_domains, read_mapped
    from mmsrl.assemble.api import assemble_group, assemble_sample, reference_labels
    from mmsrl.assemble.elements import to_spatialdata
    from mmsrl.assemble.outlines import lacking_outlines, outlines_by_sample

    log = logging.getLogger("mmsrl.assemble")
    output_dir.mkdir(parents=True, exist_ok=True)

    def write(adata: ad.AnnData, name: str) -> None:
        with atomic_path(output_dir / f"{name}.mmsrl.h5ad") as temporary:
            write_compact(temporary, adata)
        if spatialdata:
            with atomic_folder(output_dir / f"{name}.spatialdata.zarr") as folder:
                to_spatialdata(adata, denoised, segmented).write(folder)
        log.info("%s: %d spots x %d genes", name, adata.n_obs, adata.n_vars)

    counted, described = _read_samples(id, counts, features)
    parameters = {summary["stage"]: summary["parameters"] for summary in map(read_summary, summaries)}
    embedded, labelled = read_stage_file(embedding, "train"), read_domains(domains)
    ordered = read_stage_file(trajectory, "trajectory") if trajectory else None
    denoised = read_stage_file(enhanced, "enhance") if enhanced and spatialdata else None
    # Normalised values are not scaled.
    target_sum = common_target(list(counted.values())) if all_counted(list(counted.values())) else 1.0
    segmented = outlines_by_sample(outlines, {sample: adata.obs_names.tolist() for sample, adata in counted.items()})
    designed = {entry["sample"]: design_columns(entry) for entry in read_design(design)} if design else {}
    labels = reference_labels({path.name.removesuffix(".map.csv"): read_mapped(path) for path in mapped})
    assembled: dict[str, ad.AnnData] = {}
    for sample, adata in counted.items():
        assembled[sample] = assemble_sample(
            adata,
            described[sample],
            embedded,
            labelled,
            unit=id,
            target_sum=target_sum,
            parameters=parameters,
            trajectory=ordered,
            design=designed.get(sample),
            reference=labels.get(sample),
        )
        write(assembled[sample], sample)
        _write_tables(assembled[sample], segmented.get(sample), sample, output_dir)

    messages = [
        {"level": "info", "text": f"Sample {sample}: {text}"}
        for sample, found in segmented.items()
        if (text := lacking_outlines(found))
    ]
    result = {"samples": {sample: list(adata.shape) for sample, adata in assembled.items()}, "target_sum": target_sum}
    if len(assembled) > 1:
        joint = assemble_group(id, assembled)
        write(joint, id)
        result["genes_in_common"] = joint.n_vars
        most = max(adata.n_vars for adata in assembled.values())
        if joint.n_vars < most:
            text = f"The file of group {id} has the {joint.n_vars} genes that all its samples have (of up to {most})."
            messages.append({"level": "info", "text": text})
    write_summary(output_dir, "assemble", id, parameters={"spatialdata": spatialdata}, result=result, messages=messages)


def _read_samples(
    unit: str, counts: tuple[Path, ...], features: tuple[Path, ...]
) -> tuple[dict[str, ad.AnnData], dict[str, ad.AnnData]]:
    """Return expression and image features by sample. Gene names are made consistent in the unit."""
    from mmsrl._errors import InputError
    from mmsrl._hdf5 import read_stage_file
    from mmsrl._sections import gene_names, sample_of

    def by_sample(paths: tuple[Path, ...], stage: str) -> dict[str, ad.AnnData]:
        return {sample_of(adata): adata for adata in (read_stage_file(path, stage) for path in paths)}

    counted, described = by_sample(counts, "qc"), by_sample(features, "features")
    if counted.keys() != described.keys():
        unmatched = sorted(counted.keys() ^ described.keys())
        raise InputError(f"--counts and --features must be of the same samples; only one of the two for {unmatched}")
    in_order = [counted[sample] for sample in sorted(counted)]
    for adata, names in zip(in_order, gene_names(in_order), strict=True):
        adata.var_names = names  # as in markers and de-noised expression
    if len(counted) > 1 and unit in counted:
        raise InputError(f"group {unit} has the name of one of its samples; its files would overwrite each other")
    return counted, described


def _write_tables(adata: ad.AnnData, outlines: Found | None, sample: str, output_dir: Path) -> None:
    """Write the tables and QuPath objects of an assembled sample for other programs."""
    import gzip

    from mmsrl import _keys
    from mmsrl._files import atomic_path, write_text
    from mmsrl.assemble.api import coordinates, loupe_categories, qupath_features
    from mmsrl.assemble.geojson import write_geojson

    written = (_keys.DOMAIN, _keys.CONFIDENCE, _keys.PSEUDOTIME, _keys.PSEUDOTIME_RANK)
    table = adata.obs[[name for name in written if name in adata.obs]]
    write_text(output_dir / f"{sample}.spots.csv", table.to_csv(index_label=_keys.BARCODE, lineterminator="\n"))
    write_text(output_dir / f"{sample}.loupe.csv", loupe_categories(adata).to_csv(index=False, lineterminator="\n"))
    places = coordinates(adata).to_csv(float_format="%.7g", lineterminator="\n")
    with atomic_path(output_dir / f"{sample}.coordinates.csv.gz") as temporary:
        # mtime=0 makes the file reproducible.
        temporary.write_bytes(gzip.compress(places.encode(), mtime=0))
    write_geojson(output_dir / f"{sample}.domains.geojson", qupath_features(adata, outlines))
