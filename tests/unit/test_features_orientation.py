"""A section that was turned or mirrored beside its image is told, and how; one that lies right, or anyhow, is not."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from mmsrl.features.api import image_features
from mmsrl.features.orientation import PLACEMENTS, placed

WIDTH, HEIGHT, PITCH = 420, 380, 12.0
GLASS, PINK = (243, 243, 243), (225, 150, 190)
Y, X = np.mgrid[:HEIGHT, :WIDTH]


def tissue(x: np.ndarray, y: np.ndarray, shape: str) -> np.ndarray:
    """A piece of tissue: an L of unequal legs, or a disc in the middle, which looks the same whichever way."""
    if shape == "disc":
        return (x - WIDTH / 2) ** 2 + (y - HEIGHT / 2) ** 2 < 120**2
    upright = (x > 90) & (x < 170) & (y > 60) & (y < 320)
    return upright | ((x > 90) & (x < 330) & (y > 240) & (y < 320))


def section(shape: str = "L", placement: int = 0, crop: float = 1.0) -> ad.AnnData:
    """Spots on the tissue, given so that ``placement`` puts them right; ``crop``: only that share of the width."""
    across, down = np.meshgrid(np.arange(6.0, WIDTH, PITCH), np.arange(6.0, HEIGHT, PITCH))
    places = np.column_stack([across.ravel(), down.ravel()])
    places = places[tissue(*places.T, shape) & (places[:, 0] < crop * WIDTH)]
    right = placed(places, placement % 4, WIDTH, HEIGHT)
    given = right[:, ::-1] if placement >= 4 else right
    pixels = np.where(tissue(X, Y, shape)[..., None], PINK, GLASS) + np.random.default_rng(0).integers(
        -6, 7, (HEIGHT, WIDTH, 3)
    )
    counts = np.random.default_rng(1).poisson(2.0, (len(places), 20)).astype(np.float32)
    return ad.AnnData(
        sparse.csr_matrix(counts),
        obs=pd.DataFrame(index=[f"s{k}" for k in range(len(places))]),
        obsm={"spatial": given},
        uns={
            "spatial": {
                "s": {
                    "images": {"hires": pixels.clip(0, 255).astype(np.uint8)},
                    "scalefactors": {"tissue_hires_scalef": 1.0},
                }
            },
            "mmsrl": {"sample": "s", "pitch_px": PITCH, "pitch_um": 100.0},
        },
    )


def told(adata: ad.AnnData) -> list[str]:
    messages = image_features(adata, backbone="texture").messages
    return [m["text"] for m in messages if m["level"] == "warning" and "the spots fit the tissue" in m["text"]]


@pytest.mark.parametrize("placement", range(1, 8))
def test_the_way_to_lay_a_section_on_its_tissue_is_suggested_and_not_applied(placement: int) -> None:
    adata = section(placement=placement)
    given = adata.obsm["spatial"].copy()
    texts = told(adata)
    assert len(texts) == 1 and f"better {PLACEMENTS[placement]}: coverage" in texts[0]
    assert "Nothing was changed" in texts[0]
    np.testing.assert_array_equal(adata.obsm["spatial"], given)


def test_a_section_on_an_image_too_coarse_for_features_is_told_too() -> None:
    adata = section(placement=4)
    library = adata.uns["spatial"]["s"]
    library["images"]["hires"] = library["images"]["hires"][4::8, 4::8]
    library["scalefactors"]["tissue_hires_scalef"] = 1 / 8
    messages = image_features(adata, backbone="texture").messages
    assert "is too coarse: 1.5 px per spot spacing" in messages[0]["text"]
    assert [PLACEMENTS[4] in message["text"] for message in messages] == [False, True]


def test_a_section_that_lies_right_is_not_complained_of() -> None:
    assert told(section()) == []


@pytest.mark.parametrize("placement", range(8))
def test_tissue_that_looks_the_same_either_way_says_nothing(placement: int) -> None:
    assert told(section("disc", placement=placement if placement < 4 else 0)) == []


def test_few_spots_of_a_larger_piece_say_nothing() -> None:
    assert told(section(placement=0, crop=0.26)) == []


def test_both_ways_are_named_where_the_tissue_does_not_tell_them_apart() -> None:
    adata = section("disc")
    images = adata.uns["spatial"]["s"]["images"]
    images["hires"] = np.vstack([images["hires"][60:], np.full((60, WIDTH, 3), GLASS, np.uint8)])
    adata.obsm["spatial"] += [0, 60]
    texts = told(adata)
    assert len(texts) == 1 and " or " in texts[0]
    assert PLACEMENTS[2] in texts[0] and PLACEMENTS[3] in texts[0] and PLACEMENTS[4] not in texts[0]
