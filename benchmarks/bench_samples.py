"""What it changes that large units are computed from samples of their spots: each stage with a sample, and with all.

    make bench-samples INPUT=folder        cells of an instrument or bins of Space Ranger, some 30,000

Constants that bound a sample are set to ``--share`` of the section's spots, and then to all of them; everything else
stays. Printed are CPU seconds of both and how far the results agree: pseudotime, layout and order of domains
(landmarks), domains at the same number (spots that mixtures are fitted to), the number of domains found (spots that
stability is told from), and the gain and verdict of de-noised genes (spots that they are told from).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import anndata as ad
import numpy as np
import pandas as pd
from scipy.stats import spearmanr
from sklearn.metrics import adjusted_rand_score
from sklearn.neighbors import NearestNeighbors

from mmsrl.domains import number, readouts
from mmsrl.domains.api import domains
from mmsrl.enhance import api as enhance_api
from mmsrl.enhance.api import enhance
from mmsrl.ingest.api import read_instrument, read_spaceranger
from mmsrl.qc.api import quality_control
from mmsrl.train.api import as_anndata, train
from mmsrl.trajectory import api as trajectory_api
from mmsrl.trajectory.api import trajectory

NEAR = 15
"""Neighbours in the layout that are compared."""

LOOKED_AT = 5_000
"""Spots whose neighbours these are."""


@contextmanager
def set_to(spots: int, *places: tuple[Any, str]) -> Iterator[None]:
    """Set constants of modules for a while."""
    with ExitStack() as stack:
        for module, name in places:
            stack.enter_context(mock.patch.object(module, name, spots))
        yield


def both(what: str, places: list[tuple[Any, str]], spots: int, n: int, make: Callable[[], Any]) -> tuple[Any, Any]:
    """Return what ``make`` makes of a sample and of all spots; print the CPU seconds of both."""
    made = []
    for most in (spots, n):
        with set_to(most, *places):
            began = time.process_time()
            made.append(make())
            seconds = time.process_time() - began
        print(f"{what}: of {most:,} spots {seconds:.0f} CPU s", flush=True)
    return made[0], made[1]


def near_in_layout(one: np.ndarray, other: np.ndarray) -> float:
    """Return the mean share of the neighbours in one layout that are among the ten times as many in the other."""
    rows = np.linspace(0, len(one) - 1, min(LOOKED_AT, len(one))).astype(int)
    found = [
        NearestNeighbors(n_neighbors=k).fit(layout).kneighbors(layout[rows], return_distance=False)
        for layout, k in ((one, NEAR), (other, 10 * NEAR))
    ]
    return float(np.mean([len(np.intersect1d(a, b)) / NEAR for a, b in zip(*found, strict=True)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--share", type=float, default=0.25, help="of the spots in a sample")
    parser.add_argument("--domains", type=int, default=8)
    arguments = parser.parse_args()
    read = read_spaceranger if (arguments.folder / "spatial").is_dir() else read_instrument
    adata = quality_control(read(arguments.folder, "S").adata).adata
    n, spots = adata.n_obs, round(arguments.share * adata.n_obs)
    trained = train(adata, show_progress=False)
    embeddings = as_anndata(trained)
    print(f"{n:,} spots, {adata.n_vars:,} genes; samples of {spots:,}")

    some, every = both(
        "domains",
        [(readouts, "FIT_SPOTS")],
        spots,
        n,
        lambda: domains(embeddings, arguments.domains).table["domain"].to_numpy(),
    )
    print(f"  adjusted Rand index {adjusted_rand_score(some, every):.3f}")
    some, every = both(
        "number of domains", [(number, "CHOICE_SPOTS")], spots, n, lambda: domains(embeddings).facts["chosen"]
    )
    for chosen in (some, every):
        print(f"  {chosen['n_domains']} domains, stability {chosen['stability']:.2f}")

    table = domains(embeddings, arguments.domains).table
    adata.obs["domain"] = pd.Categorical(table["domain"].to_numpy())
    for name in set(embeddings.obsm) - {"spatial"}:  # there in spot pitches
        adata.obsm[name] = embeddings.obsm[name]
    some, every = both("trajectory", [(trajectory_api, "LANDMARKS")], spots, n, lambda: of_trajectory(adata))
    in_time, in_medians = (abs(spearmanr(some[i], every[i], nan_policy="omit").statistic) for i in (0, 1))
    near = near_in_layout(some[2], every[2])
    print(f"  pseudotime: Spearman {in_time:.4f}, medians of domains {in_medians:.3f}; near in both layouts {near:.2f}")
    some, every = both(
        "de-noising", [(enhance_api, "MOST_SPOTS")], spots, n, lambda: enhance(adata, trained.model).genes
    )
    told = (some["judged"] & every["judged"]).to_numpy()
    gains = np.corrcoef(some["gain"][told], every["gain"][told])[0, 1]
    print(
        f"  gain: Pearson {gains:.3f} of {told.sum():,} genes that both judge ({int(every['judged'].sum()):,} with all)"
    )
    print(pd.crosstab(some["verdict"][told].rename("sample"), every["verdict"][told].rename("all")).to_string())


def of_trajectory(adata: ad.AnnData) -> tuple[Any, Any, Any]:
    """Return pseudotime of the spots from the largest domain on, its medians by domain, and the layout."""
    found = trajectory(adata.copy(), root="domain:1")
    return (
        found.spots.obs["pseudotime_rank"].to_numpy(),
        [found.facts["median_rank"][name] for name in sorted(found.facts["median_rank"])],
        found.spots.obsm["X_umap"],
    )


if __name__ == "__main__":
    main()
