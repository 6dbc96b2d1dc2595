"""The launcher chooses, starts and gets out of the way; jars come from the cache; ps and the linter's own rules."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

import jars
import launch
import lint

SHIM = Path(__file__).parents[2] / "engine" / "nextflow"
PS = Path(launch.__file__).with_name("fallback") / "ps"

BANNER = """
      N E X T F L O W
      version {version} build 5928
      created 27-10-2024 18:36 UTC
"""


def executable(file: Path, body: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\n{body}\n")
    file.chmod(0o755)
    return file


def fake_nextflow(folder: Path, version: str, otherwise: str = "") -> Path:
    """A command that knows its version and does ``otherwise`` for anything else."""
    return executable(
        folder / "nextflow",
        f'if [ "$1" = -version ]; then cat <<X\n{BANNER.format(version=version)}\nX\nexit\nfi\n{otherwise}',
    )


@pytest.fixture
def no_embedded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in for the embedded engine: no download, no Java."""
    monkeypatch.setattr(
        launch,
        "embedded",
        lambda remarks=(): launch.Engine(["java"], "embedded", java_home="/java", remarks=list(remarks)),
    )


@pytest.mark.parametrize(
    ("text", "version"),
    [
        (BANNER.format(version="24.10.0"), (24, 10, 0)),
        (BANNER.format(version="25.05.0-edge"), (25, 5, 0)),
        (BANNER.format(version="9.1.12"), (9, 1, 12)),
        ("", None),
        ("command not found", None),
    ],
)
def test_version_is_read_from_the_banner(text: str, version: tuple[int, int, int] | None) -> None:
    assert launch.parse_version(text) == version


@pytest.mark.parametrize("version", ["24.10.0", "24.10.5", "25.04.6", "26.01.0-edge"])
def test_recent_nextflow_is_used(tmp_path: Path, no_embedded: None, version: str) -> None:
    nextflow = fake_nextflow(tmp_path, version)
    engine = launch.choose(str(tmp_path))
    assert engine.command == [str(nextflow)]
    assert engine.label.startswith(f"Nextflow {version.removesuffix('-edge')} ")
    assert engine.java_home is None


def test_old_and_broken_nextflow_are_named_and_passed_over(tmp_path: Path, no_embedded: None) -> None:
    fake_nextflow(tmp_path / "old", "24.04.4")
    executable(tmp_path / "broken" / "nextflow", "echo 'java: not found' >&2; exit 1")
    engine = launch.choose(f"{tmp_path}/old:{tmp_path}/broken:{tmp_path}/none")
    assert engine.label == "embedded"
    assert engine.remarks == [
        f"{tmp_path}/old/nextflow is 24.04.4, older than 24.10.0, so it is not used",
        f"{tmp_path}/broken/nextflow does not start, so it is not used",
    ]


def test_the_first_that_fits_wins(tmp_path: Path, no_embedded: None) -> None:
    for folder, version in (("a", "23.10.1"), ("b", "24.10.2"), ("c", "25.10.0")):
        fake_nextflow(tmp_path / folder, version)
    assert launch.choose(f"{tmp_path}/a:{tmp_path}/b:{tmp_path}/c").command == [f"{tmp_path}/b/nextflow"]


def test_the_launcher_never_takes_itself_for_nextflow(tmp_path: Path, no_embedded: None) -> None:
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "nextflow").symlink_to(SHIM)
    executable(tmp_path / "copy" / "nextflow", SHIM.read_text())
    assert launch.candidates(f"{SHIM.parent}:{tmp_path}/link:{tmp_path}/copy") == []
    # A wrapper without our name in it: the launcher, asked for its version from within, must not answer.
    start = f'exec {sys.executable} {SHIM.parent}/$(echo launch).py "$@"'
    wrapper = executable(tmp_path / "wrapper" / "nextflow", start)
    assert launch.choose(str(wrapper.parent)).remarks == [f"{wrapper} does not start, so it is not used"]


@pytest.mark.parametrize("status", [0, 1, 140])
def test_arguments_and_exit_status_pass_through(tmp_path: Path, status: int) -> None:
    fake_nextflow(tmp_path, "24.10.3", f'for word in "$@"; do echo "<$word>"; done; exit {status}')
    answer = subprocess.run(
        [SHIM, "run", "main.nf", "--name", "two words", "--empty", "", "-resume"],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "MMSRL_VENV": sys.prefix},
        capture_output=True,
        text=True,
    )
    assert answer.returncode == status
    assert answer.stdout.splitlines() == [
        "<run>",
        "<main.nf>",
        "<--name>",
        "<two words>",
        "<--empty>",
        "<>",
        "<-resume>",
    ]
    assert answer.stderr.splitlines() == [f"engine: Nextflow 24.10.3 ({tmp_path}/nextflow)"]


def test_a_signal_reaches_the_engine_itself(tmp_path: Path) -> None:
    fake_nextflow(tmp_path, "24.10.3", "trap 'exit 17' TERM; echo ready; while :; do sleep 0.05; done")
    process = subprocess.Popen(
        [SHIM, "run"],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "MMSRL_VENV": sys.prefix},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.terminate()
    assert process.wait(timeout=10) == 17
    process.stdout.close()


def test_environment_has_the_console_commands_first_and_ps_only_where_it_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch.sys, "executable", str(tmp_path / "venv" / "bin" / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    engine = launch.Engine(["java"], "embedded", java_home="/java")
    folders = launch.environment(engine, ["run", "a b"])["PATH"].split(os.pathsep)
    assert folders == [str(tmp_path / "venv" / "bin"), str(tmp_path), str(PS.parent)]
    executable(tmp_path / "ps", "")
    variables = launch.environment(engine, ["run", "a b"])
    assert variables["PATH"].split(os.pathsep) == folders[:2]
    assert (variables["JAVA_HOME"], variables["NXF_CLI"]) == ("/java", "nextflow run 'a b'")


def test_ps_answers_as_the_task_wrapper_reads_it() -> None:
    child = subprocess.Popen(["sleep", "30"])
    try:
        # The two lines of bash are how Nextflow's wrapper reads its answer.
        script = 'declare -a c; while read P PP; do c[$PP]+=" $P"; done < <("$0" -e -o pid= -o ppid=); echo ${c[$1]}'
        answer = subprocess.run(
            ["bash", "-c", script, PS, str(os.getpid())], capture_output=True, text=True, check=True
        )
    finally:
        child.kill()
        child.wait()
    assert str(child.pid) in answer.stdout.split()
    assert answer.stderr == ""


def test_ps_refuses_what_it_does_not_know() -> None:
    answer = subprocess.run([PS, "aux"], capture_output=True, text=True)
    assert answer.returncode == 1
    assert "'ps aux'" in answer.stderr


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> jars.Program:
    """A program of two jars, ``g:a:1`` and ``g:b:1``, whose contents are their names."""
    monkeypatch.setenv("MMSRL_ENGINE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(jars, "DOWNLOAD_PAUSES_S", (0, 0, 0))
    lines = [f"{hashlib.sha256(name.encode()).hexdigest()} g:{name}:1\n" for name in ("a", "b")]
    lock = tmp_path / "program.lock"
    lock.write_text("".join(lines))
    monkeypatch.setattr(jars.Program, "lock", property(lambda self: lock))
    return jars.Program("program", ("g:a:1",))


class FakeMaven:
    """Repository that serves ``answers[name]`` one after the other: bytes, or an error to raise."""

    def __init__(self, folder: Path, answers: dict[str, list[bytes | Exception]]) -> None:
        self.folder, self.answers, self.downloads = folder, answers, 0

    def create_dependency(self, coordinates: str) -> SimpleNamespace:
        name = coordinates.split(":")[1]
        cached_path = self.folder / f"{name}.jar"

        def resolve() -> Path:
            if not cached_path.exists():
                self.downloads += 1
                answer = self.answers[name].pop(0)
                if isinstance(answer, Exception):
                    cached_path.write_bytes(b"half")
                    raise answer
                cached_path.write_bytes(answer)
            return cached_path

        return SimpleNamespace(artifact=SimpleNamespace(resolve=resolve, cached_path=cached_path))


def test_jars_are_downloaded_once_and_again_when_one_is_gone(
    program: jars.Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    maven = FakeMaven(tmp_path, {"a": [b"a", b"a"], "b": [OSError("reset"), b"cut off", b"b"]})
    monkeypatch.setattr(jars, "_maven", lambda: maven)
    expected = [str(tmp_path / "a.jar"), str(tmp_path / "b.jar")]
    assert jars.classpath(program) == expected
    assert maven.downloads == 4
    assert (tmp_path / "b.jar").read_bytes() == b"b"

    monkeypatch.setattr(jars, "_maven", lambda: pytest.fail("resolved although all is cached"))
    assert jars.classpath(program) == expected

    (tmp_path / "a.jar").unlink()
    monkeypatch.setattr(jars, "_maven", lambda: maven)
    assert jars.classpath(program) == expected
    assert maven.downloads == 5


def test_a_new_lock_file_is_not_served_from_the_old_cache(
    program: jars.Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    maven = FakeMaven(tmp_path, {"a": [b"a"], "b": [b"b"]})
    monkeypatch.setattr(jars, "_maven", lambda: maven)
    jars.classpath(program)
    program.lock.write_text(program.lock.read_text().splitlines(keepends=True)[0])
    assert jars.classpath(program) == [str(tmp_path / "a.jar")]


def test_no_network_is_one_clear_message(
    program: jars.Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    maven = FakeMaven(tmp_path, {"a": [OSError("no route")] * 3, "b": [b"b"]})
    monkeypatch.setattr(jars, "_maven", lambda: maven)
    with pytest.raises(jars.EngineError, match=r"(?s)cannot download g:a:1: no route.*needs a network"):
        jars.classpath(program)
    assert not list((tmp_path / "cache").glob("*.classpath"))


@pytest.mark.parametrize("program", jars.PROGRAMS, ids=lambda program: program.name)
def test_lock_files_pin_what_is_asked_for(program: jars.Program) -> None:
    pins = [line.split() for line in program.lock.read_text().splitlines()]
    assert {coordinates for _, coordinates in pins} >= set(program.coordinates)
    assert all(len(checksum) == 64 and coordinates.count(":") == 2 for checksum, coordinates in pins)
    names = [coordinates.rpartition(":")[0] for _, coordinates in pins]
    assert len(names) == len(set(names)), "one version of each jar"


def test_linter_finds_what_nextflow_lint_does_not(tmp_path: Path) -> None:
    file = tmp_path / "main.nf"
    file.write_text(
        "// Channel.of(it)\n"
        "ch = Channel.of(1)\n"
        "  .map { it + 1 }\n"
        '  .view { "got ${it} and $it" }\n'
        "/* it\n Channel.of */\n"
        "x = 'it' + \"it \\${it}\" + '''\nit''' + item.it + its\n"
        "y = channel.of(2)\n"
    )
    places = [finding.split(": ")[0].removeprefix(f"{file}:") for finding in lint.own_findings(file)]
    assert places == ["2:6", "3:10", "4:18", "4:27"]


def test_linter_takes_nf_files_only(tmp_path: Path) -> None:
    (tmp_path / "modules").mkdir()
    inside = tmp_path / "modules" / "main.nf"
    inside.write_text("")
    config = tmp_path / "nextflow.config"
    config.write_text("")
    assert lint.nf_files([str(tmp_path), str(config)]) == [inside]
    with pytest.raises(lint.InputError, match="no such file"):
        lint.nf_files([str(tmp_path / "absent")])
    with pytest.raises(lint.InputError, match="no .nf file"):
        lint.nf_files([str(config)])


@pytest.mark.parametrize(
    ("given", "expected"), [("C", "C.UTF-8"), ("POSIX", "C.UTF-8"), ("de_DE.UTF-8", "de_DE.UTF-8")]
)
def test_names_of_files_may_have_umlauts_in_any_locale(monkeypatch: pytest.MonkeyPatch, given, expected) -> None:
    monkeypatch.setenv("LC_ALL", given)
    assert launch.environment(launch.Engine(["java"], "embedded"), ["run"])["LC_ALL"] == expected


def test_a_user_without_a_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("MMSRL_ENGINE_CACHE", "XDG_CACHE_HOME", "NXF_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(launch.Path, "home", nowhere)
    folder = Path(tempfile.gettempdir(), f"mmsrl-{os.getuid()}")
    assert jars.cache_folder() == folder / ".cache/mmsrl/engine"
    variables = launch.environment(launch.Engine(["java"], "embedded", java_home="/java"), ["run"])
    assert variables["NXF_HOME"] == str(folder / ".nextflow")
