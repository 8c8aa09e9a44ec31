"""Images too large to be held at once: some rows are read, resized, and written at a time."""

import math
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from helpers.datasets.images import images_in, pages_in, to_rgb, without_alpha
from helpers.tiling.tiles import Rows, Shape

import numpy as np
import tifffile
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

LARGE = 50_000_000  # pixels: from here on, a TIFF is read by strips
ROWS = 256  # in a strip of what is written


def is_large(path: Path) -> bool:
    """Whether a file is a TIFF of more than LARGE pixels, by its header. False for a broken one."""
    if path.suffix.lower() not in (".tif", ".tiff"):
        return False
    try:
        with tifffile.TiffFile(path) as file:
            return math.prod(_shape(file.pages.first)) > LARGE
    except Exception:  # a broken file raises a dozen types: who reads it says what is wrong
        return False


@contextmanager
def open_rows(
    path: Path, levels: Sequence[int] | None = None, channels: Sequence[int] | None = None
) -> Iterator[tuple[Rows, Shape]]:
    """A function that reads some rows of a TIFF as RGB, and the image's height and width.

    levels, channels: see `helpers.datasets.images.read_image`.

    Raises ValueError that names the file and the mend, also while rows are read.
    """
    try:
        with tifffile.TiffFile(path) as file:
            page = file.pages.first
            _check(path, page)
            pixel = without_alpha(page, np.zeros((1, 1, page.samplesperpixel), page.dtype))
            to_rgb(path, pixel, levels, channels)

            def rows(top: int, bottom: int) -> np.ndarray:
                try:
                    values = _read(page, top, bottom).astype(np.dtype(page.dtype))
                except Exception as error:  # a decoder's own
                    raise ValueError(
                        f"{path} cannot be decoded ({error}): save it again, uncompressed"
                    ) from error
                return to_rgb(path, without_alpha(page, values), levels, channels)

            yield rows, _shape(page)
    except tifffile.TiffFileError as error:
        raise ValueError(f"{path} cannot be decoded ({error}): copy or export it again") from error


def write_mask(
    path: Path, parts: Iterable[np.ndarray], shape: Shape, palette: bytes, description: str = ""
) -> None:
    """Write a mask as an indexed TIFF, one strip after the other.

    parts: class indices, uint8 (ROWS, W) each; the last may have fewer rows. palette: 256 times
    red, green, blue.
    """
    colormap = np.frombuffer(palette, np.uint8).reshape(256, 3).T.astype(np.uint16) * 257
    tifffile.imwrite(
        path,
        (zlib.compress(np.ascontiguousarray(part).tobytes()) for part in parts),
        shape=shape,
        dtype=np.uint8,
        photometric="palette",
        colormap=colormap,
        compression="zlib",
        rowsperstrip=ROWS,
        metadata=None,
        description=description,
        bigtiff=math.prod(shape) > 2**31,
    )


def resize_rows(rows: Rows, shape: Shape, to: Shape, most: int = 2**24) -> Rows:
    """The rows of an image after bilinear resizing with antialiasing, by Pillow.

    most: so many pixels of the image are asked for at a time, about.
    """
    factor = shape[0] / to[0]
    band = max(1, int(most / shape[1] / factor))

    def read(top: int, bottom: int) -> np.ndarray:
        return np.concatenate([resized(a, min(a + band, bottom)) for a in range(top, bottom, band)])

    def resized(top: int, bottom: int) -> np.ndarray:
        # The filter reaches a row of the smaller of both images beyond.
        reach = max(factor, 1) + 1
        first = max(math.floor(top * factor - reach), 0)
        last = min(math.ceil(bottom * factor + reach), shape[0])
        box = (0, top * factor - first, shape[1], min(bottom * factor, shape[0]) - first)
        part = Image.fromarray(rows(first, last))
        return np.asarray(part.resize((to[1], bottom - top), Image.Resampling.BILINEAR, box))

    return read


def enlarge(
    strips: Iterator[Tensor], shape: Shape, to: Shape, height: int = ROWS
) -> Iterator[Tensor]:
    """Logits in strips of `height` rows, resized bilinearly, as F.interpolate does the whole.

    strips: of logits (C, ., W) whose height and width are `shape` altogether.
    """
    held, first = next(strips), 0  # and the number of the first row that is held
    for top in range(0, to[0], height):
        # The two rows that each one lies between.
        y = (torch.arange(top, min(top + height, to[0])).double() + 0.5) * shape[0] / to[0] - 0.5
        y = y.clamp(0, shape[0] - 1)
        low, high = y.long(), (y.long() + 1).clamp(max=shape[0] - 1)
        while first + held.shape[1] <= high[-1]:
            done = min(int(low[0]) - first, held.shape[1])
            held, first = torch.cat([held[:, done:], next(strips)], dim=1), first + done

        weight = (y - low)[:, None].float()
        between = torch.lerp(held[:, low - first], held[:, high - first], weight)
        size = (len(y), to[1])
        yield F.interpolate(between[None], size, mode="bilinear", align_corners=False)[0]


def _shape(page: tifffile.TiffPage) -> Shape:
    return page.imagelength, page.imagewidth


def _check(path: Path, page: tifffile.TiffPage) -> None:
    """Raise ValueError for what cannot be read by rows."""
    height, count = page.tilelength or page.rowsperstrip, page.samplesperpixel
    orientation = page.tags.get("Orientation")
    mends = {
        "gray or RGB": page.photometric not in (1, 2),
        "8 or 16 bits": page.dtype not in (np.uint8, np.uint16),
        "the channels of a pixel together": count > 1 and page.planarconfig != 1,
        "the image upright": orientation is not None and orientation.value != 1,
        "one image of one page": images_in(page.parent) * pages_in(page.parent) > 1,
        "tiles": not page.is_memmappable and height * page.imagewidth > LARGE,
    }
    if wanted := [name for name, applies in mends.items() if applies]:
        raise ValueError(
            f"{path} has more than {LARGE:,} pixels and is read row by row: save it with"
            f" {' and '.join(wanted)}, such as tifffile.imwrite(..., tile=(512, 512))"
        )


def _read(page: tifffile.TiffPage, top: int, bottom: int) -> np.ndarray:
    """Rows of a page as they are stored, (., W, C)."""
    width, count, kind = page.imagewidth, page.samplesperpixel, np.dtype(page.dtype)
    file = page.parent.filehandle
    if page.is_memmappable:  # one after the other, as they are
        length = width * count * kind.itemsize
        file.seek(page.dataoffsets[0] + top * length)
        data = file.read((bottom - top) * length)
        numbers = np.frombuffer(data, kind.newbyteorder(page.parent.byteorder))
        return numbers.reshape(bottom - top, width, count)

    # In strips or tiles, numbered from the left to the right and then down.
    high = page.tilelength or page.rowsperstrip
    across = math.ceil(width / page.tilewidth) if page.is_tiled else 1
    values = np.zeros((bottom - top, width, count), kind)
    numbered = range(top // high * across, math.ceil(bottom / high) * across)
    offsets, lengths = (
        [part[i] for i in numbered] for part in (page.dataoffsets, page.databytecounts)
    )
    tables = {"jpegtables": page.jpegtables} if page.jpegtables else {}
    segments: Any = file.read_segments(offsets, lengths, numbered)
    for data, index in segments:
        segment, (_, _, y, x, _), _ = page.decode(data, index, **tables)
        if segment is not None:
            _lay(segment[0], values, y - top, x)
    return values


def _lay(segment: np.ndarray, values: np.ndarray, y: int, x: int) -> None:
    """Copy what of a segment lies within the values, at row y (which may be above) and column x."""
    inside = segment[max(-y, 0) : len(values) - y, : values.shape[1] - x]
    values[max(y, 0) : max(y, 0) + len(inside), x : x + inside.shape[1]] = inside
