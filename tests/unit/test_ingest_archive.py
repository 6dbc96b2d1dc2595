"""Archives of Space Ranger's folder hold the same section, and nothing in one reaches outside of it."""

import errno
import io
import shutil
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from mmsrl._errors import InputError
from mmsrl.ingest import archive, look
from mmsrl.ingest.api import read_spaceranger


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


@pytest.mark.parametrize("name", ["s.zip", "s.tar.bz2", "s.tar.xz", "s.tbz2", "s.txz", "S.TAR.GZ", "zip_named.tar.gz"])
def test_other_kinds_of_archives_by_their_content(outs, tmp_path, name):
    path = tmp_path / name
    if "zip" in name:
        zipped(outs, path)
    else:
        with tarfile.open(path, f"w:{ {'2': 'bz2', 'z': 'xz' if 'x' in name else 'gz'}[name.lower()[-1]] }") as tar:
            tar.add(outs, arcname="outs")
    ingested = read_spaceranger(path, "s", scratch=tmp_path)
    assert (ingested.adata.X != read_spaceranger(outs, "s").adata.X).nnz == 0
    assert [entry["file"] for entry in ingested.inputs] == [name]
    assert not list(tmp_path.glob(".unpacked-*"))


def zipped(outs: Path, path: Path, *more: tuple[str, bytes, int], names=lambda name: name) -> Path:
    """Pack `outs` as zip, with more members: name, content and Unix mode."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(outs.rglob("*")):
            if file.is_file():
                archive.write(file, names(f"outs/{file.relative_to(outs)}"))
        for name, content, mode in more:
            info = zipfile.ZipInfo(name)
            info.external_attr, info.compress_type = mode << 16, zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return path


LINK = stat.S_IFLNK | 0o777


@pytest.mark.parametrize("kind", ["tar.gz", "zip"])
@pytest.mark.parametrize("around", ["a/b/c/S1/outs", "S1\\outs"])
def test_a_section_deep_within_or_packed_on_windows(outs, tmp_path, kind, around):
    path = tmp_path / f"s.{kind}"
    separator = "\\" if "\\" in around else "/"
    if kind == "zip":
        zipped(outs, path, names=lambda name: name.replace("outs", around, 1).replace("/", separator))
    else:
        with tarfile.open(path, "w:gz") as tar:
            for file in sorted(outs.rglob("*")):
                tar.add(file, f"{around}/{file.relative_to(outs)}".replace("/", separator), recursive=False)
    assert read_spaceranger(path, "s").adata.n_obs == 30
    assert look.check(path, None, 100) is None


def test_messages_name_the_archive_that_was_given(outs, tmp_path):
    with tarfile.open(tmp_path / "two.tar.gz", "w:gz") as tar:
        tar.add(outs, arcname="A/outs")
        tar.add(outs, arcname="B/outs")
    (outs / "filtered_feature_bc_matrix.h5").unlink()
    with tarfile.open(tmp_path / "half.tar.gz", "w:gz") as tar:
        tar.add(outs, arcname="run/outs")
    for name, message in {"two": "holds 2 sections (A/outs, B/outs)", "half": "but no filtered_feature_bc"}.items():
        said = []
        for look_at in (read_spaceranger, lambda path, _: look.check(path, None, 100)):
            with pytest.raises(InputError) as caught:
                look_at(tmp_path / f"{name}.tar.gz", "s")
            said.append(str(caught.value).removeprefix("sample s: "))
        assert said[0] == said[1] and said[0].startswith(f"{name}.tar.gz") and message in said[0]


def test_spatial_packed_beside_the_matrix_in_an_archive(outs, tmp_path):
    with tarfile.open(outs / "spatial.tar.gz", "w:gz") as tar:
        tar.add(outs / "spatial", arcname="spatial")
    shutil.rmtree(outs / "spatial")
    path = zipped(outs, tmp_path / "s.zip")
    ingested = read_spaceranger(path, "s")
    assert ingested.adata.n_obs == 30 and [entry["file"] for entry in ingested.inputs] == ["s.zip"]
    assert look.check(path, None, 100) is None  # only unpacking would show


@pytest.mark.parametrize(
    ("name", "content", "mode", "message"),
    [
        ("../evil", b"x", 0o644, "lies outside the archive's folder"),
        ("outs/../../evil", b"x", 0o644, "lies outside the archive's folder"),
        ("..\\evil", b"x", 0o644, "lies outside the archive's folder"),
        ("/etc/evil", b"x", 0o644, "has an absolute path"),
        ("C:\\evil", b"x", 0o644, "has an absolute path"),
        ("outs/link", b"/etc/passwd", LINK, "is a link out of the archive's folder"),
        ("outs/spatial/link", b"../../../x", LINK, "is a link out of the archive's folder"),
    ],
)
def test_zip_that_reaches_outside_is_refused(outs, tmp_path, name, content, mode, message):
    path = zipped(outs, tmp_path / "s.zip", (name, content, mode))
    with pytest.raises(InputError, match=rf"^s\.zip: refused, as its member .* {message}"):
        archive.extract(path, tmp_path / "out")
    assert not list(tmp_path.rglob("evil")) and not Path("/etc/evil").exists()


def test_links_in_a_zip_are_followed(outs, tmp_path):
    image = outs / "spatial/tissue_lowres_image.png"
    (outs / "small.png").write_bytes(image.read_bytes())
    image.unlink()
    path = zipped(outs, tmp_path / "s.zip", ("outs/spatial/tissue_lowres_image.png", b"../small.png", LINK))
    archive.extract(path, tmp_path / "out")
    unpacked = tmp_path / "out/outs/spatial/tissue_lowres_image.png"
    assert unpacked.read_bytes() == (outs / "small.png").read_bytes() and not unpacked.is_symlink()


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_an_archive_that_unpacks_to_much_more_than_itself_is_refused(outs, tmp_path, monkeypatch, kind):
    monkeypatch.setattr(archive, "_MAX_UNPACKED_BYTES", 10_000)
    (outs / "spatial/tissue_hires_image.png").write_bytes(bytes(3_000_000))
    path = tmp_path / f"s.{kind}"
    if kind == "zip":
        zipped(outs, path)
    else:
        with tarfile.open(path, "w:gz") as tar:
            tar.add(outs, arcname="outs")
    with pytest.raises(InputError, match="refused, as it unpacks to more than 100 times its own size"):
        archive.extract(path, tmp_path / "out")
    assert not list((tmp_path / "out").rglob("tissue_hires_image.png"))


def test_zip_damaged_or_encrypted(outs, tmp_path):
    whole = zipped(outs, tmp_path / "s.zip").read_bytes()
    encrypted = bytearray(whole)
    for start in (b"PK\x03\x04", b"PK\x01\x02"):  # the flag in every local header and in the directory
        at = encrypted.find(start)
        while at >= 0:
            encrypted[at + (6 if start[2] == 3 else 8)] |= 1
            at = encrypted.find(start, at + 1)
    damaged = bytearray(whole)
    at = whole.find(b"filtered_feature_bc_matrix.h5") + 100
    damaged[at : at + 50] = bytes(50)
    for content, message in ((whole[:900], "damaged"), (encrypted, "encrypted"), (damaged, "damaged")):
        (tmp_path / "s.zip").write_bytes(content)
        with pytest.raises(InputError, match=rf"^s\.zip: .*{message}"):
            archive.extract(tmp_path / "s.zip", tmp_path / "out")


def test_large_archives_are_looked_into_where_that_is_cheap(outs, tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "_MAX_LISTED_BYTES", 100)
    zipped(outs, tmp_path / "s.zip")
    for name, mode in (("s.tar", "w"), ("s.tar.gz", "w:gz")):
        with tarfile.open(tmp_path / name, mode) as tar:
            tar.add(outs, arcname="outs")
    assert [archive.can_be_listed(tmp_path / f"s.{kind}") for kind in ("zip", "tar", "tar.gz")] == [True, True, False]


def test_a_full_disk_is_no_damage(outs, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(OSError, match="No space left"):
        archive.extract(packed(outs, tmp_path / "s.tar"), tmp_path / "out")
