from __future__ import annotations

import subprocess
import sys

import pytest

from mmsrl import pp, tl


@pytest.mark.parametrize(("module", "name"), [(module, name) for module in (pp, tl) for name in dir(module)])
def test_every_name_is_a_documented_function(module, name: str) -> None:
    function = getattr(module, name)
    assert callable(function)
    assert function.__name__ == name
    assert function.__doc__


def test_a_wrong_name_is_answered_with_the_right_ones() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'spatial_neighbors'; it has .*spatial_graph"):
        getattr(pp, "spatial_" + "neighbors")


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = (
        "import sys, mmsrl.tl; sys.exit(any(name in sys.modules for name in ('torch', 'scanpy', 'anndata', 'numpy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
