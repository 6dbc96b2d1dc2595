from __future__ import annotations

import subprocess
import sys

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.metrics import adjusted_rand_score

from mmsrl import pp, tl
from mmsrl._errors import InputError


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


def test_domains_of_sections_in_a_notebook() -> None:
    sections = [section("one", 0), section("two", 1)]

    result = tl.domains(sections, 2, device="cpu", show_progress=False)

    assert result.facts["members"] == 12
    assert any("no image features" in message["text"] for message in result.messages)
    for adata in sections:
        assert adjusted_rand_score(adata.obs["half"], adata.obs["domain"]) > 0.9
        assert adata.obs["domain_confidence"].between(0, 1).all()
    # One number means one domain in all sections, and the embedding left is that of the first member.
    left = [adata.obs.loc[adata.obs["half"] == "left", "domain"].mode()[0] for adata in sections]
    assert left[0] == left[1]
    alone = [section("one", 0), section("two", 1)]
    tl.train(alone, seed=0, device="cpu", show_progress=False)
    np.testing.assert_array_equal(sections[0].obsm["X_mmsrl"], alone[0].obsm["X_mmsrl"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"readout": "mclust"}, "readout 'mclust' is not one of gmm, gmm_full, kmeans, leiden"),
        ({"n_domains": 0}, "n_domains 0: must be a whole number from 1 on"),
        ({"n_domains": 7.0}, "n_domains 7.0: must be a whole number"),
        ({"n_seeds": 0}, "n_seeds 0, seed 0: must be 1 or more, and 0 or more"),
        ({"seed": -1}, "seed -1"),
        ({"n_seeds": 3}, "n_seeds 3: preset 'default' has its whole ensemble from one training"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_trained(settings: dict[str, object], message: str) -> None:
    adata = section("one", 0)
    with pytest.raises(InputError, match=message):
        tl.domains(adata, **({"n_domains": 2} | settings))
    assert not adata.obsm.get("X_mmsrl", np.empty(0)).size
