"""``mmsrl-check`` as main.nf calls it: a plan, or every fault and status 2."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mmsrl._stages import STAGES
from mmsrl.check.cli import main

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "params.json").write_text(json.dumps({"input": "sheet.csv", "outdir": "out", "use_image": "false"}))
    for name in ("a", "b", "c"):
        matrix = tmp_path / name / "filtered_feature_bc_matrix"
        matrix.mkdir(parents=True)
        (matrix / "matrix.mtx").touch()
        (matrix / "features.tsv").touch()
        (matrix / "barcodes.tsv").write_text("AAA-1\nAAC-1\nAAG-1\n")
        (tmp_path / name / "spatial").mkdir()
        positions = "AAA-1,1,0,0,0,0\nAAC-1,1,0,2,0,100\nAAG-1,1,1,1,87,50\n"
        (tmp_path / name / "spatial/tissue_positions_list.csv").write_text(positions)
    return tmp_path


def check(here: Path, sheet: str, *more: str, params: str = "params.json", schemas: Path = PROJECT) -> Result:
    (here / "sheet.csv").write_text(sheet)
    options = {
        "input": here / "sheet.csv",
        "params": here / params,
        "schema-dir": schemas,
        "output": here / "plan.json",
    }
    arguments = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    return CliRunner().invoke(main, [*arguments, *more])


def plan_of(here: Path) -> dict:
    return json.loads((here / "plan.json").read_text())


def test_plan_has_samples_units_parameters_and_code(here):
    sheet = "sample,spaceranger_dir,n_domains,group,truth\na,a,2,both,\nb,./b,,both,\nc,c,,alone,\n"
    result = check(here, sheet)
    assert result.exit_code == 0, result.output
    plan = plan_of(here)
    empty = {"h5ad": None, "spatialdata": None, "image": None, "alignment": None, "bin_size": None, "truth": None}
    empty |= {"platform": None, "pitch_um": None, "um_per_px": None, "data_dir": None, "expression": None}
    empty |= {"condition": None, "donor": None, "covariates": {}}
    assert plan["samples"] == [
        {"id": "a", "unit": "both", "spaceranger_dir": str(here / "a"), "n_domains": 2, "group": "both"} | empty,
        {"id": "b", "unit": "both", "spaceranger_dir": str(here / "b"), "n_domains": 2, "group": "both"} | empty,
        {"id": "c", "unit": "c", "spaceranger_dir": str(here / "c"), "n_domains": None, "group": None} | empty,
    ]
    assert plan["units"] == [
        {"id": "both", "samples": ["a", "b"], "n_domains": 2},
        {"id": "c", "samples": ["c"], "n_domains": None},
    ]
    assert plan["params"]["use_image"] is False
    assert plan["code"].keys() == STAGES.keys()


def test_all_faults_are_told_at_once_and_nothing_is_written(here):
    (here / "params.json").write_text(json.dumps({"input": "sheet.csv", "outdir": "out", "epochs": "0"}))
    result = check(here, "sample,spaceranger_dir\na b,a\nb,nowhere\n")
    assert result.exit_code == 2
    assert not (here / "plan.json").exists()
    assert result.output.splitlines() == [
        "mmsrl-check: error: 1 wrong parameter",
        "  --epochs must be a whole number, at least 1, not '0'",
        "2 problems in sheet.csv",
        "  sheet.csv, row 2, column sample, value 'a b': a sample name has letters, digits, '.', '_' and '-' only, "
        "starts with a letter or digit and has at most 100 characters (no spaces, no slashes: files are named "
        "after it)",
        f"  sheet.csv, row 3, column spaceranger_dir, value 'nowhere': does not exist in {here}",
    ]


def test_a_reference_is_looked_into_before_anything_is_computed(here):
    given = {"input": "sheet.csv", "outdir": "out", "reference": str(here / "earlier")}
    (here / "params.json").write_text(json.dumps(given))
    sheet = "sample,spaceranger_dir\na,a\n"
    result = check(here, sheet)
    assert result.exit_code == 2
    assert "earlier: no such folder; give the results of an earlier run (its --outdir)" in result.output
    for unit in ("one", "two"):
        (here / "earlier/train").mkdir(parents=True, exist_ok=True)
        (here / f"earlier/train/{unit}.model.npz").touch()
    result = check(here, sheet)
    assert "it holds 2 units (one, two); name one: reference_unit" in result.output
    # Where the folder cannot be seen, the workflow says it.
    assert check(here, sheet, "--no-check-files").exit_code == 0


def test_gene_sets_are_looked_into_before_anything_is_computed(here):
    sheet = "sample,spaceranger_dir\na,a\n"
    path = here / "sets.gmt"
    given = {"input": "sheet.csv", "outdir": "out", "gene_sets": str(path)}
    (here / "params.json").write_text(json.dumps(given))
    path.write_text("one,of,commas\n")
    result = check(here, sheet)
    assert result.exit_code == 2 and "sets.gmt: line 1 is no gene set" in result.output
    assert check(here, sheet, "--no-check-files").exit_code == 0
    path.write_text("set\tabout it\tGeneA\n")
    assert check(here, sheet).exit_code == 0


def test_where_files_cannot_be_seen_paths_stay_as_written(here):
    result = check(here, "sample,h5ad,truth\nx,far/x.h5ad,s3://b/t.csv\n", "--no-check-files")
    assert result.exit_code == 0, result.output
    (sample,) = plan_of(here)["samples"]
    assert (sample["h5ad"], sample["truth"]) == ("far/x.h5ad", "s3://b/t.csv")
    assert check(here, "sample,h5ad\nx y,far/x.h5ad\n", "--no-check-files").exit_code == 2


def test_schemas_that_are_not_there(here):
    result = check(here, "sample,spaceranger_dir\na,a\n", schemas=here / "a")
    assert result.exit_code == 2
    assert "nextflow_schema.json cannot be read" in result.output


@pytest.mark.parametrize("content", ["{", "[]", ""])
def test_parameters_that_are_no_json_object(here, content):
    (here / "other.json").write_text(content)
    result = check(here, "sample,spaceranger_dir\na,a\n", params="other.json")
    assert result.exit_code == 2
    assert "--params" in result.output


def test_check_is_light(here):
    rows = "".join(f"s{n},{'abc'[n % 3]}\n" for n in range(12))
    (here / "sheet.csv").write_text(f"sample,spaceranger_dir\n{rows}")
    script = (
        "import sys; from mmsrl.check.cli import main; main(sys.argv[1:], standalone_mode=False);"
        "print(sorted({'anndata', 'torch', 'scanpy', 'matplotlib', 'geopandas'} & set(sys.modules)))"
    )
    options = ["--input", "sheet.csv", "--params", "params.json", "--schema-dir", str(PROJECT), "--output", "plan.json"]
    done = subprocess.run(
        [sys.executable, "-c", script, *options], cwd=here, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
