"""Progress of training: a bar on a terminal, or lines with the remaining time in a log."""

from __future__ import annotations

import logging
import sys
import time
from types import TracebackType

from tqdm import tqdm

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 30.0


class Progress:
    """Progress reporter of :func:`mmsrl.train.fit.fit`, used as a context manager."""

    def __init__(self, epochs: int, *, show: bool = True) -> None:
        self.epochs = epochs
        self.started = self.last_line = time.monotonic()
        on_terminal = show and sys.stderr.isatty()
        self.show_lines = show and not on_terminal
        self.bar = tqdm(total=epochs, desc="training", unit="epoch", disable=not on_terminal)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.bar.close()

    def update(self, done: int, loss: float) -> None:
        """Report that ``done`` epochs are complete: a log line at the first, the last and every 30 seconds."""
        self.bar.set_postfix(loss=f"{loss:.4g}", refresh=False)
        self.bar.update(1)
        now = time.monotonic()
        due = now - self.last_line >= SECONDS_BETWEEN_LINES or done in (1, self.epochs)
        if self.show_lines and due:
            remaining_s = (now - self.started) / done * (self.epochs - done)
            logger.info(
                "epoch %d/%d, loss %.4g, about %s left",
                done,
                self.epochs,
                loss,
                tqdm.format_interval(remaining_s),
            )
            self.last_line = now
