"""Files between stages: what is damaged, foreign or cannot be written ends in one message, never in a traceback."""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path

import anndata as ad
import click
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from click.testing import CliRunner, Result
from conftest import SmallRun
from spaceranger import cut

from mmsrl._click import stage_command
from mmsrl._errors import InputError
from mmsrl._files import atomic_path, read_summary
from mmsrl._hdf5 import read_stage_file, write_compact
from mmsrl._tables import read_table
from mmsrl.assemble.cli import main as assemble
from mmsrl.domains.cli import main as domains
from mmsrl.evaluate.cli import main as evaluate
from mmsrl.features.cli import main as features
from mmsrl.page.cli import main as page
from mmsrl.qc.cli import main as qc


def test_samples_and_genes_of_any_name_are_read(tmp_path: Path) -> None:
    path = tmp_path / "u.domains.csv"
    path.write_text("sample,barcode,domain,domain_confidence\nNA,nan,None,0.5\nnull,NULL,1,\n")
    table = read_table(path, "domains", ("sample",), text=("sample", "barcode", "domain"))
    assert table.iloc[:, :3].to_numpy().tolist() == [["NA", "nan", "None"], ["null", "NULL", "1"]]
    confidence = table["domain_confidence"]
    assert confidence.dtype == np.float64 and confidence.isna().tolist() == [False, True]


def command_lines(run: SmallRun) -> dict[str, tuple[click.Command, list[str], str]]:
    """Return by stage its command, a command line that works, and the .h5ad in it that is to be damaged."""
    folder, out = run.folder, ["--output-dir", str(run.folder)]
    embedding = str(folder / "lone.embedding.h5ad")
    table = str(folder / "unit" / "lone.domains.csv")
    counts = str(folder / "S1.qc.h5ad")
    truth = folder / "truth.csv"
    pd.read_csv(table)[["barcode", "domain"]].set_axis(["barcode", "label"], axis=1).to_csv(truth, index=False)
    of_unit = ["--id", "lone", "--embedding", embedding]
    return {
        "qc": (qc, ["--id", "S1", "--counts", counts, *out], "S1.qc.h5ad"),
        "features": (features, ["--id", "S1", "--counts", counts, *out], "S1.qc.h5ad"),
        "domains": (domains, [*of_unit, "--n-domains", "2", *out], "lone.embedding.h5ad"),
        "evaluate": (
            evaluate,
            [*of_unit, "--domains", table, "--truth", f"lone={truth}", *out],
            "lone.embedding.h5ad",
        ),
        "assemble": (assemble, run.assemble_arguments("lone"), "lone.features.h5ad"),
        "page": (page, run.page_arguments("lone"), "lone.mmsrl.h5ad"),
    }


def overwrite(path: Path) -> None:
    path.write_text("barcode,label\n")


def rob(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["obsm"]


def other_encoding(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["obs"].attrs["encoding-type"] = "of-the-future"


def assert_one_message(result: Result) -> None:
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit)
    assert len([line for line in result.output.splitlines() if "error:" in line]) == 1


@pytest.mark.parametrize("stage", ["qc", "features", "domains", "evaluate", "assemble", "page"])
def test_every_command_names_the_file_that_it_cannot_use(assembled_run: SmallRun, stage: str) -> None:
    command, arguments, name = command_lines(assembled_run)[stage]
    path = assembled_run.folder / name
    whole = path.read_bytes()
    for damage, message in (
        (cut, "not HDF5, or truncated"),
        (overwrite, "not HDF5, or truncated"),
        (rob, "has no "),
        (other_encoding, "damaged AnnData"),
    ):
        path.write_bytes(whole)
        damage(path)
        result = CliRunner().invoke(command, arguments)
        assert_one_message(result)
        assert f"{name}: {message}" in result.output


def test_counts_have_to_be_counts_as_the_stage_wrote_them(small_run: SmallRun) -> None:
    path = small_run.folder / "lone.qc.h5ad"
    assert read_stage_file(path, "qc").n_obs == 42
    adata = ad.read_h5ad(path)
    adata.X = adata.X.toarray()
    adata.write_h5ad(path)
    with pytest.raises(InputError, match=r"lone\.qc\.h5ad: X is stored as array, but raw counts as csr_matrix"):
        read_stage_file(path, "qc")


def test_file_of_another_stage_is_told_apart(small_run: SmallRun) -> None:
    with pytest.raises(
        InputError, match=r"lone\.qc\.h5ad: has no obs/sample, .*give the \.h5ad that mmsrl-train wrote"
    ):
        read_stage_file(small_run.folder / "lone.qc.h5ad", "train")


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe\x00\x01,", b'sample,barcode,domain\na,"b', b"a,b,c\n1,2\n1,2,3,4,5\n"]
)
def test_damaged_table_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "u.domains.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"^u\.domains\.csv: .*mmsrl-domains"):
        read_table(path, "domains", ("sample", "barcode", "domain"))


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"7", b"[]", b'{"stage": "qc"}'])
def test_damaged_summary_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "s.qc.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"^s\.qc\.json: "):
        read_summary(path)


def test_table_keeps_names_that_look_like_numbers(tmp_path: Path) -> None:
    path = tmp_path / "u.scores.csv"
    path.write_text("sample,value\n007,0.5\n")
    table = read_table(path, "evaluate", ("sample", "value"), text=("sample",))
    assert table.loc[0].tolist() == ["007", 0.5]


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "make room there, or give another --output-dir"),
        (errno.EROFS, "ask for permission, or give another --output-dir"),
        (errno.EIO, "mend that and start the command again"),
    ],
)
def test_error_of_the_file_system_is_one_message(number: int, remedy: str) -> None:
    @stage_command("assemble")
    def command(**_: object) -> None:
        raise OSError(number, os.strerror(number), "/results/a.h5ad")

    result = CliRunner().invoke(command, [])
    assert result.exit_code == 1
    assert result.output == f"mmsrl-assemble: error: /results/a.h5ad: {os.strerror(number)}; {remedy}\n"


def test_output_folder_that_cannot_be_made_is_one_message(small_run: SmallRun) -> None:
    command, arguments, _ = command_lines(small_run)["qc"]
    under_a_file = small_run.folder / "S1.qc.json" / "out"
    result = CliRunner().invoke(command, [*arguments, "--output-dir", str(under_a_file)])
    assert result.exit_code == 1
    assert f"mmsrl-qc: error: {under_a_file}: Not a directory; " in result.output


def test_full_disk_leaves_nothing_behind_and_names_the_file(small_run: SmallRun) -> None:
    command, arguments, _ = command_lines(small_run)["qc"]
    assert CliRunner().invoke(command, arguments).exit_code == 0
    (small_run.folder / "S1.qc.png").unlink()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = sorted(small_run.folder.iterdir())
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        result = CliRunner().invoke(command, arguments)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert result.exit_code == 1
    assert f"mmsrl-qc: error: {small_run.folder / 'S1.qc.png'}: File too large; make room there" in result.output
    assert sorted(small_run.folder.iterdir()) == before


def test_writers_that_raise_runtime_errors_are_understood(tmp_path: Path) -> None:
    """HDF5 and torch do, on a full disk."""
    with pytest.raises(OSError, match="unable to extend file") as raised, atomic_path(tmp_path / "a.h5ad"):
        raise RuntimeError("Can't decrement id ref count (unable to extend file properly\n)")
    assert raised.value.filename == str(tmp_path / "a.h5ad")
    assert not list(tmp_path.iterdir())


def test_backed_file_leaves_the_counts_on_disk(small_run: SmallRun) -> None:
    adata = read_stage_file(small_run.folder / "lone.qc.h5ad", "qc", backed="r")
    assert adata.isbacked
    assert np.isfinite(adata.obsm["spatial"]).all()


def test_compact_file_holds_the_same_and_is_smaller(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    counts = sp.csr_matrix(random.poisson(0.3, (200, 500)).astype(np.float32))
    adata = ad.AnnData(np.log1p(counts), layers={"counts": counts}, obsm={"spatial": random.random((200, 2))})
    adata.obs["domain"] = pd.Categorical(["1", "2"] * 100)
    adata.uns["mmsrl"] = {"sample": "S"}
    adata.write_h5ad(tmp_path / "plain.h5ad", compression="gzip")
    write_compact(tmp_path / "compact.h5ad", adata)
    assert (tmp_path / "compact.h5ad").stat().st_size < 0.9 * (tmp_path / "plain.h5ad").stat().st_size
    read = ad.read_h5ad(tmp_path / "compact.h5ad")
    assert (read.X != adata.X).nnz == 0 and (read.layers["counts"] != counts).nnz == 0
    assert read.X.dtype == read.layers["counts"].dtype == np.float32
    pd.testing.assert_frame_equal(read.obs, adata.obs)
    assert (read.obsm["spatial"] == adata.obsm["spatial"]).all() and read.uns == adata.uns
