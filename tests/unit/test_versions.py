"""``versions.yml`` in nf-core's form."""

import platform
from importlib.metadata import version

import yaml
from click.testing import CliRunner

from mmsrl.versions import main


def test_versions_of_python_mmsrl_and_packages():
    result = CliRunner().invoke(main, ["--process", "MMSRL:TRAIN", "numpy", "anndata"])
    assert result.exit_code == 0
    assert result.stdout.splitlines()[:2] == ['"MMSRL:TRAIN":', f"  python: {platform.python_version()}"]
    assert yaml.load(result.stdout, yaml.BaseLoader) == {
        "MMSRL:TRAIN": {
            "python": platform.python_version(),
            "mmsrl": version("mmsrl"),
            "numpy": version("numpy"),
            "anndata": version("anndata"),
        }
    }


def test_a_package_that_need_not_be_there_is_named_where_it_is():
    result = CliRunner().invoke(
        main, ["--process", "X", "numpy", "--optional", "no-such-package", "--optional", "h5py"]
    )
    assert result.exit_code == 0
    assert list(yaml.load(result.stdout, yaml.BaseLoader)["X"]) == ["python", "mmsrl", "numpy", "h5py"]


def test_package_that_is_not_installed_is_an_error():
    result = CliRunner().invoke(main, ["--process", "X", "no-such-package"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "package no-such-package is not installed here" in result.stderr
