"""``python engine/nftest.py [SUITE|FOLDER…]``: run nf-test suites, with nf-test if it is installed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from jars import NEXTFLOW, java_command
from launch import choose, environment
from mmsrl._errors import MmsrlError

LAUNCHER = Path(__file__).parent
RUNNER = Path(__file__).with_name("nftest.groovy")


def main(suites: Sequence[str]) -> int:
    """Run suites, all of the project's if none is named; return the exit status."""
    path = os.environ.get("PATH", os.defpath)
    if nf_test := shutil.which("nf-test", path=path):
        variables = {**os.environ, "PATH": os.pathsep.join([str(LAUNCHER), path])}
        return subprocess.run([nf_test, "test", *suites], env=variables).returncode
    engine = choose(path)
    print(f"nf-test is not installed: the suites run through the project's own runner, on {engine.label}", flush=True)
    command = java_command(NEXTFLOW, "groovy.ui.GroovyMain")
    variables = environment(engine, ["run"])
    variables.pop("NXF_CLI", None)
    return subprocess.run([*command, str(RUNNER), json.dumps(engine.command), *suites], env=variables).returncode


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except MmsrlError as error:
        sys.exit(f"nftest: error: {error}")
