"""One whole run on small real sections, then what running it again must and must not do."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import anndata as ad
import jsonschema
import pandas as pd
from pipeline.runs import Project, Run


def test_ends_at_a_report_and_final_files(project: Project, first: Run) -> None:
    assert first.status == 0, first.text
    results = project.launch / "results"
    html = (results / "report/mmsrl_report.html").read_text()
    final = ad.read_h5ad(results / "assemble/tiny.mmsrl.h5ad")

    for section in ("tiny", "tiny_hd"):
        assert f'href="sections/{section}.html"' in html
        page = (results / f"report/sections/{section}.html").read_text()
        assert 'href="../mmsrl_report.html"' in page and 'data-assets="../assets"' in page
    assert {path.name for path in (results / "report/assets").iterdir()} == {"plotly.min.js", "sections.js"}
    assert final.obs["domain"].cat.categories.size > 1
    assert final.obsm["X_mmsrl"].shape[0] == final.n_obs
    assert (results / "evaluate/tiny.scores.csv").read_text().startswith("sample,metric,value,n_spots")
    for name in ("execution_report.html", "execution_timeline.html", "pipeline_dag.html"):
        assert (results / "pipeline_info" / name).stat().st_size > 0


def test_manifest_says_how_to_repeat_the_run(project: Project, first: Run) -> None:
    manifest = json.loads((project.launch / "results/pipeline_info/manifest.json").read_text())

    assert manifest["seeds"]["train tiny"] == 0
    assert manifest["versions"]["packages"]["torch"]
    assert [sample["sample"] for sample in manifest["samples"]] == ["tiny", "tiny_hd"]
    assert all(len(file["sha256"]) == 64 for sample in manifest["samples"] for file in sample["inputs"])


def test_index_names_every_file_that_is_published(project: Project, first: Run) -> None:
    results = project.launch / "results"
    index = json.loads((results / "index.json").read_text())

    jsonschema.validate(index, json.loads((project.root / "assets/schema_index.json").read_text()))
    sizes = {path.relative_to(results).as_posix(): path.stat().st_size for path in results.rglob("*") if path.is_file()}
    own = {name for name in sizes if name.startswith(("pipeline_info/execution_", "pipeline_info/pipeline_dag"))}
    assert {file["path"]: file["bytes"] for file in index["files"]} == {
        name: size for name, size in sizes.items() if name not in own | {"index.json"}
    }
    assert index["units"] == [{"id": name, "samples": [name]} for name in ("tiny", "tiny_hd")]


def test_same_command_with_resume_runs_nothing_again_and_mends_what_lies_there(project: Project, first: Run) -> None:
    """Half of a file, of a run that was killed while it copied, or that of a run with other parameters in between."""
    results = project.launch / "results"
    mended = [results / name for name in ("train/tiny.embedding.h5ad", "report/mmsrl_report.html", "index.json")]
    whole = [file.read_bytes() for file in mended]
    for file in mended:
        file.write_bytes(b"half")

    again = project.run("-resume")

    assert again.status == 0, again.text
    assert set(again.tasks) == set(first.tasks)
    assert set(again.tasks.values()) == {"CACHED"}, again.tasks
    assert [file.read_bytes() for file in mended] == whole


def write_sheet(folder: Path, data: Path, n_domains: int) -> Path:
    sheet = folder / "sheet.csv"
    sheet.write_text(f"sample,spaceranger_dir,truth,n_domains\ntiny,{data},{data}/truth.csv,{n_domains}\n")
    return sheet


def test_empty_parameters_are_the_defaults(project: Project, first: Run, tmp_path: Path) -> None:
    empty = dict.fromkeys(("max_pct_mt", "image_cache", "device", "seed", "preset", "report_title", "root"), "")
    (tmp_path / "params.json").write_text(json.dumps(empty | {"spatialdata": "null", "readout": "null"}))
    sheet = write_sheet(tmp_path, project.root / "tests/data/tiny", 3)

    run = project.run("-resume", "-params-file", tmp_path / "params.json", "--input", sheet, "--skip_figures")

    assert run.status == 0, run.text
    assert not set(run.tasks.values()) - {"COMPLETED", "CACHED"}, run.tasks
    for name in ("domains/tiny.domains.csv", "assemble/tiny.spots.csv"):
        assert (project.launch / "results" / name).read_bytes() == (project.launch / "earlier [1]" / name).read_bytes()


def test_another_number_of_domains_trains_nothing_again(project: Project, first: Run, tmp_path: Path) -> None:
    sheet = write_sheet(tmp_path, project.root / "tests/data/tiny", 4)

    run = project.run("-resume", "--input", sheet, "--skip_markers", "--skip_figures")

    assert run.status == 0, run.text
    ran = {name.split(" ")[0] for name, status in run.tasks.items() if status == "COMPLETED"}
    assert ran >= {"DOMAINS", "TRAJECTORY", "EVALUATE", "ASSEMBLE", "REPORT"}
    assert not ran & {"INGEST", "QC", "FEATURES", "TRAIN", "ENHANCE"}, run.tasks


def test_sections_are_mapped_onto_an_earlier_run(project: Project, first: Run) -> None:
    earlier = project.launch / "earlier [1]"
    unclear = project.run("-resume", "--reference", earlier)
    assert unclear.status != 0 and not unclear.tasks
    assert "it holds 2 units (tiny, tiny_hd); name one: reference_unit" in unclear.text

    options = ["--reference", earlier, "--reference_unit", "tiny", "--skip_figures", "--skip_report"]
    run = project.run("-resume", *options)
    assert run.status == 0, run.text
    ran = {name.split(" ")[0] for name, status in run.tasks.items() if status == "COMPLETED"}
    assert {"MAP", "ASSEMBLE"} <= ran and not ran & {"INGEST", "QC", "FEATURES", "TRAIN", "DOMAINS"}, run.tasks
    domains = pd.read_csv(earlier / "domains/tiny.domains.csv", index_col="barcode", dtype=str)["domain"]
    final = ad.read_h5ad(project.launch / "results/assemble/tiny.mmsrl.h5ad")
    assert (final.obs["reference_domain"].astype(str) == domains.reindex(final.obs_names)).mean() > 0.8
    index = json.loads((project.launch / "results/index.json").read_text())
    assert {file["kind"] for file in index["files"] if file["stage"] == "map"} == {"mapped", "summary"}


def test_editing_a_comment_runs_nothing_again(project: Project, first: Run) -> None:
    source = project.root / "src/mmsrl/domains/api.py"
    source.write_text(source.read_text().replace("def domains(", "def domains(  # edited\n", 1))

    run = project.run("-resume")

    assert set(run.tasks.values()) == {"CACHED"}, run.tasks


def test_editing_a_module_runs_the_stages_that_import_it_and_what_comes_after(project: Project, first: Run) -> None:
    source = project.root / "src/mmsrl/evaluate/metrics.py"
    before = source.read_text()
    edited = before.replace('"ARI": float(', '"ARI": 1.0 * float(')
    assert edited != before
    source.write_text(edited)

    run = project.run("-resume")

    assert run.status == 0, run.text
    ran = {name.split(" ")[0] for name, status in run.tasks.items() if status == "COMPLETED"}
    # The index is of names and sizes: where these are the same, so is it.
    assert ran - {"INDEX"} == {"EVALUATE", "FIGURES", "REPORT"}, run.tasks
    assert set(run.tasks) == set(first.tasks)


def test_a_file_that_changes_within_a_section_is_read_again(project: Project, tmp_path: Path) -> None:
    # A path may hold what a shell would take for a pattern.
    section = tmp_path / "run[1] {a}" / "tiny"
    shutil.copytree(project.root / "tests/data/tiny", section)
    # A copy may have lost what a link led to; whether that is needed is for ingest to say.
    (section / "spatial/aligned_fiducials.jpg").symlink_to("nowhere.jpg")
    row = f"tiny,{section},{section}/truth.csv,3"
    (tmp_path / "sheet.csv").write_text(f"sample,spaceranger_dir,truth,n_domains\n{row}\n")

    def tasks() -> dict[str, str]:
        run = project.run("-stub", "-resume", "--input", tmp_path / "sheet.csv")
        assert run.status == 0, run.text
        return {name.split(" ")[0]: status for name, status in run.tasks.items()}

    assert {"FEATURES", "EVALUATE"} <= tasks().keys()
    assert tasks()["INGEST"] == "CACHED"
    positions = next(section.glob("spatial/tissue_positions*"))
    positions.write_bytes(positions.read_bytes())
    assert tasks()["INGEST"] == "COMPLETED"
