"""From pairs on disk to batches: decode once, split, augment, normalize, load. Notebook 02."""

import errno
import hashlib
import os
import shutil
import uuid
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2

from helpers.source import HOME, PairReader, Source, make_folder, progress, read_list

CLASS_NAMES = ("pet", "background", "border")
CLASS_COLORS = ("#D55E00", "#0072B2", "#F0E442")  # Okabe and Ito 2008: distinct to the colour-blind
IGNORE_INDEX = 255  # a target pixel that counts neither in the loss nor in the metrics
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's RGB, the field's convention


@dataclass(frozen=True)
class Pairs:
    """One official list ("trainval" or "test") decoded at size x size, memory-mapped from the cache.

    images: uint8 (N, 3, size, size). masks: uint8 (N, size, size), 0 pet, 1 background, 2 border.
    breeds: int64 (N,), 0..36. names: file names without suffix.
    """

    source: Source
    split: str
    names: tuple[str, ...]
    breeds: Tensor
    images: Tensor
    masks: Tensor

    def __len__(self) -> int:
        return len(self.names)


def decode(source: Source, split: str, size: int = 128, cache: Path | None = None) -> Pairs:
    """Decode one official list once, squashed to size x size, and keep the arrays in data/cache/.

    Images are resized bilinearly with antialiasing, masks by nearest neighbor. The cache is keyed by the names, sizes
    and times of the files it was made from, written under a temporary name, and renamed when complete.

    Raises FileNotFoundError or ValueError that names the missing or bad file, OSError for a cache folder that
    cannot be written or a full disk. Nothing is left behind then.
    """
    names, breeds = read_list(source, split)
    cache = cache or HOME / "data" / "cache"
    folder = cache / f"{split}-{size}px-{_fingerprint(source, names)}"
    if not folder.is_dir():
        make_folder(cache)
        partial = cache / f"partial-{uuid.uuid4().hex[:12]}"
        try:
            partial.mkdir()
            _write_arrays(PairReader(source, split), size, partial)
            partial.rename(folder)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                need = len(names) * 4 * size**2 / 1e6
                message = f"the disk is full: {cache} needs {need:.0f} MB more; make room and run this again"
                raise OSError(errno.ENOSPC, message) from error
            if not folder.is_dir():  # else another process was faster, with the same content
                raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    # mode "c": pages are read as they are used; a write would go to a private copy, never to the file
    images, masks = (torch.from_numpy(np.load(folder / f"{kind}.npy", mmap_mode="c")) for kind in ("images", "masks"))
    return Pairs(source, split, names, torch.tensor(breeds), images, masks)


def open_photo(path: str | Path) -> Image.Image:
    """A photo from a file as RGB, turned upright as its camera noted (EXIF).

    Raises FileNotFoundError, or ValueError for a file that is no image.
    """
    try:
        with Image.open(path) as image:
            return ImageOps.exif_transpose(image).convert("RGB")
    except (SyntaxError, ValueError, UnidentifiedImageError) as error:
        raise ValueError(f"{path} cannot be decoded ({error}): copy or export it again") from error


def resize_image(image: Image.Image, size: int) -> Tensor:
    """Squash a photo (PIL, RGB) to uint8 (3, size, size), bilinearly with antialiasing."""
    return v2.functional.resize(v2.functional.pil_to_tensor(image), [size, size], antialias=True)


def resize_pair(image: Image.Image, mask: np.ndarray, size: int) -> tuple[Tensor, Tensor]:
    """Squash a photo (PIL) and its mask (H, W) to uint8 (3, size, size) and (size, size).

    The mask takes the value in the middle of each cell (NEAREST_EXACT). Plain NEAREST, which v2.Resize uses for
    masks, takes the cell's corner, and so lays the mask up to half a pixel beside its photo.
    """
    mask = v2.functional.resize(torch.from_numpy(mask)[None], [size, size], InterpolationMode.NEAREST_EXACT)
    return resize_image(image, size), mask[0]


def split_indices(breeds: Tensor, fraction: float = 0.25, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Indices (train, validation), disjoint and complete; of each breed `fraction` is held out, to within one.

    All are lined up by breed, at random within a breed; one in every 1/fraction goes to validation.
    """
    line = np.lexsort((np.random.default_rng(seed).random(len(breeds)), breeds))
    position = np.arange(len(breeds))
    held_out = np.floor((position + 1) * fraction) > np.floor(position * fraction)
    return torch.from_numpy(np.sort(line[~held_out])), torch.from_numpy(np.sort(line[held_out]))


def default_augmentation() -> v2.Transform:
    """Random flip, affine map and colors; photo and mask move together, what comes into view is ignored."""
    return v2.Compose(
        [
            v2.RandomHorizontalFlip(),
            v2.RandomAffine(
                degrees=15,
                translate=(0.1, 0.1),
                scale=(0.75, 1.5),
                shear=8,
                interpolation=InterpolationMode.BILINEAR,  # masks: NEAREST
                fill={tv_tensors.Image: 124, tv_tensors.Mask: IGNORE_INDEX},
            ),
            v2.ColorJitter(brightness=0.3, contrast=0.3, saturation=0.3, hue=0.03),
        ]
    )


class PetDataset(Dataset):
    """Some of the decoded pairs as normalized tensors, augmented if asked.

    An item is an image, float32 (3, size, size), and its mask, int64 (size, size). Asked for several positions
    at once, as `make_loader` does, it gives a batch.
    """

    def __init__(self, pairs: Pairs, indices: Tensor | None = None, augment: Callable | None = None) -> None:
        self.pairs = pairs
        self.indices = torch.arange(len(pairs)) if indices is None else torch.as_tensor(indices)
        self.augment = augment

    @property
    def names(self) -> list[str]:
        return [self.pairs.names[i] for i in self.indices]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor]:
        images, masks = self.__getitems__([position])
        return images[0], masks[0]

    def __getitems__(self, positions: list[int]) -> tuple[Tensor, Tensor]:
        rows = self.indices[torch.as_tensor(positions)]
        images, masks = self.pairs.images[rows], self.pairs.masks[rows]
        if self.augment is not None:
            with _one_thread():
                for i in range(len(rows)):
                    images[i], masks[i] = self.augment(tv_tensors.Image(images[i]), tv_tensors.Mask(masks[i]))
        return normalize(images), masks.long()


class Splits(NamedTuple):
    """train (augmented), val and test (never augmented)."""

    train: PetDataset
    val: PetDataset
    test: PetDataset


def load_splits(source: Source, size: int = 128, augment: Callable | None = None, cache: Path | None = None) -> Splits:
    """The official trainval list split 75:25 by breed, and the official test list.

    Args:
        source: from `find_dataset`.
        size: height and width in pixels that pairs are squashed to.
        augment: applied to the training pairs only, such as `default_augmentation()`.
        cache: folder of the decoded arrays, data/cache/ in the clone if None.
    """
    trainval, test = decode(source, "trainval", size, cache), decode(source, "test", size, cache)
    train, val = split_indices(trainval.breeds)
    return Splits(PetDataset(trainval, train, augment), PetDataset(trainval, val), PetDataset(test))


def make_loader(
    dataset: PetDataset, batch_size: int = 16, shuffle: bool = False, seed: int = 0, num_workers: int = 0
) -> DataLoader:
    """Batches of images (N, 3, size, size) and masks (N, size, size); the last may be smaller.

    No workers are needed, and none is the safe choice in notebooks: the arrays are decoded already. On a fast
    GPU a few workers keep up with the augmentation.
    """
    return DataLoader(
        dataset,
        batch_size=batch_size,
        shuffle=shuffle,
        num_workers=num_workers,
        collate_fn=_as_is,
        generator=torch.Generator().manual_seed(seed),
        pin_memory=torch.cuda.is_available(),
    )


def normalize(images: Tensor) -> Tensor:
    """RGB uint8 (..., 3, H, W) to float32 with about zero mean and unit variance.

    Raises ValueError for anything else, such as an image that was scaled to 0..1 before.
    """
    if images.dtype != torch.uint8 or images.ndim < 3 or images.shape[-3] != 3:
        raise ValueError(
            f"normalize takes RGB images of bytes, uint8 (..., 3, H, W), not {images.dtype} {tuple(images.shape)}:"
            ' do not scale before, and open files with Image.open(path).convert("RGB")'
        )
    mean, std = _statistics(images)  # in place: the same numbers as v2's ToDtype and Normalize, ten times faster
    return images.to(torch.float32, copy=True).mul_(1 / 255).sub_(mean).div_(std)


def denormalize(images: Tensor) -> Tensor:
    """The inverse of `normalize`, up to RGB float32 in 0..1."""
    mean, std = _statistics(images)
    return (images * std + mean).clamp(0, 1)


def _statistics(images: Tensor) -> tuple[Tensor, Tensor]:
    mean, std = (torch.tensor(values, device=images.device)[:, None, None] for values in (MEAN, STD))
    return mean, std


@contextmanager
def _one_thread():
    """Small images gain nothing from several threads, and on a busy machine lose 100-fold in waiting for them."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _as_is(batch):
    return batch  # PetDataset.__getitems__ has made it one


def _fingerprint(source: Source, names: tuple[str, ...]) -> str:
    digest = hashlib.sha256(b"2")  # raise when what is stored changes
    for name in names:
        for path in (source.image_path(name), source.trimap_path(name)):
            try:
                stat = path.stat()
            except FileNotFoundError:
                continue  # PairReader says so, with the mend
            digest.update(f"{path} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:12]


def _write_arrays(reader: PairReader, size: int, folder: Path) -> None:
    """Write images.npy and masks.npy pair by pair: never more than one in memory."""
    shapes = {"images": (len(reader), 3, size, size), "masks": (len(reader), size, size)}
    with open(folder / "images.npy", "wb") as images, open(folder / "masks.npy", "wb") as masks:
        for file, shape in ((images, shapes["images"]), (masks, shapes["masks"])):
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
        for i in progress(range(len(reader)), f"decoding {reader.split}"):
            image, mask = resize_pair(*reader[i], size)
            images.write(image.numpy().tobytes())
            masks.write(mask.numpy().tobytes())
        for file in (images, masks):
            file.flush()
            os.fsync(file.fileno())
