"""Predict an image at its own size, by the rule that its checkpoint keeps. Notebook 10."""

from collections.abc import Iterator
from typing import Any

from helpers.inference import Device, in_eval_mode, logits_of, predict_photo
from helpers.model import UNet
from helpers.networks.pretrained import PretrainedUNet
from helpers.tiling.strips import enlarge, resize_rows
from helpers.tiling.tiles import Rows, Shape, largest_tile, predict_tiles
from helpers.transforms import normalize

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def predict_image(
    image: Image.Image, model: UNet | PretrainedUNet, about: dict, device: Device = None
) -> Tensor:
    """The mask of one image at its own size, uint8 (H, W), by the rule that its checkpoint keeps.

    image: of any size. model, about: from `load_model`. device: None means where the model is.
    """
    if about.get("scale") is None:
        return predict_photo(image, model, input_size(about), device)
    pixels = np.asarray(image.convert("RGB"))
    shape = (image.height, image.width)
    strips = predict_strips(lambda a, b: pixels[a:b], shape, model, about, device)
    return torch.cat([logits.argmax(dim=0).byte() for logits in strips])


def input_size(about: dict) -> int:
    """That of the training. Raises ValueError for a checkpoint that does not tell it."""
    if "size" not in about:
        raise ValueError(
            "these weights do not tell the size of their images: train with fit(..., about="
            "describe(train, val)), from helpers.data"
        )
    return about["size"]


@torch.no_grad()
def predict_strips(
    rows: Rows,
    shape: Shape,
    model: UNet | PretrainedUNet,
    about: dict,
    device: Device = None,
    precision: torch.dtype | None = None,
    tile: int | None = None,
) -> Iterator[Tensor]:
    """Logits at the image's own size in strips from top to bottom, float32 (C, ., W) on the CPU.

    The image is resized by the checkpoint's `scale` and predicted in tiles, or, without one,
    squashed to its `size`: as in training.

    Args:
        rows: of an image whose height and width are `shape`; see `helpers.tiling.tiles`.
        model, about: from `load_model`.
        device: where to compute; None means where the model is.
        precision: see `pick_precision`; None is float32.
        tile: side of a tile in pixels, as many as memory allows if None; never below `size`.
    """
    size, scale, stride = input_size(about), about.get("scale"), 2 ** len(model.ups)
    small = (size, size)
    if scale is not None:
        small = (max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale)))
    source = rows if small == shape else resize_rows(rows, shape, small)

    with in_eval_mode(model, device) as place:

        def network(images: Tensor) -> Tensor:
            return logits_of(model, normalize(images.to(place)), place, precision)

        if scale is None:
            tile = size
        elif tile is None:
            first: Any = model.stem[0]
            tile = largest_tile(first.out_channels, model.head.out_channels, small[1], place)
        parts = predict_tiles(network, source, small, max(tile, size), stride, least=size)
        yield from enlarge(parts, small, shape)
