"""A stand-in until the folder of one's own is there: it has the one function that is used here."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image, ImageOps

MAX_PIXELS = 200_000_000


def read_image(
    path: str | Path, levels: Sequence[int] | None = None, channels: Sequence[int] | None = None
) -> Image.Image:
    """An image file as RGB (PIL), upright. Raises FileNotFoundError, or ValueError with the mend.

    levels: of 16 bits, the values that become 0 and 255. channels: the three to read as RGB.
    """
    try:
        if Path(path).suffix.lower() in (".tif", ".tiff"):
            values = tifffile.imread(path)
        else:
            with Image.open(path) as image:
                values = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except (FileNotFoundError, PermissionError):
        raise
    except Exception as error:
        raise ValueError(f"{path} cannot be decoded ({error}): copy or export it again") from error
    values = values if values.ndim == 3 else values[..., None]
    if channels is not None:
        values = values[..., list(channels)]
    elif values.shape[-1] > 4:
        raise ValueError(f"{path} has {values.shape[-1]} channels: choose three by channels=")
    if values.dtype == np.uint16:
        if levels is None:
            raise ValueError(f"{path} has 16 bits, and no levels are known: give levels=")
        values = (values.astype(np.float32) - levels[0]) * (255 / max(levels[1] - levels[0], 1))
        values = values.round().clip(0, 255).astype(np.uint8)
    values = values[..., :3] if values.shape[-1] > 2 else values[..., :1].repeat(3, axis=-1)
    return Image.fromarray(np.ascontiguousarray(values))
