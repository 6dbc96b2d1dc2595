"""Choice of the compute device."""

from __future__ import annotations

import functools
from pathlib import Path

from mmsrl._errors import InputError

CPUINFO = Path("/proc/cpuinfo")


def check_device(name: str) -> None:
    """Raise InputError if ``name`` is not ``auto``, ``cpu`` or ``cuda``."""
    if name not in ("auto", "cpu", "cuda"):
        raise InputError(f"device {name!r} is not one of auto, cpu, cuda")


def choose_device(name: str) -> str:
    """Resolve ``auto``, ``cpu`` or ``cuda`` to an available device: ``cpu`` or ``cuda``.

    Raises
    ------
    InputError
        ``cuda`` is requested without an available GPU, or the name is unknown.
    """
    import torch

    check_device(name)
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: no CUDA device is available here; use --device auto or cpu")
    return "cuda" if name != "cpu" and torch.cuda.is_available() else "cpu"


@functools.cache
def mkl_is_slow() -> bool:
    """Return whether the processor has AVX-512 but is not from Intel, so that MKL does not use it."""
    import torch

    if torch.backends.cpu.get_cpu_capability() != "AVX512":
        return False
    has_onednn = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return bool(has_onednn) and CPUINFO.exists() and "GenuineIntel" not in CPUINFO.read_text()
