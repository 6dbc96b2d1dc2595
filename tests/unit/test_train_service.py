"""Training as a service: killed and resumed, diverged, out of memory, watched."""

from __future__ import annotations

import dataclasses
import logging
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from mmsrl._device import choose_device
from mmsrl._errors import EXIT_OUT_OF_MEMORY, InputError, NonFiniteLossError, OutOfMemoryError
from mmsrl.train import progress
from mmsrl.train.checkpoint import Checkpoint, fingerprint
from mmsrl.train.fit import Row, Trainable, fit, memory_errors
from mmsrl.train.presets import PUBLISHED

PROGRAM = Path(__file__).parents[1] / "train_once.py"
EPOCHS = 40


class Line(Trainable):
    """Fits one number to noise; ``bad_from`` makes the loss infinite from an epoch on."""

    def __init__(self, bad_from: int | None = None, settle_after: int | None = None) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.bad_from, self.settle_after, self.epoch = bad_from, settle_after, 0

    def steps(self) -> Iterator[dict[str, Tensor]]:
        self.epoch += 1
        for _ in range(2):
            loss = (self.weight - torch.randn(1)).square().sum()
            if self.bad_from is not None and self.epoch >= self.bad_from:
                loss = loss / 0.0
            yield {"total": loss, "fit": loss}

    def converged(self, history: list[Row]) -> bool:
        return self.settle_after is not None and len(history) >= self.settle_after

    def embedding(self) -> Tensor:
        return self.weight.detach()

    def fixed(self) -> list[np.ndarray]:
        return []


def run(model: Trainable, epochs: int = 6, **options: object) -> list[Row]:
    return fit(model, epochs=epochs, learning_rate=0.1, weight_decay=0.0, seed=1, show_progress=False, **options)


def start(folder: Path) -> subprocess.Popen[bytes]:
    folder.mkdir(exist_ok=True)
    return subprocess.Popen([sys.executable, str(PROGRAM), str(folder), str(EPOCHS)])


def test_killed_and_started_again_training_ends_in_the_same_weights(tmp_path: Path) -> None:
    undisturbed, victim = start(tmp_path / "whole"), start(tmp_path / "killed")
    checkpoint = tmp_path / "killed" / "checkpoint.pt"
    while victim.poll() is None and not checkpoint.exists():
        time.sleep(0.002)
    victim.kill()
    assert victim.wait() == -signal.SIGKILL
    assert not (tmp_path / "killed" / "weights.pt").exists()
    assert start(tmp_path / "killed").wait() == 0
    assert undisturbed.wait() == 0
    whole, resumed = (torch.load(tmp_path / name / "weights.pt", weights_only=True) for name in ("whole", "killed"))
    assert len(whole["losses"]) == EPOCHS
    assert resumed["losses"] == whole["losses"]
    for name, value in whole["state"].items():
        assert torch.equal(resumed["state"][name], value), name


def test_checkpoint_of_other_data_or_settings_is_not_continued(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "checkpoint.pt"
    run(Line(), checkpoint=Checkpoint(path, "one", every=2))
    with caplog.at_level(logging.INFO):
        history = run(Line(), checkpoint=Checkpoint(path, "another", every=100))
    assert "other data or settings" in caplog.text
    assert [row["epoch"] for row in history] == [1, 2, 3, 4, 5, 6]


def test_unreadable_checkpoint_is_not_continued(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(b"not a checkpoint")
    assert len(run(Line(), checkpoint=Checkpoint(path, "one", every=100))) == 6
    assert "cannot be read" in caplog.text


def test_checkpoint_is_continued_where_it_stands(tmp_path: Path) -> None:
    path, whole = tmp_path / "checkpoint.pt", Line()
    run(whole)
    run(Line(), epochs=4, checkpoint=Checkpoint(path, "one", every=4))
    resumed = Line()
    history = run(resumed, checkpoint=Checkpoint(path, "one", every=4))
    assert resumed.epoch == 2
    assert len(history) == 6
    assert torch.equal(resumed.weight, whole.weight)


def test_fingerprint_tells_data_settings_and_seed_apart() -> None:
    settings, data = PUBLISHED["mmsrl"], [np.arange(6.0)]
    same = fingerprint(settings, [np.arange(6.0)], seed=1)
    assert fingerprint(settings, data, seed=1) == same
    others = [
        fingerprint(dataclasses.replace(settings, ridge=2.0), data, seed=1),
        fingerprint(settings, [np.arange(6.0).reshape(2, 3)], seed=1),
        fingerprint(settings, [np.arange(6.0) + 1e-15], seed=1),
        fingerprint(settings, data, seed=2),
    ]
    assert len({same, *others}) == 5


def test_infinite_loss_stops_with_epoch_term_and_advice_before_it_reaches_the_weights() -> None:
    model = Line(bad_from=3)
    with pytest.raises(NonFiniteLossError, match=r"epoch 3: loss 'total' is inf.*learning-rate than 0\.1"):
        run(model)
    assert torch.isfinite(model.weight).all()


def test_training_stops_when_the_preset_says_it_has_settled() -> None:
    assert len(run(Line(settle_after=4), epochs=50)) == 4


def test_history_holds_the_mean_of_every_term_by_epoch() -> None:
    history = run(Line())
    assert [set(row) for row in history] == [{"epoch", "seconds", "total", "fit"}] * 6
    assert all(row["total"] == row["fit"] for row in history)


@pytest.mark.parametrize(
    "failure",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ],
)
def test_out_of_memory_has_a_status_of_its_own_and_names_a_smaller_block(failure: Exception) -> None:
    with pytest.raises(OutOfMemoryError, match="--block-size 512; try 256") as caught, memory_errors(512):
        raise failure
    assert caught.value.exit_status == EXIT_OUT_OF_MEMORY


def test_other_failures_are_left_alone() -> None:
    with pytest.raises(RuntimeError, match="shapes"), memory_errors(512):
        raise RuntimeError("shapes do not match")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_cuda_without_a_gpu_is_an_error_and_auto_is_the_cpu() -> None:
    with pytest.raises(InputError, match="no CUDA device"):
        choose_device("cuda")
    assert choose_device("auto") == "cpu"


def test_log_lines_tell_epoch_loss_and_time_left(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with caplog.at_level(logging.INFO), progress.Progress(10) as bar:
        for done in range(1, 11):
            bar.update(done, 0.5)
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [  # the first, one every 30 seconds, the last
        "epoch 1/10, loss 0.5, about 01:30 left",
        "epoch 4/10, loss 0.5, about 01:00 left",
        "epoch 7/10, loss 0.5, about 00:30 left",
        "epoch 10/10, loss 0.5, about 00:00 left",
    ]
