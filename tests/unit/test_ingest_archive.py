"""Archives of Space Ranger's folder hold the same section, and nothing in one reaches outside of it."""

import io
import tarfile
from pathlib import Path

import pytest
from spaceranger import visium

from mmsrl._errors import InputError
from mmsrl.ingest import archive
from mmsrl.ingest.api import read_spaceranger


@pytest.fixture
def outs(tmp_path: Path) -> Path:
    """A Visium section in the layout of version 1."""
    return visium(tmp_path / "run" / "outs")


@pytest.mark.parametrize(("name", "mode"), [("s.tar.gz", "w:gz"), ("s.tgz", "w:gz"), ("s.tar", "w")])
@pytest.mark.parametrize("around", ["outs", "sample_1/outs", "."])
def test_archives(outs, tmp_path, name, mode, around):
    (outs / "possorted_genome_bam.bam").write_bytes(b"large")
    with tarfile.open(tmp_path / name, mode) as tar:
        tar.add(outs, arcname=around)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    ingested = read_spaceranger(tmp_path / name, "s", scratch=scratch)
    assert (ingested.adata.X != read_spaceranger(outs, "s").adata.X).nnz == 0
    assert [entry["file"] for entry in ingested.inputs] == [name]
    assert list(scratch.iterdir()) == []


def test_only_what_is_read_is_unpacked(outs, tmp_path):
    (outs / "possorted_genome_bam.bam").write_bytes(b"large")
    (outs / "spatial" / "detected_tissue_image.jpg").write_bytes(b"large")
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        tar.add(outs, arcname="outs")
    archive.extract(tmp_path / "s.tar", tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert names == {path.name for path in outs.rglob("*") if path.is_file()} - {
        "possorted_genome_bam.bam",
        "detected_tissue_image.jpg",
    }


@pytest.mark.parametrize("name", ["../spatial/scalefactors_json.json", "/tmp/escaped", "outs/../../escaped"])
def test_archive_that_reaches_outside_is_refused(outs, tmp_path, name):
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        tar.add(outs, arcname="outs")
        tar.addfile(tarfile.TarInfo(name), io.BytesIO())
    with pytest.raises(InputError, match=r"sample s: s\.tar: refused, as its member .*(outside|absolute path)"):
        read_spaceranger(tmp_path / "s.tar", "s", scratch=tmp_path)
    assert not (tmp_path / "escaped").exists() and not Path("/tmp/escaped").exists()


def test_link_out_of_the_archive_is_refused(outs, tmp_path):
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        link = tarfile.TarInfo("outs/spatial/tissue_positions.csv")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    with pytest.raises(InputError, match="refused"):
        read_spaceranger(tmp_path / "s.tar", "s", scratch=tmp_path)


def packed(outs: Path, archive: Path, *links: tuple[str, bytes, str]) -> Path:
    """Pack `outs` behind links: name, kind and where it leads."""
    with tarfile.open(archive, "w") as tar:
        for name, kind, to in links:
            link = tarfile.TarInfo(name)
            link.type, link.linkname = kind, to
            tar.addfile(link)
        tar.add(outs, arcname="outs")
    return archive


def test_links_in_an_archive_are_followed_to_what_is_in_it(outs, tmp_path):
    (outs / "pictures").mkdir()
    (outs / "spatial" / "tissue_lowres_image.png").rename(outs / "pictures" / "small.png")
    archive.extract(
        packed(
            outs,
            tmp_path / "s.tar",
            ("outs/spatial/tissue_lowres_image.png", tarfile.SYMTYPE, "../pictures/link"),
            ("outs/pictures/link", tarfile.LNKTYPE, "outs/pictures/small.png"),
            ("outs/spatial/tissue_hires_image.png", tarfile.SYMTYPE, "tissue_hires_image.png"),
            ("outs/spatial/tissue_positions.csv", tarfile.SYMTYPE, "../nothing.csv"),
            ("outs/spatial/tissue_positions.parquet", tarfile.SYMTYPE, "../pictures"),
        ),
        tmp_path / "out",
    )
    files = {path.name: path for path in (tmp_path / "out").rglob("*") if not path.is_dir()}
    assert set(files) == {
        "filtered_feature_bc_matrix.h5",
        "scalefactors_json.json",
        "tissue_lowres_image.png",
        "tissue_positions_list.csv",
    }
    assert files["tissue_lowres_image.png"].read_bytes() == (outs / "pictures" / "small.png").read_bytes()
    assert not any(path.is_symlink() for path in files.values())


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
@pytest.mark.parametrize("to", ["/etc/passwd", "../../../../../etc/passwd"])
@pytest.mark.parametrize("name", ["outs/spatial/tissue_positions.csv", "outs/link"])
def test_a_link_out_of_the_archive_is_refused_with_what_to_do(outs, tmp_path, kind, to, name):
    path = packed(outs, tmp_path / "s.tar", (name, kind, to))
    with pytest.raises(InputError, match=r"s\.tar: refused, .* is a link out of .* with what it leads to \(tar -h\)"):
        archive.extract(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_archive_damaged_or_foreign(outs, tmp_path):
    whole = tmp_path / "s.tar.gz"
    with tarfile.open(whole, "w:gz") as tar:
        tar.add(outs, arcname="outs")
    (tmp_path / "cut.tar.gz").write_bytes(whole.read_bytes()[:900])
    (tmp_path / "text.tar").write_text("this is no archive")
    with tarfile.open(tmp_path / "other.tar", "w") as tar:
        tar.add(outs / "spatial" / "scalefactors_json.json", arcname="notes.txt")
    for name, message in (
        ("cut.tar.gz", "damaged"),
        ("text.tar", "not a tar or zip archive"),
        ("other.tar", "neither"),
    ):
        with pytest.raises(InputError, match=message):
            read_spaceranger(tmp_path / name, "s", scratch=tmp_path)
    with pytest.raises(InputError, match="no such file or folder"):
        read_spaceranger(tmp_path / "missing.tar", "s")
