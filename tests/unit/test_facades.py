"""The Python API: every function annotates in place or returns a copy, and is documented."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import planted
import pytest
import scipy.sparse as sp
from sklearn.metrics import adjusted_rand_score

from mmsrl import datasets, pp, tl
from mmsrl._annotation import storable
from mmsrl._errors import InputError
from mmsrl.train.api import train
from mmsrl.train.members import KINDS
from mmsrl.train.presets import SPOT_SHARES

MODULES = (datasets, pp, tl)
FUNCTIONS = [getattr(module, name) for module in MODULES for name in module.__all__]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_every_function_documents_parameters_result_and_types(function: Callable[..., Any]) -> None:
    text = inspect.getdoc(function) or ""
    names, returned, *_ = (text.split("Parameters\n-")[1]).split("Returns\n-")
    assert returned.strip()
    for parameter in inspect.signature(function).parameters.values():
        assert parameter.annotation is not parameter.empty
        stars = "**" if parameter.kind is parameter.VAR_KEYWORD else ""
        assert f"{stars}{parameter.name}" in names.replace(",", " ").split(), parameter.name


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = (
        "import sys, mmsrl.tl, mmsrl.pp, mmsrl.datasets;"
        "sys.exit(any(name in sys.modules for name in ('torch', 'scanpy', 'anndata', 'numpy', 'pandas')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def section(name: str, seed: int) -> ad.AnnData:
    """12 × 10 spots, whose left and right halves express different genes."""
    rng = np.random.default_rng(seed)
    places = np.array([(x, y) for y in range(12) for x in range(10)], dtype=float)
    rate = np.full((120, 40), 2.0)
    rate[places[:, 0] > 4, :20] *= 4.0
    adata = ad.AnnData(sp.csr_matrix(rng.poisson(rate).astype(np.float32)))
    adata.obs["half"] = pd.Categorical(np.where(places[:, 0] > 4, "right", "left"))
    adata.obsm["spatial"] = places * 100.0
    adata.uns["mmsrl"] = {"sample": name}
    return adata


QUICK = {"device": "cpu", "show_progress": False}
WRITING: dict[str, tuple[Callable[..., Any], dict[str, Any], str]] = {
    "quality_control": (pp.quality_control, {}, "quality_control"),
    "image_features": (pp.image_features, {}, "X_image"),
    "spatial_graph": (pp.spatial_graph, {}, "spatial_gaussian"),
    "domains": (tl.domains, {"n_domains": 2, **QUICK}, "domain"),
    "train": (tl.train, QUICK, "X_mmsrl"),
    "markers": (tl.markers, {"groupby": "half", **QUICK}, "markers"),
    "trajectory": (tl.trajectory, {"groupby": "half"}, "pseudotime"),
    "enhance": (tl.enhance, {}, "X_enhanced"),
    "map": (tl.map, {}, "reference"),
}
RETURNING = {"compare", "match", "spot_descriptors"}


def keys_of(adata: ad.AnnData) -> set[str]:
    parts = {"obs": adata.obs, "obsm": adata.obsm, "obsp": adata.obsp, "uns": adata.uns}
    return {f"{name} {key}" for name, part in parts.items() for key in part}


def test_every_function_that_takes_sections_is_tested_for_the_convention() -> None:
    assert {f.__name__ for f in FUNCTIONS if f.__module__ != "mmsrl.datasets"} - RETURNING - set(WRITING) == {
        name for name in pp.__all__ if name.startswith("read_")
    }


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", WRITING)
def test_function_writes_in_place_or_returns_a_copy(
    name: str, embedded: ad.AnnData, reference: Any, tmp_path: Path
) -> None:
    function, arguments, key = WRITING[name]
    if name == "map":
        arguments = {"reference": reference}
    given = planted.section("N", seed=1) if name == "map" else embedded.copy()
    if name == "train":
        del given.obsm[key]
    before = given.copy()

    copied = function(given, copy=True, **arguments)
    assert keys_of(given) == keys_of(before) and given.shape == before.shape
    assert function(given, **arguments) is None
    assert keys_of(copied) == keys_of(given) > keys_of(before)
    assert any(f" {key}" in added for added in keys_of(given) - keys_of(before))
    named = function(before, copy=True, key_added="other", **arguments)
    assert {added.replace(" other", f" {key}") for added in keys_of(named)} == keys_of(given)
    given.write_h5ad(tmp_path / "written.h5ad")
    assert keys_of(ad.read_h5ad(tmp_path / "written.h5ad")) == keys_of(given)


@pytest.fixture(scope="module")
def embedded() -> ad.AnnData:
    adata = section("one", 0)
    adata.uns["mmsrl"] |= {"pitch_px": 100.0, "pitch_um": 100.0}
    adata.obsm["X_mmsrl"] = train(adata.copy(), device="cpu").embedding
    return adata


@pytest.fixture(scope="module")
def reference() -> Any:
    from mmsrl.map.reference import Reference

    adata = planted.section("R")
    return Reference("R", train(adata, device="cpu").model, [adata])


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_list_of_sections_is_annotated_jointly_and_copied_as_a_list() -> None:
    sections = [section("one", 0), section("two", 1)]
    copies = tl.domains(sections, 2, n_jobs=2, copy=True, **QUICK)
    assert isinstance(copies, list) and "domain" not in sections[0].obs
    assert tl.domains(sections, 2, **QUICK) is None
    for adata, copied in zip(sections, copies, strict=True):
        assert adjusted_rand_score(adata.obs["half"], adata.obs["domain"]) > 0.9
        assert adata.obs["domain_confidence"].between(0, 1).all()
        assert adata.uns["domain"]["members"] == 2 * len(KINDS) * len(SPOT_SHARES)
        pd.testing.assert_frame_equal(adata.obs, copied.obs)
    # A domain has the same name in all sections, and the embedding is the one of the first member.
    names = [adata.obs.loc[adata.obs["half"] == "left", "domain"].mode()[0] for adata in sections]
    assert names[0] == names[1]
    alone = [section("one", 0), section("two", 1)]
    tl.train(alone, seed=0, **QUICK)
    np.testing.assert_array_equal(sections[0].obsm["X_mmsrl"], alone[0].obsm["X_mmsrl"])


def test_warnings_are_python_warnings_and_the_rest_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    noise = ad.AnnData(sp.csr_matrix(np.random.default_rng(0).poisson(2.0, (120, 40)).astype(np.float32)))
    noise.obsm["spatial"] = section("one", 0).obsm["spatial"]
    with caplog.at_level("INFO", logger="mmsrl"), pytest.warns(UserWarning, match="no structure found") as caught:
        tl.domains(noise, **QUICK)
    assert "no image features" in caplog.text
    assert caught[0].filename == __file__


def test_summary_is_storable() -> None:
    records = [{"gene": "A", "p": None}, {"gene": "B", "p": 0.5}]
    found = storable({"a/b": 1, "none": None, "names": ["x", "y"], "empty": [], "rows": records, "inner": {"n": None}})
    assert set(found) == {"a_b", "names", "empty", "rows", "inner"} and found["inner"] == {}
    assert found["rows"]["p"].isna().tolist() == [True, False]


def test_demo_is_ready_for_domains(tmp_path: Path) -> None:
    adata = datasets.demo()
    assert adata.shape == (3639, 8325) and sp.issparse(adata.X)
    assert adata.obs["layer"].cat.categories.tolist() == ["L1", "L2", "L3", "L4", "L5", "L6", "WM"]
    with pytest.raises(InputError, match="no demo section 151673 in .*: the installed package contains no data"):
        datasets.demo(path=tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"readout": "mclust"}, "readout 'mclust' is not one of gmm, gmm_full, kmeans, leiden"),
        ({"n_domains": 0}, "n_domains 0: must be a whole number"),
        ({"n_domains": 7.0}, "n_domains 7.0: must be a whole number"),
        ({"n_seeds": 0}, "n_seeds must be at least 1 and seed at least 0, not 0 and 0"),
        ({"seed": -1}, "not 1 and -1"),
        ({"n_seeds": 3}, "n_seeds 3: preset 'default' gets its ensemble from one training"),
    ],
)
def test_invalid_arguments_are_refused_before_training(settings: dict[str, object], message: str) -> None:
    adata = section("one", 0)
    with pytest.raises(InputError, match=message):
        tl.domains(adata, **({"n_domains": 2} | settings))
    assert not adata.obsm.get("X_mmsrl", np.empty(0)).size
