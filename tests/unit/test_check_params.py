"""Parameters arrive as Nextflow hands them over, and leave typed or with one clear line each."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmsrl.check.params import backbone_problems, check_params, preset_problems, seed_problems
from mmsrl.parameters import PARAMETERS

SCHEMA = json.loads((Path(__file__).parents[2] / "nextflow_schema.json").read_text(encoding="utf-8"))
NEEDED = {"input": "sheet.csv", "outdir": "results"}


@pytest.mark.parametrize(
    "params",
    [
        {"kernel_width": 1.5, "n_top_genes": 3000},
        {"preset": "mmsrl", "hidden_dim": 500, "n_top_genes": 500},
        {"preset": "mmsrl", "hidden_dim": 100, "masked_weight": 0},
        {"preset": "stmmr", "hidden_dim": 100, "consistency_loss": "contrastive"},
    ],
)
def test_settings_of_the_preset_are_no_problem(params):
    assert preset_problems(checked(**params)[0]) == []


def checked(**given: object) -> tuple[dict, list[str]]:
    return check_params(NEEDED | given, SCHEMA)


def test_defaults_are_those_of_the_table():
    params, problems = checked()
    assert problems == []
    assert params == {p.name: p.default for p in PARAMETERS} | NEEDED


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("use_image", "false", False),
        ("use_image", "TRUE", True),
        ("use_image", False, False),
        ("n_top_genes", "2000", 2000),
        ("n_top_genes", 2000.0, 2000),
        ("n_top_genes", " 7 ", 7),
        ("max_pct_mt", "12.5", 12.5),
        ("learning_rate", "1e-3", 0.001),
        ("kernel_width", 2, 2),
        ("max_pct_mt", "null", None),
        ("max_pct_mt", "", None),
        ("epochs", None, None),
        ("min_spots", "null", 3),
        ("report_title", 2024, "2024"),
        ("report_title", "false", "false"),
    ],
)
def test_text_becomes_the_type_of_the_parameter(name, value, expected):
    params, problems = checked(**{name: value})
    assert problems == []
    assert params[name] == expected
    assert type(params[name]) is type(expected)


INSTITUTION = {
    "custom_config_version": "master",
    "custom_config_base": "https://example.org/configs",
    "config_profile_name": "Facility",
    "config_profile_description": "Cluster of the facility",
}
OF_INSTITUTIONS = """
    ACCOUNT acr_registry allowpoolcreation awscli awsqueue awsregion az_location boot_disk cache_dir cleanup cluster
    clusterOptions cluster_account config_profile_contact_email config_profile_contact_github config_version cpus
    custom_vpc disable_cleanup dkfz_gpu_queue fasta genome gpu_partition group hook_url hpc_queue hpc_user
    igenomesIgnore igenomes_base igenomes_ignore location max_cpus max_memory max_time memory partition priority
    project project_id qos retry_count save_reference schema_ignore_params scratch seq_center singularity_cache_dir
    trace_report_suffix tracedir use_spot use_standby validationSchemaIgnoreParams vm_type warning_message work_dir
""".split()
"""What profiles of nf-core/configs set beside ``config_profile_…``."""


@pytest.mark.parametrize("name", OF_INSTITUTIONS)
def test_institutional_profiles_bring_parameters_of_their_own(name):
    params, problems = checked(**INSTITUTION, **{name: "x"})
    assert problems == []
    assert name not in params


def test_without_an_institutional_profile_its_parameters_are_unknown():
    assert [problem.split(";")[0] for problem in checked(partition="x")[1]] == ["unknown parameter --partition"]


@pytest.mark.parametrize("name", ["n_top_gens", "nTopGenes", "epoch", "prest", "n-seeds", "report_titel"])
def test_a_misspelt_parameter_is_told_beside_an_institutional_profile(name):
    assert checked(**INSTITUTION, **{name: 5})[1][0].startswith(f"unknown parameter --{name}; did you mean")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("n_top_gens", 5, "unknown parameter --n_top_gens; did you mean --n_top_genes?"),
        ("nTopGenes", 5, "unknown parameter --nTopGenes; did you mean --n_top_genes?"),
        ("wibble", 5, "unknown parameter --wibble; --help lists all parameters"),
        ("preset", "mmsr", "--preset must be one of default, mmsrl, stmmr, not 'mmsr'"),
        ("epochs", "many", "--epochs must be a whole number, at least 1, not 'many'"),
        ("epochs", "0", "--epochs must be a whole number, at least 1, not '0'"),
        ("epochs", "1_000", "--epochs must be a whole number, at least 1, not '1_000'"),
        ("epochs", 2.5, "--epochs must be a whole number, at least 1, not '2.5'"),
        ("epochs", True, "--epochs must be a whole number, at least 1, but no value was given"),
        ("seed", "-1", "--seed must be a whole number from 0 to 4294967295, not '-1'"),
        ("max_pct_mt", "101", "--max_pct_mt must be a number from 0 to 100, not '101'"),
        ("max_pct_mt", "NaN", "--max_pct_mt must be a number from 0 to 100, not 'NaN'"),
        ("learning_rate", "1e999", "--learning_rate must be a number, more than 0, not '1e999'"),
        ("use_image", "nope", "--use_image must be true or false, not 'nope'"),
        ("use_image", 1, "--use_image must be true or false, not '1'"),
        ("outdir", None, "--outdir is needed: Path to the folder for the results."),
        ("outdir", True, "--outdir must be text, but no value was given"),
        ("report_title", ["a"], "--report_title must be text, not '['a']'"),
    ],
)
def test_wrong_parameter_is_one_line_with_what_is_allowed(name, value, message):
    assert checked(**{name: value})[1] == [message]


def test_the_last_training_has_a_seed_too():
    last = 2**32 - 1

    def problems(**given: object) -> list[str]:
        return seed_problems(checked(preset="mmsrl", **given)[0], SCHEMA)

    assert problems(seed=last) == problems(seed=last - 1, n_seeds=2) == []
    text = f"--seed {last}: the last of 2 trainings would use seed {2**32}, but the maximum is {last}"
    assert problems(seed=last, n_seeds=2) == [f"{text}; give a smaller seed"]


def test_several_trainings_are_for_the_published_presets():
    text = "--n_seeds 5: --preset default trains its whole ensemble at once; leave it out"
    assert preset_problems(checked(n_seeds=5)[0]) == [text]
    assert preset_problems(checked(n_seeds=1)[0]) == preset_problems(checked(n_seeds=5, preset="mmsrl")[0]) == []


def test_spellings_that_nextflow_adds_are_not_told_twice():
    _, problems = checked(**{"n-top-genes": 5, "nTopGenes": 5})
    assert problems == ["unknown parameter --n-top-genes; did you mean --n_top_genes?"]


def test_all_wrong_parameters_are_told():
    _, problems = check_params({"epochs": 0, "sed": 1}, SCHEMA)
    assert sorted(problem.split()[0] for problem in problems) == ["--epochs", "--input", "--outdir", "unknown"]


_values = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | st.lists(st.integers(), max_size=2)
)


@given(st.dictionaries(st.sampled_from([p.name for p in PARAMETERS]) | st.text(max_size=12), _values, max_size=5))
def test_anything_gives_values_of_the_right_type_or_a_message(given):
    params, problems = check_params(NEEDED | given, SCHEMA)
    kinds = {"string": str, "integer": int, "number": (int, float), "boolean": bool}
    if not problems:
        assert all(params[p.name] is None or isinstance(params[p.name], kinds[p.type]) for p in PARAMETERS)
    assert all("\n" not in problem for problem in problems)


@pytest.mark.parametrize(
    ("backbone", "named"),
    [("efficientnet_lite0+texture", "none"), ("timm/resnet18+timm/resnet34", "2"), ("timm/resnet18+texture", None)],
)
def test_weights_are_of_one_model_of_timm(backbone, named):
    params, problems = checked(backbone=backbone, backbone_weights="w.pt", backbone_options="init_values=1")
    assert problems == []
    found = backbone_problems(params)
    assert len(found) == (0 if named is None else 2)
    assert all(f"--backbone {backbone} names {named}: leave it out" in problem for problem in found)
