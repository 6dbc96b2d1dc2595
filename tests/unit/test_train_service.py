"""Training as a service: diverged, out of memory, watched."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from mmsrl._device import choose_device
from mmsrl._errors import EXIT_OUT_OF_MEMORY, InputError, NonFiniteLossError, OutOfMemoryError
from mmsrl.train import progress
from mmsrl.train.fit import Row, Trainable, fit, memory_errors


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


def run(model: Trainable, epochs: int = 6, **options: object) -> list[Row]:
    return fit(model, epochs=epochs, learning_rate=0.1, weight_decay=0.0, show_progress=False, **options)


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
