"""Write ``ro-crate-metadata.json``: ``python dev/ro_crate.py [--check]`` in the root of the repository.

The Workflow RO-Crate has the entities of nf-core's crates. Facts about the pipeline come from the manifest of
``nextflow.config``, the description from ``README.md`` (as nf-core's linter demands), and the year from ``LICENSE``.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

CRATE = "ro-crate-metadata.json"

PARTS = {
    "CHANGELOG.md": "Changes in each version",
    "CITATIONS.md": "Publications of the pipeline, its methods and its software",
    "LICENSE": "Licence",
    "README.md": "Overview and quick start",
    "assets/": "Demo data and schemas",
    "bin/": "Commands of the tasks",
    "conf/": "Configuration files",
    "containers/": "Recipe of the container images",
    "docs/usage.md": "Usage documentation",
    "docs/output.md": "Output documentation",
    "modules/local/": "Modules",
    "nextflow.config": "Main configuration file",
    "nextflow_schema.json": "JSON schema of the parameters",
    "src/mmsrl/": "Python package with the methods",
    "subworkflows/local/": "Subworkflows",
    "tests/": "Tests",
    "workflows/": "Main workflow",
}
"""Parts of the crate with a description; folders end with a slash."""

NEXTFLOW = "https://w3id.org/workflowhub/workflow-ro-crate#nextflow"
BIOSCHEMAS = "https://bioschemas.org/profiles/ComputationalWorkflow/1.0-RELEASE"
TYPES = ["File", "SoftwareSourceCode", "ComputationalWorkflow"]


def manifest_of(config: str) -> dict[str, str]:
    """Return the text values of the manifest in ``nextflow.config``, with the first contributor as ``author``."""
    manifest = config[config.index("manifest {") :]
    values = dict(re.findall(r"^    (\w+) *= '([^']*)'$", manifest, re.MULTILINE))
    contributor = re.search(r"contributors *= \[\[name: '([^']*)'", manifest)
    if contributor is None:
        raise ValueError("nextflow.config: the manifest has no contributors")
    return values | {"author": contributor[1]}


def crate(project: Path) -> str:
    """Return the metadata of the crate as JSON, in the layout of nf-core's tools."""
    manifest = manifest_of((project / "nextflow.config").read_text(encoding="utf-8"))
    license_name, _, license_text = (project / "LICENSE").read_text(encoding="utf-8").partition(" License")
    year = re.findall(r"\b20\d\d\b", license_text)[0]
    author = {"@id": "#developers"}
    shared = {"name": manifest["name"], "license": license_name, "version": manifest["version"], "creator": author}
    graph: list[dict[str, Any]] = [
        {
            "@id": "./",
            "@type": "Dataset",
            **shared,
            "datePublished": year,
            "description": (project / "README.md").read_text(encoding="utf-8"),
            "hasPart": [{"@id": "main.nf"}, *({"@id": part} for part in PARTS)],
            "mainEntity": {"@id": "main.nf"},
        },
        {
            "@id": CRATE,
            "@type": "CreativeWork",
            "about": {"@id": "./"},
            "conformsTo": [
                {"@id": "https://w3id.org/ro/crate/1.1"},
                {"@id": "https://w3id.org/workflowhub/workflow-ro-crate/1.0"},
            ],
        },
        {
            "@id": "main.nf",
            "@type": TYPES,
            **shared,
            "conformsTo": {"@id": BIOSCHEMAS},
            "description": manifest["description"],
            "programmingLanguage": {"@id": NEXTFLOW},
        },
        {
            "@id": NEXTFLOW,
            "@type": "ComputerLanguage",
            "name": "Nextflow",
            "identifier": {"@id": "https://www.nextflow.io/"},
            "url": {"@id": "https://www.nextflow.io/"},
            "version": manifest["nextflowVersion"],
        },
        {"@id": author["@id"], "@type": "Organization", "name": manifest["author"]},
        {
            "@id": BIOSCHEMAS,
            "@type": "CreativeWork",
            "name": "Bioschemas ComputationalWorkflow",
            "version": "1.0-RELEASE",
        },
    ]
    for part, description in PARTS.items():
        kind = "Dataset" if part.endswith("/") else "File"
        graph.append({"@id": part, "@type": kind, "description": description})
    return json.dumps({"@context": "https://w3id.org/ro/crate/1.1/context", "@graph": graph}, indent=4)


def main(arguments: list[str]) -> int:
    """Write the crate, or check that it is up to date; return the exit status."""
    path, text = Path(CRATE), crate(Path("."))
    missing = [part for part in PARTS if not Path(part).exists()]
    if missing:
        sys.exit(f"{CRATE}: missing parts: {', '.join(missing)}; change PARTS in dev/ro_crate.py")
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return 0
    if "--check" in arguments:
        print(f"{CRATE} is out of date; run make generate", file=sys.stderr)
        return 1
    path.write_text(text, encoding="utf-8")
    print(f"wrote {CRATE}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
