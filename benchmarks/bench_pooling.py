"""Measure what pooling the neighbours of wide kernels saves and changes on a large section.

    make bench-pooling INPUT=folder          output of Space Ranger, such as binned_outputs/square_002um

The ensemble is computed twice, in separate processes: with pooled neighbours if a graph would have too many entries,
and with all neighbours. Prints CPU time and peak memory of both, and the fraction of spots in the same domain.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

import numpy as np
from sklearn.metrics import adjusted_rand_score

from mmsrl import graph
from mmsrl.domains.api import domains
from mmsrl.ingest.api import read_spaceranger
from mmsrl.train.api import as_anndata, train

DOMAINS = 6


def measure(folder: Path, limit: int, output: Path) -> None:
    """Compute the ensemble and its domains, print time and memory, and save the domains."""
    adata = read_spaceranger(folder, "S").adata
    adata = adata[np.asarray(adata.X.sum(axis=1)).ravel() > 0].copy()
    began = time.process_time()
    with mock.patch.object(graph, "MOST_ENTRIES", limit):
        trained = train(adata, show_progress=False)
    seconds, memory = time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    most = max(member.facts["graph_entries_per_spot"] for member in trained.members)
    print(f"{adata.n_obs:,} spots: {seconds:.0f} CPU s, peak {memory:.2f} GB, at most {most:.0f} entries per spot")
    np.save(output, domains(as_anndata(trained), DOMAINS).table["domain"].astype(int).to_numpy())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--limit", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.output:
        measure(arguments.folder, arguments.limit, arguments.output)
        return
    domains_of = []
    with tempfile.TemporaryDirectory() as folder:
        for name, limit in {"pooled": graph.MOST_ENTRIES, "exact": 10**15}.items():
            output = Path(folder) / f"{name}.npy"
            print(f"{name}: ", end="", flush=True)
            command = [sys.executable, __file__, str(arguments.folder), f"--limit={limit}", f"--output={output}"]
            subprocess.run(command, check=True)
            domains_of.append(np.load(output))
    print(
        f"in the same domain: {np.mean(domains_of[0] == domains_of[1]):.4f}, ARI {adjusted_rand_score(*domains_of):.3f}"
    )


if __name__ == "__main__":
    main()
