"""Where networks run, and on what."""

from __future__ import annotations

import functools
from pathlib import Path

from mmsrl._errors import InputError

CPUINFO = Path("/proc/cpuinfo")


def check_device(name: str) -> None:
    """Raise InputError where ``name`` is not ``auto``, ``cpu`` or ``cuda``."""
    if name not in ("auto", "cpu", "cuda"):
        raise InputError(f"device {name!r} is not one of auto, cpu, cuda")


def choose_device(name: str) -> str:
    """Return ``cpu`` or ``cuda`` for ``auto``, ``cpu`` or ``cuda``.

    Raises
    ------
    InputError
        If ``cuda`` is asked for and there is no GPU to be had, or there is no such kind of device.
    """
    import torch

    check_device(name)
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: no CUDA device is available here; use --device auto or cpu")
    return "cuda" if name != "cpu" and torch.cuda.is_available() else "cpu"


@functools.cache
def mkl_is_slow() -> bool:
    """Return whether this processor has AVX-512 and is not Intel's: MKL leaves its units idle."""
    import torch

    if torch.backends.cpu.get_cpu_capability() != "AVX512":
        return False
    has_onednn = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return bool(has_onednn) and CPUINFO.exists() and "GenuineIntel" not in CPUINFO.read_text()
