"""Score domains of labelled sections on counts and on four forms of normalised values, with K given.

``INPUT`` is a folder of sections ``<name>/<name>.h5ad`` with counts and ``<name>/truth.csv`` with labels. Labels serve
only for the scores. Values by volume are counts divided by a random cell volume (log-normal, σ .4).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp
from sklearn.metrics import adjusted_rand_score

from mmsrl import _keys
from mmsrl.domains.api import domains
from mmsrl.ingest.api import read_h5ad
from mmsrl.qc.api import quality_control
from mmsrl.train.api import as_anndata, train

FORMS = ("counts", "by library", "log1p of that", "by volume", "standardised")


def form_of(counts: ad.AnnData, form: str, seed: int) -> ad.AnnData:
    adata = counts.copy()
    if form == "counts":
        return adata
    adata.uns[_keys.UNS][_keys.EXPRESSION] = _keys.NORMALISED
    total = np.asarray(counts.X.sum(axis=1)).ravel()
    volume = np.random.default_rng(seed).lognormal(0.0, 0.4, len(total))
    scale = 2.0 / volume if form == "by volume" else 1e4 / total
    adata.X = sp.csr_matrix(sp.diags(scale) @ counts.X).astype(np.float32)
    if form in ("log1p of that", "standardised"):
        adata.X = adata.X.log1p()
    if form == "standardised":
        values = adata.X.toarray()
        adata.X = sp.csr_matrix((values - values.mean(axis=0)) / np.maximum(values.std(axis=0), 1e-6))
    return adata


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("input", type=Path, help="folder of <name>/<name>.h5ad and <name>/truth.csv")
    parser.add_argument("--only", nargs="+", help="names of sections; default: all")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print("section", *FORMS, sep=" | ")
    for folder in sorted(path.parent for path in arguments.input.glob("*/truth.csv")):
        if arguments.only and folder.name not in arguments.only:
            continue
        adata = quality_control(read_h5ad(folder / f"{folder.name}.h5ad", folder.name).adata).adata
        truth = pd.read_csv(folder / "truth.csv", dtype=str, keep_default_na=False).set_index("barcode")["label"]
        truth = truth.reindex(adata.obs_names, fill_value="")
        labelled = (truth != "").to_numpy()
        scores = []
        for form in FORMS:
            trained = train(form_of(adata, form, arguments.seed), seed=arguments.seed, show_progress=False)
            domain_result = domains(as_anndata(trained), int(truth[labelled].nunique()), seed=arguments.seed)
            score = adjusted_rand_score(truth[labelled], domain_result.table[_keys.DOMAIN].to_numpy()[labelled])
            scores.append(f"{score:.3f}")
        print(folder.name, *scores, sep=" | ", flush=True)


if __name__ == "__main__":
    main()
