"""Genes of domains tested over sections: molecules summed by section, in the domain and beside it. Arrays only."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm

from mmsrl.markers.offset import Sums

Float = NDArray[np.float64]

LEAST_SECTIONS = 3
"""Sections with the domain and something beside it below which its genes are not tested over them."""

LEAST_MOLECULES = 10.0
"""Of a gene, in these sections together, below which it is not tested."""

LEAST_GENES = 50
"""Genes with so many molecules below which none is tested: they tell together how dispersion goes with the mean."""


class Pseudobulk(NamedTuple):
    """Each domain against the others, over sections."""

    n_sections: NDArray[np.int64]
    """(K,): sections with the domain and something beside it."""
    log2: Float
    """(K, G): log2 fold change; NaN as below."""
    p_value: Float
    """(K, G): one-sided, as much more or more; NaN where sections, molecules or genes are too few."""


def over_sections(found: Sums, again: NDArray[np.bool_]) -> Pseudobulk:
    """Test whether domains have more molecules of a gene in one section after the other (PyDESeq2).

    Parameters
    ----------
    found
        Counts by section and domain; all are molecules of spots, whole numbers.
    again
        (K,): the domains to test.
    """
    shape = found.molecules.shape[1:]
    log2, p = np.full((2, *shape), np.nan)
    own = found.library[0]
    whole = own.sum(axis=1)
    both = (own > 0) & (own < whole[:, None])
    for k in np.flatnonzero(again & (both.sum(axis=0) >= LEAST_SECTIONS)):
        sections = np.flatnonzero(both[:, k])
        inside = found.molecules[sections, k]
        counts = np.stack([found.molecules[sections].sum(axis=1) - inside, inside], axis=1)
        library = np.stack([whole[sections] - own[sections, k], own[sections, k]], axis=1)
        enough = counts.sum(axis=(0, 1)) >= LEAST_MOLECULES
        if enough.sum() >= LEAST_GENES:
            log2[k, enough], p[k, enough] = paired_wald(counts[:, :, enough], library)
    return Pseudobulk(both.sum(axis=0), log2, p)


def paired_wald(counts: Float, library: Float) -> tuple[Float, Float]:
    """Return log2 fold changes and one-sided p-values, (G,), of PyDESeq2's Wald test of the design ~ section + domain.

    Size factors are the libraries, as in the test over spots: medians of ratios are of the genes that all pseudobulks
    have, and of a domain of few spots these are the genes that chance gave a molecule.

    Parameters
    ----------
    counts
        (S, 2, G), whole numbers: elsewhere, and in the domain.
    library
        (S, 2), molecules of all genes.
    """
    from pydeseq2.dds import DeseqDataSet
    from pydeseq2.ds import DeseqStats

    from mmsrl.markers.batched import BatchedInference

    n, _, n_genes = counts.shape
    samples = [f"{s}_{side}" for s in range(n) for side in ("elsewhere", "domain")]
    x = pd.DataFrame(counts.reshape(2 * n, n_genes).astype(np.int64), samples, [str(g) for g in range(n_genes)])
    values = np.column_stack([np.repeat(np.eye(n), 2, axis=0), np.tile([0.0, 1.0], n)])
    design = pd.DataFrame(values, samples, [*(f"section_{s}" for s in range(n)), "domain"])
    size = np.exp(np.log(library.ravel()) - np.log(library).mean())
    inference = BatchedInference(n_cpus=1)
    with warnings.catch_warnings():
        # That few degrees of freedom are left, and that a mean stands in for a trend that was not found.
        warnings.simplefilter("ignore", UserWarning)
        data = DeseqDataSet(
            counts=x, metadata=design, design=design, refit_cooks=False, inference=inference, quiet=True
        )
        data.obs["size_factors"] = size
        data.layers["normed_counts"] = x.to_numpy() / size[:, None]
        data.var["_normed_means"] = data.layers["normed_counts"].mean(axis=0)
        data.fit_genewise_dispersions()
        data.fit_dispersion_trend()
        data.fit_dispersion_prior()
        data.fit_MAP_dispersions()
        data.fit_LFC()
        test = DeseqStats(
            data,
            contrast=np.eye(n + 1)[-1],
            cooks_filter=False,
            independent_filter=False,
            inference=inference,
            quiet=True,
        )
        test.run_wald_test()
    return data.varm["LFC"]["domain"].to_numpy() / np.log(2.0), norm.sf(test.statistics.to_numpy())
