"""An image of any size: cut into overlapping tiles, predicted one after the other, blended.

A strip of the image, as high as a tile, is in memory at a time; the whole image never is.
"""

import math
import os
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

Rows = Callable[[int, int], np.ndarray]  # from the first row to the last: RGB, uint8 (., W, 3)
Shape = tuple[int, int]  # height and width

# At most so many bytes are needed for a pixel of a tile and a channel at full resolution, and for a
# pixel of a strip and a class.
TILE_BYTES, STRIP_BYTES, LARGEST_TILE = 64, 16, 1024


def largest_tile(channels: int, classes: int, width: int, device: torch.device) -> int:
    """The side of a tile, in pixels, that a quarter of the memory is enough for; 1024 at most.

    Tiles are computed in what is free on a CUDA device; elsewhere they share the computer's memory
    (4 GB where the system does not tell) with strips as wide as the image. It is all of its memory,
    so that a computer always chooses the same.
    """
    memory = 4 * 2**30
    if hasattr(os, "sysconf"):
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    strip = memory // 4 // (STRIP_BYTES * classes * width)
    if device.type == "cuda":
        memory = torch.cuda.mem_get_info(device)[0]
    return min(
        math.isqrt(memory // 4 // (TILE_BYTES * max(channels, classes))), strip, LARGEST_TILE
    )


def place_tiles(length: int, tile: int, overlap: int, stride: int) -> tuple[list[int], Tensor]:
    """Where the tiles along one axis begin, and the weight of each of their pixels, (tiles, tile).

    They begin at multiples of the stride: what pools commutes with no other shift. Weights of one
    pixel sum to 1. Of an overlap, the outer three eighths weigh nothing, since the network does
    not see what lies beyond, and the middle quarter fades as a squared sine.

    length, tile, overlap, stride: in pixels; tile <= length, and both are multiples of the stride.
    """
    step = max((tile - overlap) // stride, 1) * stride
    starts = [*range(0, length - tile, step), length - tile]

    overlap = min(overlap, tile - step)  # less than was asked for, where the stride is as coarse
    ramp = (torch.arange(tile) + 0.5 - overlap / 2) / max(overlap / 4, 0.1) + 0.5
    rise = (ramp.clamp(0, 1) * (math.pi / 2)).sin() ** 2
    weights = torch.ones(len(starts), tile)
    weights[1:] *= rise
    weights[:-1] *= rise.flip(0)

    total = torch.zeros(length)
    for start, weight in zip(starts, weights, strict=True):
        total[start : start + tile] += weight
    parts = [total[start : start + tile] for start in starts]
    return starts, weights / torch.stack(parts)


def predict_tiles(
    network: Callable[[Tensor], Tensor],
    rows: Rows,
    shape: Shape,
    tile: int,
    stride: int,
    overlap: int | None = None,
    least: int = 0,
) -> Iterator[Tensor]:
    """Logits in strips from top to bottom, float32 (C, ., W) on the CPU.

    Where three eighths of the overlap are half of the network's receptive field, they are those of
    the whole image.

    Args:
        network: logits (1, C, h, w) from RGB, uint8 (1, 3, h, w), for multiples of the stride.
        rows: of the image, whose height and width are `shape`.
        tile: height and width of a tile; or the image's own, where that is less.
        stride: of the network's lowest level, in pixels.
        overlap: of neighbors, a quarter of a tile if None, half of one at most.
        least: an image that is smaller is reflected at its lower and right edge up to this size.
    """
    (height, width), tile = shape, max(tile // stride, 1) * stride
    padded = [max(math.ceil(side / stride) * stride, least) for side in shape]
    overlap = tile // 4 if overlap is None else overlap
    high, wide = (min(tile, side) for side in padded)
    tops, down = place_tiles(padded[0], high, overlap, stride)
    lefts, across = place_tiles(padded[1], wide, overlap, stride)

    unfinished = torch.empty(0)
    for top, below, falling in zip(tops, [*tops[1:], height], down, strict=True):
        strip = rows(top, min(top + high, height))
        edges = ((0, high - len(strip)), (0, padded[1] - width), (0, 0))
        pixels = torch.from_numpy(np.pad(strip, edges, mode="reflect")).permute(2, 0, 1)[None]

        for left, weight in zip(lefts, across, strict=True):
            logits = network(pixels[..., left : left + wide])[0].cpu()
            if left == 0:  # and only now is the number of classes known
                blended = torch.zeros(len(logits), high, padded[1])
            blended[..., left : left + wide] += logits * falling[:, None] * weight

        if top:  # what the strip above has begun
            blended[:, : unfinished.shape[1]] += unfinished
        yield blended[:, : below - top, :width]
        unfinished = blended[:, below - top :].clone()
