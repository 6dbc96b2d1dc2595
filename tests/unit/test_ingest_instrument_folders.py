"""Folders and archives of instruments: what is recognised, and what is refused with which message."""

import shutil
import tarfile
from pathlib import Path

import instruments
import pytest
from instruments import assert_read

from mmsrl._errors import InputError
from mmsrl.check.files import check_files
from mmsrl.ingest.api import read_instrument, read_spaceranger
from mmsrl.ingest.instruments import find, look


class TestWrongFolders:
    @pytest.mark.parametrize(
        ("make", "spoil", "column"),
        [
            (instruments.xenium, lambda run: (run / "cells.parquet").unlink(), "data_dir"),
            (instruments.xenium, lambda run: (run / "cells.parquet").write_bytes(b"PAR1"), "data_dir"),
            (instruments.cosmx, lambda run: (run / "S0_metadata_file.csv.gz").write_bytes(b"fov,cell_ID"), "data_dir"),
            (instruments.merscope, lambda run: (run / "cell_metadata.csv").write_text("EntityID,x\n"), "data_dir"),
            (instruments.stereoseq, lambda run: (run / "a.cellbin.gef").touch(), "data_dir"),
            (instruments.xenium, lambda run: None, "spaceranger_dir"),
        ],
    )
    def test_check_and_ingest_say_the_same(self, tmp_path, make, spoil, column):
        spoil(make(tmp_path / "run"))
        (problem,) = check_files({"row": 2, column: str(tmp_path / "run")}, tmp_path)
        with pytest.raises(InputError) as raised:
            (read_instrument if column == "data_dir" else read_spaceranger)(tmp_path / "run", "s")
        assert str(raised.value) == f"sample s: {problem.text}"

    def test_the_missing_file_is_named(self, tmp_path):
        folder = instruments.cosmx(tmp_path / "c")
        (folder / "S0_metadata_file.csv.gz").unlink()
        with pytest.raises(
            InputError, match=r"c: has none of CosMx's places of the cells: metadata_file\.csv \(also gz"
        ):
            find(folder, None)

    def test_files_of_another_instrument_than_stated(self, tmp_path):
        with pytest.raises(InputError, match=r"none of Xenium's counts: .*; this looks like CosMx, as it has S0_"):
            find(instruments.cosmx(tmp_path / "c"), "xenium")

    def test_files_of_two_instruments(self, tmp_path):
        instruments.cosmx(tmp_path / "both/c")
        instruments.seqfish(tmp_path / "both/s")
        with pytest.raises(
            InputError, match=r"both: has files of CosMx \(.*\) and seqFISH \(.*; say in the column plat"
        ):
            find(tmp_path / "both", None)
        assert find(tmp_path / "both", "seqfish").platform == "seqfish"

    def test_space_ranger_and_other_instruments_are_sent_to_each_others_column(self, tmp_path):
        (tmp_path / "outs/spatial").mkdir(parents=True)
        (tmp_path / "outs/filtered_feature_bc_matrix.h5").touch()
        with pytest.raises(
            InputError, match="outs: this is Space Ranger's output; give it in the column spaceranger_dir"
        ):
            read_instrument(tmp_path / "outs", "s")
        with pytest.raises(InputError, match="x: this is Xenium's folder, not Space .* column data_dir"):
            read_spaceranger(instruments.xenium(tmp_path / "x"), "s")

    def test_nothing_that_is_known(self, tmp_path):
        with pytest.raises(InputError, match=r"no files that identify an instrument \(platform starmap has none\)"):
            find(tmp_path, "starmap")

    def test_what_programs_of_other_systems_leave_in_folders_is_passed_over(self, tmp_path):
        folder = instruments.xenium(tmp_path / "x")
        (folder / "._cells.parquet").touch()
        (folder / "__MACOSX").mkdir()
        (folder / "__MACOSX/cells.parquet").touch()
        assert find(folder, None).files["cells"] == folder / "cells.parquet"

    def test_a_link_that_leads_nowhere(self, tmp_path):
        folder = instruments.xenium(tmp_path / "x")
        (folder / "cells.parquet").unlink()
        (folder / "cells.parquet").symlink_to("/gone/cells.parquet")
        with pytest.raises(
            InputError, match=r"x: cells\.parquet is a symbolic link to /gone/cells\.parquet, which does"
        ):
            find(folder, None)

    def test_a_table_without_the_column_that_is_read(self, tmp_path):
        folder = instruments.merscope(tmp_path / "m")
        (folder / "cell_metadata.csv").write_text("EntityID,left,top\n1,2,3\n")
        with pytest.raises(
            InputError, match=r"cell_metadata\.csv: no columns center_x and center_y \(it has 'EntityID'"
        ):
            look(folder, None)

    def test_bins_of_what_has_none(self, tmp_path):
        with pytest.raises(
            InputError, match="only Visium HD and Stereo-seq have bins to choose from; leave bin_size empty"
        ):
            read_instrument(instruments.xenium(tmp_path / "x"), "s", bin_size=8)


@pytest.mark.parametrize(("ending", "kind"), [("tar.gz", "gztar"), ("zip", "zip")])
def test_an_archive_of_the_folder(tmp_path, ending, kind):
    folder = instruments.xenium(tmp_path / "run/x")
    instruments.xenium_outlines(folder)
    (folder / "transcripts.parquet").write_bytes(b"large")
    shutil.make_archive(str(tmp_path / "x"), kind, folder.parent)
    assert list(check_files({"row": 2, "data_dir": f"x.{ending}"}, tmp_path)) == []
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    ingested = read_instrument(tmp_path / f"x.{ending}", "s", scratch=scratch)
    assert_read(ingested, "xenium")
    assert [entry["file"] for entry in ingested.inputs] == [f"x.{ending}"]
    assert ingested.outlines is not None and not list(scratch.iterdir())


def test_an_archive_is_named_as_it_was_given(tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        tar.add(Path(__file__), "notes.txt")
    with pytest.raises(InputError, match=r"sample s: x\.tar: no files that identify an instrument"):
        read_instrument(tmp_path / "x.tar", "s", scratch=tmp_path)
