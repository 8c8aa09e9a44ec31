"""From an image of any size to what a network takes: resize, augment, normalize. Notebook 02."""

from pathlib import Path

from helpers.constants import IGNORE_INDEX, IMAGENET_MEAN, IMAGENET_STD

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2

Size = int | tuple[int, int]  # in pixels: a square's side, or height and width


def open_photo(path: str | Path) -> Image.Image:
    """An image from a file as RGB, turned upright as its camera noted (EXIF).

    Raises FileNotFoundError, or ValueError for a file that is no image, or none of 8 bits.
    """
    try:
        with Image.open(path) as image:
            if image.mode[0] in "IF" or any(";16" in str(tile[3]) for tile in image.tile):
                raise ValueError("it has 16 bits or more, which would be cut, not scaled, to 8")
            return ImageOps.exif_transpose(image).convert("RGB")
    except (FileNotFoundError, PermissionError, MemoryError):
        raise
    except Exception as error:  # a broken file raises a dozen types
        raise ValueError(f"{path} cannot be decoded ({error}): copy or export it again") from error


def resize_image(image: Image.Image, size: Size) -> Tensor:
    """Squash an RGB image (PIL) to uint8 (3, size, size), bilinearly with antialiasing."""
    return v2.functional.resize(v2.functional.pil_to_tensor(image), _both(size), antialias=True)


def resize_pair(image: Image.Image, mask: np.ndarray, size: Size) -> tuple[Tensor, Tensor]:
    """Squash an image (PIL) and its mask (H, W) to uint8 (3, size, size) and (size, size).

    The mask takes the value in the middle of each cell (NEAREST_EXACT). Plain NEAREST, which
    v2.Resize uses for masks, takes the cell's corner, and so lays the mask up to half a pixel
    beside its image.
    """
    labels = torch.from_numpy(mask)[None]  # (1, H, W): v2 wants a channel dimension
    labels = v2.functional.resize(labels, _both(size), InterpolationMode.NEAREST_EXACT)
    return resize_image(image, size), labels[0]


def _both(size: Size) -> list[int]:
    return [size, size] if isinstance(size, int) else [*size]


def default_augmentation() -> v2.Transform:
    """Random flip, affine map and colors; image and mask move together.

    What the affine map brings into view is gray in the image and ignored in the mask.
    """
    return v2.Compose(
        [
            v2.RandomHorizontalFlip(),
            v2.RandomAffine(
                degrees=15,
                translate=(0.1, 0.1),
                scale=(0.75, 1.5),
                shear=8,
                interpolation=InterpolationMode.BILINEAR,  # of images; masks are always NEAREST
                fill={tv_tensors.Image: 124, tv_tensors.Mask: IGNORE_INDEX},
            ),
            v2.ColorJitter(brightness=0.3, contrast=0.3, saturation=0.3, hue=0.03),
        ]
    )


def normalize(images: Tensor) -> Tensor:
    """RGB uint8 (..., 3, H, W) to float32 with about zero mean and unit variance.

    Raises ValueError for anything else, such as an image that was scaled to 0..1 before.
    """
    if images.dtype != torch.uint8 or images.ndim < 3 or images.shape[-3] != 3:
        raise ValueError(
            f"normalize takes RGB bytes, uint8 (..., 3, H, W), not {images.dtype}"
            f" {tuple(images.shape)}: do not scale before, and open files with open_photo"
        )

    # In place: the same numbers as v2's ToDtype and Normalize, ten times faster.
    mean, std = _channel_statistics(images)
    return images.to(torch.float32, copy=True).mul_(1 / 255).sub_(mean).div_(std)


def denormalize(images: Tensor) -> Tensor:
    """The inverse of `normalize`, up to RGB float32 in 0..1."""
    mean, std = _channel_statistics(images)
    return (images * std + mean).clamp(0, 1)


def _channel_statistics(images: Tensor) -> list[Tensor]:
    """Mean and standard deviation as (3, 1, 1), on the images' device."""
    both = (IMAGENET_MEAN, IMAGENET_STD)
    return [torch.tensor(values, device=images.device)[:, None, None] for values in both]
