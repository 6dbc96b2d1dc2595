"""Plant a study: eight sections with the places and layers of two real ones, and counts drawn from a model.

No real study is small enough for this repository. Places, layers and what each layer expresses are those of 151673 and
151674 (``assets/demo``); counts are Poisson draws. Four donors have a control and a treated section each. In treated
sections white matter is wider, by the spots of layer 6 nearest to it, and 40 genes of layer 5 are up twofold;
everything else that differs is chance: donors, sections, depth, and where exactly the border of white matter lies.
"""

from __future__ import annotations

import sys
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

from mmsrl.ingest.api import read_spaceranger

DEMO = Path(__file__).parents[2] / "assets/demo"
GENES = 1_500
"""Those of both sections with most molecules."""

UP = 40
"""Genes, of those with a middling number of molecules, that treatment raises in layer 5."""

FOLD = 2.0
WIDER = 0.35
"""Share of layer 6 that is white matter in treated sections."""

CHANCE = 0.15
"""The same in any section, at most."""


def template(sample: str) -> ad.AnnData:
    """Read a section: the annotated spots of its left half, with their layer."""
    adata = read_spaceranger(DEMO / sample, sample).adata
    layer = pd.read_csv(DEMO / sample / "truth.csv", index_col="barcode")["label"].reindex(adata.obs_names)
    x = adata.obsm["spatial"][:, 0]
    keep = layer.notna().to_numpy() & (x < np.median(x))
    adata.obs["layer"] = layer
    return adata[keep].copy()


def profiles(sections: list[ad.AnnData], genes: list[str]) -> pd.DataFrame:
    """Return the share of each gene among the molecules of each layer, (layers, genes)."""
    counts = sp.vstack([adata[:, genes].X for adata in sections])
    layers = pd.concat([adata.obs["layer"] for adata in sections])
    sums = {
        layer: np.asarray(counts[(layers == layer).to_numpy()].sum(axis=0)).ravel() for layer in sorted(set(layers))
    }
    table = pd.DataFrame(sums, index=genes).T + 0.5
    return table.div(table.sum(axis=1), axis=0)


def widened(adata: ad.AnnData, share: float) -> pd.Series:
    """Return the layers, with the share of layer 6 that is nearest to white matter in it."""
    layer = adata.obs["layer"].astype(str).copy()
    places = adata.obsm["spatial"]
    white, sixth = places[(layer == "WM").to_numpy()], np.flatnonzero((layer == "L6").to_numpy())
    distance = np.linalg.norm(places[sixth][:, None] - white[None], axis=2).min(axis=1)
    layer.iloc[sixth[np.argsort(distance)[: round(share * len(sixth))]]] = "WM"
    return layer


def main(folder: Path) -> None:
    """Write eight .h5ad files, the samplesheet and the list of planted genes."""
    random = np.random.default_rng(0)
    templates = [template("151673"), template("151674")]
    shared = [gene for gene in templates[0].var_names if gene in set(templates[1].var_names)]
    molecules = sum(np.asarray(adata[:, shared].X.sum(axis=0)).ravel() for adata in templates)
    genes = sorted(np.asarray(shared)[np.argsort(-np.asarray(molecules))[:GENES]])
    share = profiles(templates, genes)
    planted = np.sort(random.choice(np.argsort(-share.loc["L5"].to_numpy())[50:600], UP, replace=False))
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for donor in range(4):
        of_donor = random.normal(0.0, 0.15, len(genes))
        for treated in (False, True):
            sample = f"d{donor + 1}_{'treated' if treated else 'control'}"
            real = templates[donor % 2]
            layer = widened(real, random.uniform(0.0, CHANCE) + WIDER * treated)
            rate = share * np.exp(of_donor + random.normal(0.0, 0.1, share.shape))
            if treated:
                rate.iloc[rate.index.get_loc("L5"), planted] *= FOLD
            depth = np.asarray(real.X.sum(axis=1)).ravel() * np.exp(random.normal(0.0, 0.2))
            counts = random.poisson(rate.loc[layer].to_numpy() * depth[:, None]).astype(np.float32)
            adata = ad.AnnData(
                sp.csr_matrix(counts), real.obs[["array_row", "array_col"]].copy(), pd.DataFrame(index=genes)
            )
            adata.obsm["spatial"] = real.obsm["spatial"]
            adata.write_h5ad(folder / f"{sample}.h5ad", compression="gzip")
            pd.DataFrame({"barcode": real.obs_names, "label": layer.to_numpy()}).to_csv(
                folder / f"{sample}.truth.csv", index=False
            )
            condition = "treated" if treated else "control"
            rows.append(
                (sample, f"{sample}.h5ad", f"{sample}.truth.csv", "cortex", condition, f"d{donor + 1}", "visium", 7)
            )
    columns = ["sample", "h5ad", "truth", "group", "condition", "donor", "platform", "n_domains"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "samplesheet.csv", index=False)
    (folder / "planted.txt").write_text("\n".join(np.asarray(genes)[planted]) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
