"""Compare the results of each stage on a subsample of the spots and on all spots.

    make bench-samples INPUT=folder        cells of an instrument or bins of Space Ranger, about 30,000

The constants that limit a subsample are set to ``--share`` of the spots of the section, and then to all spots. Prints
CPU seconds of both and the agreement of the results:

- pseudotime, layout and order of domains (landmarks)
- domains at the same K (spots for the fit of the mixtures)
- the estimated number of domains (spots for the stability)
- gain and verdict of de-noised genes (spots for their evaluation)
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
"""Number of compared neighbours in the layout."""

COMPARED_SPOTS = 5_000
"""Number of spots whose neighbours are compared."""


@contextmanager
def set_to(spots: int, *places: tuple[Any, str]) -> Iterator[None]:
    """Set constants of modules temporarily."""
    with ExitStack() as stack:
        for module, name in places:
            stack.enter_context(mock.patch.object(module, name, spots))
        yield


def both(what: str, places: list[tuple[Any, str]], spots: int, n: int, make: Callable[[], Any]) -> tuple[Any, Any]:
    """Return the results of ``make`` on a subsample and on all spots, and print the CPU seconds of both."""
    results = []
    for most in (spots, n):
        with set_to(most, *places):
            began = time.process_time()
            results.append(make())
            seconds = time.process_time() - began
        print(f"{what}: {most:,} spots, {seconds:.0f} CPU s", flush=True)
    return results[0], results[1]


def near_in_layout(one: np.ndarray, other: np.ndarray) -> float:
    """Return the mean fraction of the nearest neighbours in one layout among ten times as many in the other."""
    rows = np.linspace(0, len(one) - 1, min(COMPARED_SPOTS, len(one))).astype(int)
    neighbours = [
        NearestNeighbors(n_neighbors=k).fit(layout).kneighbors(layout[rows], return_distance=False)
        for layout, k in ((one, NEAR), (other, 10 * NEAR))
    ]
    return float(np.mean([len(np.intersect1d(a, b)) / NEAR for a, b in zip(*neighbours, strict=True)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--share", type=float, default=0.25, help="fraction of the spots in the subsample")
    parser.add_argument("--domains", type=int, default=8)
    arguments = parser.parse_args()
    read = read_spaceranger if (arguments.folder / "spatial").is_dir() else read_instrument
    adata = quality_control(read(arguments.folder, "S").adata).adata
    n, spots = adata.n_obs, round(arguments.share * adata.n_obs)
    trained = train(adata, show_progress=False)
    embeddings = as_anndata(trained)
    print(f"{n:,} spots, {adata.n_vars:,} genes; subsamples of {spots:,}")

    sampled, complete = both(
        "domains",
        [(readouts, "FIT_SPOTS")],
        spots,
        n,
        lambda: domains(embeddings, arguments.domains).table["domain"].to_numpy(),
    )
    print(f"  adjusted Rand index {adjusted_rand_score(sampled, complete):.3f}")
    sampled, complete = both(
        "number of domains", [(number, "CHOICE_SPOTS")], spots, n, lambda: domains(embeddings).facts["chosen"]
    )
    for chosen in (sampled, complete):
        print(f"  {chosen['n_domains']} domains, stability {chosen['stability']:.2f}")

    table = domains(embeddings, arguments.domains).table
    adata.obs["domain"] = pd.Categorical(table["domain"].to_numpy())
    for name in set(embeddings.obsm) - {"spatial"}:  # in spot pitches there
        adata.obsm[name] = embeddings.obsm[name]
    sampled, complete = both("trajectory", [(trajectory_api, "LANDMARKS")], spots, n, lambda: of_trajectory(adata))
    in_time, in_medians = (abs(spearmanr(sampled[i], complete[i], nan_policy="omit").statistic) for i in (0, 1))
    near = near_in_layout(sampled[2], complete[2])
    print(f"  pseudotime: Spearman {in_time:.4f}, medians of domains {in_medians:.3f}; near in both layouts {near:.2f}")
    sampled, complete = both(
        "de-noising", [(enhance_api, "MOST_SPOTS")], spots, n, lambda: enhance(adata, trained.model).genes
    )
    judged = (sampled["judged"] & complete["judged"]).to_numpy()
    gains = np.corrcoef(sampled["gain"][judged], complete["gain"][judged])[0, 1]
    n_judged = int(complete["judged"].sum())
    print(f"  gain: Pearson {gains:.3f} on {judged.sum():,} genes judged in both ({n_judged:,} with all spots)")
    print(
        pd.crosstab(sampled["verdict"][judged].rename("sample"), complete["verdict"][judged].rename("all")).to_string()
    )


def of_trajectory(adata: ad.AnnData) -> tuple[Any, Any, Any]:
    """Return pseudotime from the largest domain, its medians by domain, and the layout."""
    result = trajectory(adata.copy(), root="domain:1")
    return (
        result.spots.obs["pseudotime_rank"].to_numpy(),
        [result.facts["median_rank"][name] for name in sorted(result.facts["median_rank"])],
        result.spots.obsm["X_umap"],
    )


if __name__ == "__main__":
    main()
