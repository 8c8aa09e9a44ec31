"""Pairs decoded once, at one size, and kept as memory-mapped arrays. Notebook 02."""

import hashlib
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from helpers.constants import CLASS_COLORS, CLASS_NAMES, IGNORE_INDEX
from helpers.datasets.folder import OwnFolder
from helpers.datasets.images import size_of
from helpers.datasets.pets import PetFolder
from helpers.files import atomic, home, make_folder
from helpers.transforms import resize_pair

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2
from tqdm import trange

HEADER = 128  # bytes of an array's file before its numbers
PADDING = 124  # the gray of the augmentation
Source = PetFolder | OwnFolder


class Reader(Protocol):
    """What reads the pairs of one split: reader[i] is an image (PIL, RGB) and its mask (H, W).

    key: what the pixels depend on besides the files, such as the classes of mask values.
    """

    split: str
    names: tuple[str, ...]
    key: str

    @property
    def strata(self) -> Sequence[int] | None: ...
    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> tuple[Image.Image, np.ndarray]: ...
    def paths(self, index: int) -> tuple[Path, Path]: ...


@dataclass(frozen=True)
class Pairs:
    """Images and masks of one size, with what is known of them.

    Shapes: images uint8 (N, 3, size, size); masks uint8 (N, size, size), class numbers from 0 on,
    or `IGNORE_INDEX`; breeds int64 (N,), what a split is to balance, or None.

    Args:
        dataset: the name that results must be labeled with.
        names: of the N pairs.
        class_names, class_colors: of the classes 0, 1, ...; the pets' are the default.
        source, split: where the pairs were decoded from, if anywhere.
        scale: None for whole images, squashed; a number for tiles of images enlarged by it.

    `arrays` is the folder of the memory-mapped arrays, if any: a process that is spawned opens them
    again. To change pixels, use `dataclasses.replace`, whose result has no such folder.
    """

    dataset: str
    names: tuple[str, ...]
    images: Tensor
    masks: Tensor
    breeds: Tensor | None = None
    class_names: tuple[str, ...] = CLASS_NAMES
    class_colors: tuple[str, ...] = CLASS_COLORS
    source: Source | None = None
    split: str = ""
    scale: float | None = None
    arrays: Path | None = field(default=None, init=False)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def image_numbers(self) -> Tensor:
        """Which image each pair is of, int64 (N,), from 0 on: the tiles of one have its number."""
        is_tiled = self.scale is not None
        images = [name.rpartition(" ")[0] if is_tiled else name for name in self.names]
        numbers = {image: k for k, image in enumerate(dict.fromkeys(images))}
        return torch.tensor([numbers[image] for image in images], dtype=torch.int64)

    @property
    def image_breeds(self) -> Tensor | None:
        """The breed of each image, int64, or None: `breeds` has that of each of its tiles."""
        first = np.unique(self.image_numbers, return_index=True)[1]
        return None if self.breeds is None else self.breeds[first]

    def pairs_of(self, images: Tensor) -> Tensor:
        """The positions of all pairs that are of these images, given by their numbers."""
        return torch.isin(self.image_numbers, images).nonzero()[:, 0]

    def __getstate__(self) -> dict:
        """What is sent to another process: not the arrays, if that process can open their files."""
        left_out = ("images", "masks") if self.arrays else ()
        return {key: value for key, value in self.__dict__.items() if key not in left_out}

    def __setstate__(self, state: dict) -> None:
        if "arrays" in state:
            images, masks = open_arrays(state["arrays"])
            state = state | {"images": images, "masks": masks}
        self.__dict__.update(state)


def decode(
    source: Source,
    split: str,
    size: int = 128,
    cache: Path | None = None,
    scale: float | None = None,
) -> Pairs:
    """Decode one list once, and keep the arrays in data/cache/.

    Images are resized bilinearly with antialiasing, masks by NEAREST_EXACT. The cache is keyed
    by the names, sizes and times of the files that it was made from.

    Args:
        split: of the pets, an official list, "trainval" or "test"; of your own, "train", "val" or
            "test".
        size: height and width of the pairs in pixels.
        scale: None squashes each image to that size; else it is enlarged by this factor (1.0: it
            stays as it is) and cut into tiles of that size.

    Raises FileNotFoundError or ValueError that names the missing or bad file, OSError for a cache
    folder that cannot be written or a full disk. Nothing is left behind then.
    """
    reader: Reader = source.reader(split)
    if scale is not None:
        reader = TileReader(reader, size, scale)

    folder = cache_arrays(reader, size, cache or home() / "data" / "cache")
    pairs = Pairs(
        source.name,
        reader.names,
        *open_arrays(folder),
        None if reader.strata is None else torch.tensor(reader.strata),
        source.class_names,
        source.class_colors,
        source,
        split,
        scale,
    )
    object.__setattr__(pairs, "arrays", folder)  # a frozen dataclass
    return pairs


class TileReader:
    """The pairs of another reader, enlarged and cut into tiles of size x size, row by row.

    Tiles share what the image is no multiple of. A smaller image is filled up: with gray, and
    ignored in the mask.
    """

    def __init__(self, reader: Reader, size: int, scale: float) -> None:
        if not 0 < scale < math.inf:
            raise ValueError(f"scale must be above 0, not {scale}")
        self.reader, self.size, self.scale = reader, size, scale
        self.split, self.key = f"{reader.split}-{scale:g}x", f"{reader.key} {scale}"
        self.places = [
            (i, top, left)
            for i in range(len(reader))
            for top, left in self._corners(*size_of(reader.paths(i)[1]))  # masks are as read
        ]
        self.names = tuple(f"{reader.names[i]} {top},{left}" for i, top, left in self.places)
        self.strata = reader.strata and [reader.strata[i] for i, *_ in self.places]
        self._last: tuple[int, Tensor, Tensor] | None = None

    def __len__(self) -> int:
        return len(self.places)

    def paths(self, index: int) -> tuple[Path, Path]:
        return self.reader.paths(self.places[index][0])

    def __getitem__(self, index: int) -> tuple[Image.Image, np.ndarray]:
        i, top, left = self.places[index]
        if self._last is None or self._last[0] != i:  # tiles of one image follow each other
            self._last = (i, *self._enlarged(i))
        window = (..., slice(top, top + self.size), slice(left, left + self.size))
        image, mask = (part[window] for part in self._last[1:])

        missing = [0, self.size - image.shape[-1], 0, self.size - image.shape[-2]]
        image = F.pad(image, missing, value=PADDING)
        mask = F.pad(mask, missing, value=IGNORE_INDEX)
        return v2.functional.to_pil_image(image), mask.numpy()

    def _corners(self, height: int, width: int) -> list[tuple[int, int]]:
        sides = (max(1, round(side * self.scale)) for side in (height, width))
        tops, lefts = (self._starts(side) for side in sides)
        return [(top, left) for top in tops for left in lefts]

    def _starts(self, side: int) -> list[int]:
        """Where tiles begin along a side: as few as cover it, at equal distances."""
        last = max(side - self.size, 0)
        return np.linspace(0, last, -(-last // self.size) + 1).round().astype(int).tolist()

    def _enlarged(self, index: int) -> tuple[Tensor, Tensor]:
        image, mask = self.reader[index]
        height, width = (max(1, round(side * self.scale)) for side in mask.shape)
        image = image.resize((width, height), Image.Resampling.BILINEAR)  # as in tiling/strips.py
        return resize_pair(image, mask, (height, width))


def cache_arrays(reader: Reader, size: int, cache: Path) -> Path:
    """The folder in `cache` with the decoded pairs, which is made if it is not there.

    Its name is a key of the names, sizes and times of the files, and of how they are read. Their
    place is no part of it: the pets, or a clone, may be moved. (It is, of a folder of your own.)

    Raises FileNotFoundError or ValueError that names a missing or bad file, OSError for a cache
    that cannot be written or a full disk. Nothing is left behind then.
    """
    folder = cache / f"{reader.split}-{size}px-{_fingerprint(reader)}"
    if not folder.is_dir():
        make_folder(cache)
        with atomic(folder) as partial:
            partial.mkdir()
            _write_arrays(reader, size, partial)
    return folder


def open_arrays(folder: Path) -> tuple[Tensor, Tensor]:
    """Images uint8 (N, 3, size, size) and masks uint8 (N, size, size), as memory maps.

    Pages are read as they are used, and a write goes to a private copy (mode "c").

    Raises ValueError for files that are not whole, OSError for some that cannot be read.
    """
    paths = [folder / f"{kind}.npy" for kind in ("images", "masks")]
    try:
        is_empty = paths[0].stat().st_size == HEADER  # nothing that could be mapped
        images, masks = (np.load(path, mmap_mode=None if is_empty else "c") for path in paths)
    except (FileNotFoundError, EOFError, ValueError) as error:
        raise ValueError(
            f"{folder} is damaged ({error}): delete it, and run this again to decode the pairs anew"
        ) from error
    return torch.from_numpy(images), torch.from_numpy(masks)


def _fingerprint(reader: Reader) -> str:
    digest = hashlib.sha256(b"3" + reader.key.encode())  # raise when what is stored changes
    for path in (path for i in range(len(reader)) for path in reader.paths(i)):
        try:
            stat = path.stat()
        except FileNotFoundError:
            continue  # the reader says so, with the mend
        digest.update(f"{path.name} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:12]


def _write_arrays(reader: Reader, size: int, folder: Path) -> None:
    """Write images.npy and masks.npy pair by pair: never more than one in memory."""
    shapes = {"images": (len(reader), 3, size, size), "masks": (len(reader), size, size)}

    with open(folder / "images.npy", "wb") as images, open(folder / "masks.npy", "wb") as masks:
        for file, shape in ((images, shapes["images"]), (masks, shapes["masks"])):
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)

        for i in trange(len(reader), desc="decoding", leave=False, file=sys.stdout):
            image, mask = resize_pair(*reader[i], size)
            images.write(image.numpy().tobytes())
            masks.write(mask.numpy().tobytes())

        # On the disk before the folder gets its final name.
        for file in (images, masks):
            file.flush()
            os.fsync(file.fileno())
