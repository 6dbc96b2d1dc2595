"""Invalid parameters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bad_input.case import Case, check


def _given(**parameters: object) -> Callable[[Path], list[str]]:
    def make(folder: Path) -> list[str]:
        sheet = folder / "sheet.csv"
        sheet.write_text("sample,spaceranger_dir\na,/x\n", encoding="utf-8")
        return check(sheet, "--no-check-files", **parameters)

    return make


def _not_json(folder: Path) -> list[str]:
    command = _given()(folder)
    (folder / "params.json").write_text("{", encoding="utf-8")
    return command


CASES = (
    Case("a parameter that is misspelt", _given(prest="mmsrl")),
    Case("a choice that is none", _given(preset="mmsr")),
    Case("a number in words", _given(epochs="many")),
    Case("a negative seed", _given(seed=-1)),
    Case("a share above 1", _given(image_variance=2)),
    Case("neither true nor false", _given(use_image="maybe")),
    Case("an image descriptor that is not known", _given(backbone="resnet50")),
    Case("a command in a parameter", _given(tile_um="100; rm -rf /")),
    Case("a space in a folder that is passed on", _given(image_cache="/my cache")),
    Case("a root of another form", _given(root="L1")),
    Case("a control of another form", _given(control="low dose")),
    Case("parameters that are no JSON", _not_json),
    Case("a step of zero", _given(learning_rate=0)),
    Case("settings of another preset", _given(hidden_dim=100, consistency_loss="contrastive")),
    Case("several trainings of the default", _given(n_seeds=5)),
    Case("a start after a stage of no run", _given(start_after="qc")),
    Case("several trainings of a run that has one", _given(start_from="results", preset="mmsrl", n_seeds=3)),
    Case("genes of a stage that is left out", _given(skip_enhance=True, enhanced_genes="MBP,PCP4")),
    Case("masking in another number of values than genes", _given(preset="mmsrl", hidden_dim=100)),
)
