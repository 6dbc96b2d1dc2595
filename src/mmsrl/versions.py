"""``mmsrl-versions``: versions of what a task ran with, for its ``versions.yml``."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version

import click

from mmsrl._errors import InputError


def versions_yml(process: str, packages: tuple[str, ...], optional: tuple[str, ...] = ()) -> str:
    """Return the text of a ``versions.yml`` in nf-core's form.

    Parameters
    ----------
    process
        Name of the Nextflow process.
    packages
        Names of installed distributions to name beside Python and mmsrl, in this order.
    optional
        Names of others, to name after these where they are installed.

    Raises
    ------
    InputError
        If a package is not installed.
    """
    lines = [f'"{process}":', f"  python: {platform.python_version()}"]
    for package in dict.fromkeys(("mmsrl", *packages, *optional)):
        try:
            lines.append(f"  {package}: {version(package)}")
        except PackageNotFoundError as error:
            if package not in optional:
                raise InputError(f"package {package} is not installed here") from error
    return "\n".join(lines) + "\n"


@click.command("mmsrl-versions")
@click.option("--process", required=True, help="Name of the Nextflow process.")
@click.option("--optional", multiple=True, help="Package to name where it is installed; once for each.")
@click.argument("packages", nargs=-1)
def main(process: str, optional: tuple[str, ...], packages: tuple[str, ...]) -> None:
    """Print versions of Python, mmsrl and PACKAGES as versions.yml."""
    try:
        click.echo(versions_yml(process, packages, optional), nl=False)
    except InputError as error:
        click.echo(f"mmsrl-versions: error: {error}", err=True)
        sys.exit(error.exit_status)
