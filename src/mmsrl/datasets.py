"""Example data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["demo"]

_REPOSITORY = "https://github.com/bifdog0928/MMSRL"


def demo(sample: str = "151673", path: str | Path | None = None) -> AnnData:
    """Load a Visium section of human dorsolateral prefrontal cortex, ready for :func:`mmsrl.tl.domains`.

    The section has passed :func:`mmsrl.pp.quality_control` with its default thresholds. Source: Maynard, Collado-Torres
    *et al.*, Nature Neuroscience 24, 425–436 (2021). ``assets/demo/README.md`` lists the limitations of the data.

    Parameters
    ----------
    sample
        ``151673`` or ``151674``, two adjacent sections of one donor.
    path
        Folder of the sections. ``None`` uses ``assets/demo`` of the repository that mmsrl is installed from.

    Returns
    -------
    AnnData
        For ``151673`` 3,639 spots × 8,325 genes: raw counts in ``X`` (CSR, float32), full-resolution pixel coordinates
        in ``obsm['spatial']``, the low-resolution image in ``uns['spatial']``, and the annotated cortical layer in
        ``obs['layer']`` (categorical, L1 to L6 and WM, missing for spots without annotation).

    Raises
    ------
    mmsrl.InputError
        The folder does not exist, or has no such section.
    """
    from mmsrl import pp
    from mmsrl._errors import InputError
    from mmsrl.evaluate.truth import read_truth

    folder = Path(__file__).parents[2] / "assets" / "demo" if path is None else Path(path)
    if not (folder / sample).is_dir():
        raise InputError(
            f"no demo section {sample} in {folder}: the installed package contains no data; clone {_REPOSITORY} and "
            "give path='MMSRL/assets/demo'"
        )
    adata = pp.read_spaceranger(folder / sample, sample)
    pp.quality_control(adata)
    labels = read_truth(folder / sample / "truth.csv", sample=sample)
    adata.obs["layer"] = labels.reindex(adata.obs_names).astype("category")
    return adata
