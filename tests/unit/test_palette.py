from __future__ import annotations

import numpy as np
import pytest

from mmsrl._palette import PALETTE, domain_colors, natural_order

# Machado et al. 2009, severity 1, on linear RGB.
VISION = {
    "normal": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
}


def oklab(colors: tuple[str, ...], vision: str) -> np.ndarray:
    srgb = np.array([[int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)] for color in colors])
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.transpose(VISION[vision]), 0, 1)
    to_lms = [[0.4122215, 0.5363325, 0.0514460], [0.2119035, 0.6806995, 0.1073970], [0.0883025, 0.2817188, 0.6299787]]
    to_lab = [
        [0.2104543, 0.7936178, -0.0040720],
        [1.9779985, -2.4285922, 0.4505937],
        [0.0259040, 0.7827718, -0.8086758],
    ]
    return np.cbrt(seen @ np.transpose(to_lms)) @ np.transpose(to_lab)


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize(("n_colors", "least"), [(20, 0.075), (40, 0.05)])
def test_colours_differ_for_everyone(vision: str, n_colors: int, least: float) -> None:
    # In OKLab about 0.02 is just noticeable.
    lab = oklab(PALETTE[:n_colors], vision)
    distance = np.linalg.norm(lab[:, None] - lab[None], axis=2)
    assert distance[np.triu_indices(n_colors, 1)].min() > least


def test_labels_sort_as_people_do() -> None:
    assert natural_order(["10", "2", "1", "2"]) == ["1", "2", "10"]
    assert natural_order(["L10", "WM", "L2", "3"]) == ["3", "L2", "L10", "WM"]


def test_colour_depends_on_the_label_and_not_on_the_order() -> None:
    assert domain_colors(["10", "2", "1"]) == dict(zip(["1", "2", "10"], PALETTE[:3], strict=True))
    assert domain_colors(["1", "2", "10"]) == domain_colors(["2", "10", "1", "1"])
