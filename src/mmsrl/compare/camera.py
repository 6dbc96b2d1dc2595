"""Competitive gene set test between conditions: limma's camera. Arrays and tables only.

The test asks whether the genes of a set differ more, in one direction, than the other genes of the domain. Genes of a
set are correlated over replicates, whatever the condition. A test that assumes independence, such as the hypergeometric
one, is therefore anti-conservative. Camera (Wu and Smyth, Nucleic Acids Research 40, e133, 2012) estimates their
correlation from the residuals. gseapy and decoupler do not implement it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import t as student

from mmsrl.markers.over_representation import LARGEST, SMALLEST

Float = NDArray[np.float64]

COLUMNS = ["gene_set", "direction", "n_set", "correlation", "p_value"]


def camera(
    score: Float, residual: Float, genes: Collection[str], sets: Mapping[str, Collection[str]]
) -> tuple[pd.DataFrame, dict[str, NDArray[np.int64]]]:
    """Test every set with an admissible number of tested genes (:mod:`mmsrl.markers.over_representation`).

    Parameters
    ----------
    score
        Difference of each gene in standard normal deviations, (T,).
    residual
        Residuals in the d directions orthogonal to the design, with mean square 1, (d, T).
    genes
        Names of the tested genes, (T,).
    sets
        Genes by name of the set. Names are compared case-insensitively.

    Returns
    -------
    One row for each set (:data:`COLUMNS`): ``direction`` is ``up`` or ``down``, ``correlation`` the mean correlation of
    its genes, the p-value two-sided. Also the indices of the genes of every set.
    """
    position = {gene.upper(): g for g, gene in enumerate(genes)}
    degrees, n_genes = residual.shape
    rows, members = [], {}
    for name, own in sets.items():
        inside = np.array(sorted({position[gene.upper()] for gene in own if gene.upper() in position}), dtype=np.int64)
        size, rest = len(inside), n_genes - len(inside)
        if not SMALLEST <= size <= LARGEST or rest < 2:
            continue
        # Variance inflation of the mean by the correlation of the genes; negative correlation is ignored below.
        inflation = size * float((residual[:, inside].mean(axis=1) ** 2).mean())
        delta = n_genes / rest * (score[inside].mean() - score.mean())
        pooled = ((n_genes - 1) * score.var(ddof=1) - delta**2 * size * rest / n_genes) / (n_genes - 2)
        t = delta / np.sqrt(max(pooled, 1e-12) * (max(inflation, 1.0) / size + 1.0 / rest))
        p = 2.0 * student.sf(abs(t), min(degrees, n_genes - 2))
        rows.append((name, "up" if delta > 0 else "down", size, (inflation - 1.0) / (size - 1), float(p)))
        members[name] = inside
    return pd.DataFrame(rows, columns=COLUMNS), members
