"""Files of AnnData as other versions, programs and compressions write them; check and ingest say the same of each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import hdf5plugin
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from mmsrl._errors import InputError
from mmsrl.check.files import check_files
from mmsrl.ingest.api import Ingested, read_h5ad

N = 40
GENES = ["Gapdh", "Actb", "mt-Co1", "Rps3", "Hbb-bs"]


def section() -> ad.AnnData:
    rng = np.random.default_rng(0)
    return ad.AnnData(
        sparse.csr_matrix(rng.poisson(2.0, (N, len(GENES))).astype(np.float32)),
        pd.DataFrame(index=[f"cell{k}" for k in range(N)]),
        pd.DataFrame(index=GENES),
        obsm={"spatial": rng.random((N, 2)) * 100},
    )


def said(path: Path) -> tuple[list[str], list[str]]:
    """What check and ingest say, without the names that they put in front."""
    of_check = [problem.text for problem in check_files({"row": 2, "h5ad": str(path)}, path.parent)]
    try:
        read_h5ad(path, "s")
    except InputError as error:
        return of_check, [str(error).removeprefix("sample s: ")]
    return of_check, []


def read_again(path: Path) -> Ingested:
    """Read a file of ``section``, which check accepts, and see that it is the same."""
    assert said(path) == ([], [])
    found, expected = read_h5ad(path, "s"), section()
    assert (found.adata.X != expected.X).nnz == 0
    np.testing.assert_allclose(found.adata.obsm["spatial"], expected.obsm["spatial"])
    assert found.adata.obs_names.tolist() == expected.obs_names.tolist()
    return found


@pytest.mark.parametrize("compression", [hdf5plugin.FILTERS["zstd"], hdf5plugin.FILTERS["blosc2"], "lzf", "gzip"])
def test_compressions_of_the_documentation_of_anndata_are_read(tmp_path, compression):
    section().write_h5ad(tmp_path / "s.h5ad", compression=compression)
    read_again(tmp_path / "s.h5ad")


def test_an_unknown_compression_is_named(tmp_path):
    path = tmp_path / "s.h5ad"
    section().write_h5ad(path)
    with h5py.File(path, "a") as file:
        values = file["X/data"][()]
        del file["X/data"]
        made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        made.set_chunk(values.shape)
        made.set_filter(40000, h5py.h5z.FLAG_OPTIONAL, ())
        space = h5py.h5s.create_simple(values.shape)
        h5py.h5d.create(file["X"].id, b"data", h5py.h5t.IEEE_F32LE, space, made)
        file["X/data"].id.write_direct_chunk((0,), values.tobytes(), 0)
    of_check, of_ingest = said(path)
    assert of_check == of_ingest and "HDF5 filter 40000" in of_check[0] and "compression='gzip'" in of_check[0]


def old(path: Path) -> None:
    section().write_h5ad(path)
    with h5py.File(path, "a") as file:
        del file["obs"]
        file["obs"] = np.zeros(N, dtype=[("index", "S8"), ("in_tissue", "i4")])


def mudata(path: Path) -> None:
    section().write_h5ad(path)
    with h5py.File(path, "a") as file:
        file.move("X", "mod/rna/X")


def transposed(path: Path) -> None:
    adata = section()
    places = adata.obsm.pop("spatial")
    turned = adata.T.copy()
    turned.varm["spatial"] = places
    turned.write_h5ad(path)


def of(change: Callable[[ad.AnnData], Any]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        adata = section()
        change(adata)
        adata.write_h5ad(path)

    return write


@pytest.mark.parametrize(
    ("write", "text"),
    [
        (old, "written by anndata before 0.7; write it anew: anndata.read_h5ad('s.h5ad').write_h5ad"),
        (mudata, "MuData, of the modalities rna; write the one with genes"),
        (transposed, "varm has it: rows are genes here, write adata.T"),
        (of(lambda a: a.obsm.pop("spatial")), r"has no obsm['spatial']"),
        (of(lambda a: setattr(a, "obs_names", ["", *a.obs_names[1:]])), "1 of 40 spots have no name, e.g. in row 1"),
        (of(lambda a: setattr(a, "obs_names", ["a"] * N)), "39 barcodes come more than once"),
        (of(lambda a: a.obsm.update(spatial=np.zeros((N, 2)))), "39 of 40 spots have the coordinates of another"),
        (of(lambda a: a.obs.insert(0, "in_tissue", 2)), "obs['in_tissue'] of 'cell0' is '2'; give 1 to spots in the"),
        (of(lambda a: a.var.insert(0, "feature_types", "Antibody Capture")), "no features of type 'Gene Expression'"),
        (lambda path: section()[:, :0].copy().write_h5ad(path), "empty, 40 spots x 0 genes"),
        (of(lambda a: delattr(a, "X")), "has no matrix of expression (X"),
    ],
)
def test_check_and_ingest_say_the_same(tmp_path, write, text):
    write(tmp_path / "s.h5ad")
    of_check, of_ingest = said(tmp_path / "s.h5ad")
    assert of_check == of_ingest and len(of_check) == 1
    assert of_check[0].startswith("s.h5ad: ") and text in of_check[0]


@pytest.mark.parametrize(
    "names",
    [
        pd.CategoricalIndex([f"cell{k}" for k in range(N)]),
        pd.Index(pd.array([f"cell{k}" for k in range(N)], dtype="string")),
    ],
)
def test_names_as_categories_or_nullable_text(tmp_path, names):
    adata = section()
    adata.obs.index = names
    with ad.settings.override(allow_write_nullable_strings=True):
        adata.write_h5ad(tmp_path / "s.h5ad")
    read_again(tmp_path / "s.h5ad")


def test_names_of_bytes(tmp_path):
    section().write_h5ad(tmp_path / "s.h5ad")
    with h5py.File(tmp_path / "s.h5ad", "a") as file:
        for key in ("obs", "var"):
            values = file[f"{key}/_index"].asstr()[()]
            del file[f"{key}/_index"]
            file[f"{key}/_index"] = values.astype("S")
    assert read_again(tmp_path / "s.h5ad").adata.var_names.tolist() == GENES


def test_true_and_false_of_r(tmp_path):
    adata = section()
    adata.obs["in_tissue"] = ["TRUE", "FALSE"] * (N // 2)
    adata.write_h5ad(tmp_path / "s.h5ad")
    assert read_again(tmp_path / "s.h5ad").adata.obs["in_tissue"].tolist() == [1, 0] * (N // 2)


@pytest.mark.parametrize("value", [np.array([0.5]), "0.5", np.float32(0.5)])
def test_scale_factors_of_other_programs_are_numbers(tmp_path, value):
    adata = section()
    factors = {"tissue_hires_scalef": value, "fiducial": np.zeros((2, 2)), "name": "x"}
    adata.uns["spatial"] = {"runs": {"S1": {"images": {"hires": np.zeros((4, 4, 3))}, "scalefactors": factors}}}
    adata.write_h5ad(tmp_path / "s.h5ad")
    library = read_again(tmp_path / "s.h5ad").adata.uns["spatial"]["s"]
    assert library["scalefactors"] == {"tissue_hires_scalef": 0.5} and set(library["images"]) == {"hires"}


def with_raw(adata: ad.AnnData) -> ad.AnnData:
    adata.raw = adata.copy()
    return adata[:, :3].copy()


def test_the_matrix_with_the_most_genes_is_taken(tmp_path):
    adata = with_raw(section())
    adata.layers["counts"] = adata.X.copy()
    adata.write_h5ad(tmp_path / "s.h5ad")
    messages = [message["text"] for message in read_again(tmp_path / "s.h5ad").messages]
    assert "raw counts from raw.X, which has 5 genes (layers['counts'] has 3, X has 3)" in messages


def test_of_equally_many_genes_the_layer_that_says_counts_is_taken(tmp_path):
    adata = section()
    adata.layers["raw_counts"], adata.X = adata.X, adata.X * 3
    adata.write_h5ad(tmp_path / "s.h5ad")
    assert read_again(tmp_path / "s.h5ad").messages[0]["text"] == "raw counts from layers['raw_counts']"


def test_normalised_values_of_more_genes_do_not_count(tmp_path):
    adata = section()
    adata.X = adata.X / 2
    adata = with_raw(adata)
    adata.X = section().X[:, :3]
    adata.write_h5ad(tmp_path / "s.h5ad")
    found = read_h5ad(tmp_path / "s.h5ad", "s")
    assert found.messages[0]["text"] == "raw counts from X" and found.adata.n_vars == 3
