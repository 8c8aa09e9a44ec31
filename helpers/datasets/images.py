"""One way to open an image file and a mask file, whatever wrote it. Notebook 10.

Pillow reads most of them. It would turn colors of 16 bits into 8 in silence, and a TIFF's fifth
channel it does not see: TIFFs are read by tifffile, and a PNG with colors of 16 bits is refused.
"""

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image, ImageOps

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # how one begins, whatever its name
ORIENTATION = 0x0112  # where a camera, or a scanner, notes how to turn the image (EXIF)
GRAY_OR_RGB = (
    tifffile.PHOTOMETRIC.MINISBLACK,
    tifffile.PHOTOMETRIC.MINISWHITE,
    tifffile.PHOTOMETRIC.RGB,
    tifffile.PHOTOMETRIC.PALETTE,
)
CHOOSE = "--channels 0 1 2, or open_folder(..., channels=(0, 1, 2))"
MAX_PIXELS = 178_956_970  # Pillow's limit: a small file can claim to be a huge image


def read_image(
    path: str | Path, levels: Sequence[int] | None = None, channels: Sequence[int] | None = None
) -> Image.Image:
    """An image file as RGB (PIL), 8 bits, upright as its camera noted (EXIF).

    Gray becomes RGB; an alpha channel is dropped. Pages are channels only where three are chosen:
    they may be slices, or times.

    Args:
        levels: of 16 bits, the two values that become 0 and 255.
        channels: the three of a multi-channel image that are taken for red, green and blue.

    Raises FileNotFoundError, or ValueError that names the file and the mend.
    """
    values = read_values(path)
    if channels is None and values.shape[-1] == 3 and (count := count_pages(path)) > 1:
        raise ValueError(f"{path} {of_pages(count)}")
    values = to_rgb(Path(path), values, levels, channels)
    return Image.fromarray(np.ascontiguousarray(values))


def to_rgb(
    path: Path,
    values: np.ndarray,
    levels: Sequence[int] | None = None,
    channels: Sequence[int] | None = None,
) -> np.ndarray:
    """The numbers (H, W, C) of an image file as RGB, uint8 (H, W, 3). See `read_image`."""
    if channels is not None:
        values = choose_channels(path, values, channels)
    elif values.shape[-1] not in (1, 3):
        raise ValueError(
            f"{path} has {values.shape[-1]} channels, and a network here takes three: choose them"
            f" for the training, {CHOOSE}, or save it as RGB"
        )
    if values.dtype == np.uint16:
        values = _to_bytes(path, values, levels)
    return values.repeat(3, axis=-1) if values.shape[-1] == 1 else values


def read_values(path: str | Path) -> np.ndarray:
    """The numbers in an image file, uint8 or uint16 (H, W, C), upright, without alpha.

    Raises FileNotFoundError, or ValueError that names the file and the mend.
    """
    path = Path(path)
    values = _tiff_values(path) if _is_tiff(path) else _pillow_values(path)
    if values.dtype == np.bool_:
        return values.astype(np.uint8) * 255
    if values.dtype not in (np.uint8, np.uint16):
        raise ValueError(
            f"{path} holds numbers of the type {values.dtype}: save it with 8 or 16 bits, all files"
            " scaled alike"
        )
    return values


def read_mask(path: str | Path) -> np.ndarray:
    """The numbers in a mask file, (H, W), or its colors, uint8 (H, W, 3), upright.

    Of an indexed file (with a palette) these are the indices. Raises as `read_image`.
    """
    path = Path(path)
    if _is_tiff(path):
        values = _tiff_values(path, as_mask=True)
    else:
        with _opened(path) as image:
            values = np.asarray(ImageOps.exif_transpose(image))
            values = values if values.ndim == 3 else values[..., None]
    if values.shape[-1] > 4:
        raise ValueError(f"{path} has {values.shape[-1]} channels: a mask has one, or colors")
    values = values[..., 0] if values.shape[-1] < 3 else values[..., :3]
    values = values.astype(np.uint8) if values.dtype == np.bool_ else values
    most = 65535 if values.ndim == 2 else 255
    if values.dtype.kind not in "iu" or values.min() < 0 or values.max() > most:
        raise ValueError(
            f"{path} holds {values.dtype} numbers: a mask's are whole, 0 to 65535, or colors of 8"
            " bits"
        )
    return values if values.ndim == 2 else values.astype(np.uint8)


def read_palette(path: str | Path) -> np.ndarray | None:
    """The colors of an indexed file, uint8 (256, 3), from its header; None if it has no palette.

    Raises as `read_image`.
    """
    path = Path(path)
    if _is_tiff(path):
        with _opened_tiff(path) as page:
            if page.photometric != tifffile.PHOTOMETRIC.PALETTE:
                return None
            found = (np.asarray(page.colormap).T >> 8).astype(np.uint8)
    else:
        with _opened(path, decode=False) as image:
            if image.mode not in ("P", "PA"):
                return None
            found = np.array(image.getpalette(), np.uint8).reshape(-1, 3)
    return np.vstack([found, np.zeros((256 - len(found), 3), np.uint8)])


def size_of(path: str | Path) -> tuple[int, int]:
    """Height and width of an image, upright, from its header alone. Raises as `read_image`."""
    shape, orientation = _as_stored(Path(path))
    return shape[::-1] if orientation >= 5 else shape


def is_turned(path: str | Path) -> bool:
    """Whether an image is stored on its side, with a note to turn it. Raises as `read_image`."""
    return orientation_of(path) >= 5


def orientation_of(path: str | Path) -> int:
    """How an image is stored, by its note (EXIF): 1 is upright, from 5 on it lies on its side.

    Raises as `read_image`.
    """
    return _as_stored(Path(path))[1]


def _as_stored(path: Path) -> tuple[tuple[int, int], int]:
    """Height and width in the file, and the orientation."""
    if _is_tiff(path):
        with _opened_tiff(path) as page:
            return (page.imagelength, page.imagewidth), _orientation(page)
    with _opened(path, decode=False) as image:
        return (image.height, image.width), int(image.getexif().get(ORIENTATION, 1))


def has_16_bits(path: str | Path) -> bool:
    """Whether an image file has 16 bits a number, from its header alone. Raises as `read_image`."""
    path = Path(path)
    if _is_tiff(path):
        with _opened_tiff(path) as page:
            return page.dtype == np.uint16
    with _opened(path, decode=False) as image:
        return image.mode.startswith("I;16")


def count_pages(path: str | Path) -> int:
    """The pages of a TIFF that are read as channels without being called so, from its header; 1 of
    any other file. Raises as `read_image`."""
    path = Path(path)
    if not _is_tiff(path):
        return 1
    with _opened_tiff(path) as page:
        return pages_in(page.parent)


def pages_in(file: tifffile.TiffFile) -> int:
    """The pages of a file's first image that are not called channels."""
    first = file.series[0]
    sides = zip(first.axes, first.shape, strict=True)
    return math.prod(side for axis, side in sides if axis not in "YXSC")


def images_in(file: tifffile.TiffFile) -> int:
    """The images in a file, each perhaps of several pages; thumbnails do not count."""
    first = file.series[0].size
    return sum(series.size >= first for series in file.series)


def of_pages(count: int) -> str:
    """What is wrong with an image of several pages, and the mend."""
    return (
        f"has {count} pages, which may be slices or times: save one image a file, or choose three"
        f" as channels for the training, {CHOOSE}"
    )


def _is_tiff(path: Path) -> bool:
    """By its first bytes: Pillow, too, opens one under another name, and cuts its 16 bits."""
    with _named(path), open(path, "rb") as file:
        return file.read(4) in TIFF


def choose_channels(path: Path, values: np.ndarray, channels: Sequence[int]) -> np.ndarray:
    """Three of an image's channels. Raises ValueError for others than it has."""
    count = values.shape[-1]
    if len(channels) != 3 or not all(0 <= channel < count for channel in channels):
        raise ValueError(
            f"{path} has the channels 0 to {count - 1}: three of them are wanted, not"
            f" {list(channels)}"
        )
    return values[..., list(channels)]


def _to_bytes(path: Path, values: np.ndarray, levels: Sequence[int] | None) -> np.ndarray:
    """16 bits as 8: the two levels become 0 and 255, and what lies beyond them is cut."""
    if levels is None:
        raise ValueError(
            f"{path} has 16 bits, and no levels are known: a training on images of 16 bits finds"
            " the two values that become black and white"
        )
    low, high = levels
    scaled = (values.astype(np.float32) - low) * (255 / max(high - low, 1))
    return scaled.round().clip(0, 255).astype(np.uint8)


def _pillow_values(path: Path) -> np.ndarray:
    with _opened(path) as image:
        if image.mode in ("P", "PA", "CMYK", "YCbCr", "LAB", "HSV"):
            image = image.convert("RGB")
        values = np.asarray(ImageOps.exif_transpose(image))
    values = values if values.ndim == 3 else values[..., None]
    return values[..., :-1] if values.shape[-1] in (2, 4) else values  # without alpha


def _tiff_values(path: Path, as_mask: bool = False) -> np.ndarray:
    """The pixels of a TIFF's only image, (H, W, C): pages and planes of one size are channels."""
    with _opened_tiff(path) as page:
        if (count := images_in(page.parent)) > 1:
            raise ValueError(f"{path} holds {count} images: save one a file")
        series = page.parent.series[0]
        values, axes = _decoded(path, series), series.axes
        if "Y" not in axes or "X" not in axes or values.ndim > 3:
            raise ValueError(f"{path} has the axes {axes}: save one image, height x width, a file")
        if page.photometric not in GRAY_OR_RGB and page.compression != tifffile.COMPRESSION.JPEG:
            kind = tifffile.PHOTOMETRIC(page.photometric).name
            raise ValueError(f"{path} is neither gray nor RGB ({kind}): save it as RGB")

        others = [k for k, axis in enumerate(axes) if axis not in "YX"]
        values = np.moveaxis(values, others[0], -1) if others else values[..., None]
        values = without_alpha(page, values)
        if as_mask and values.shape[-1] > 1 and page.samplesperpixel < 3:
            raise ValueError(
                f"{path} has {values.shape[-1]} channels: a mask has one, or colors (each page is a"
                " channel)"
            )
        values = _shown(page, values, as_mask)

        # Upright: first the diagonal, then the halves of a turn.
        orientation = _orientation(page)
        values = values.swapaxes(0, 1) if orientation >= 5 else values
        values = values[::-1] if orientation in (3, 4, 7, 8) else values
        return values[:, ::-1] if orientation in (2, 3, 6, 7) else values


def without_alpha(page: tifffile.TiffPage, values: np.ndarray) -> np.ndarray:
    """The numbers (H, W, C) of a page, without the channel that says how opaque a pixel is."""
    has_alpha = any(int(kind) in (1, 2) for kind in page.extrasamples)
    return values[..., :-1] if has_alpha and values.shape[-1] in (2, 4) else values


def _shown(page: tifffile.TiffPage, values: np.ndarray, as_mask: bool) -> np.ndarray:
    """What a viewer shows: the colors of a palette, and white where 0 is white.

    A mask's numbers stay as they are, but those of one bit, which are black and white.
    """
    if page.photometric == tifffile.PHOTOMETRIC.PALETTE and not as_mask:
        colors = np.asarray(page.colormap)[:, values[..., 0]]  # (3, H, W), 16 bits
        return (colors >> 8).astype(np.uint8).transpose(1, 2, 0)
    if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
        if values.dtype == np.bool_:
            return ~values
        if values.dtype.kind == "u" and not as_mask:
            return np.iinfo(values.dtype).max - values
    return values


def _orientation(page: tifffile.TiffPage) -> int:
    """1 to 8, as in EXIF; 1 is upright."""
    tag = page.tags.get(ORIENTATION)
    return int(tag.value) if tag is not None and tag.value in range(1, 9) else 1


def _decoded(path: Path, series: tifffile.TiffPageSeries) -> np.ndarray:
    """What tifffile cannot decode without another package, Pillow reads, if it has 8 bits."""
    try:
        return series.asarray()
    except ValueError as error:
        if "imagecodecs" not in str(error):
            raise
        if series.dtype != np.uint8 or len(series.shape) > 3 or len(series.pages) > 1:
            raise ValueError(
                f"{path} is compressed in a way that needs the package imagecodecs: install it, or"
                " save the file uncompressed"
            ) from error
    with _opened(path) as image:
        return np.asarray(image).reshape(series.shape)


@contextmanager
def _opened_tiff(path: Path) -> Iterator[tifffile.TiffPage]:
    """The first page of a TIFF. Raises as `read_image` for what is none, also within the block."""
    with _named(path), tifffile.TiffFile(path) as file:
        page = file.pages.first
        if page.imagelength * page.imagewidth > MAX_PIXELS:
            raise Image.DecompressionBombError(f"{page.imagewidth} x {page.imagelength} pixels")
        yield page


@contextmanager
def _opened(path: Path, decode: bool = True) -> Iterator[Image.Image]:
    """An image file in Pillow. Raises as `read_image` for what is none."""
    with _named(path), warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # half of the limit
        with Image.open(path) as image:
            if any("16B" in str(tile[3]) for tile in image.tile) and image.mode != "I;16":
                raise ValueError(
                    f"{path} has colors of 16 bits, which Pillow cuts to 8 in silence: save it as"
                    " TIFF, or with 8 bits"
                )
            if decode:
                image.load()
            yield image


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """An error that names the file, in place of a decoder's own."""
    try:
        yield
    except Image.DecompressionBombError as error:
        raise ValueError(
            f"{path} claims more than {MAX_PIXELS:,} pixels ({error}): cut it into parts"
        ) from error
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path} does not exist: check the name") from error
    except PermissionError as error:
        raise PermissionError(f"{path} may not be read: change its permissions") from error
    except MemoryError:
        raise
    except Exception as error:  # a broken file raises a dozen types
        if str(error).startswith(str(path)):
            raise
        raise ValueError(f"{path} cannot be decoded ({error}): copy or export it again") from error
