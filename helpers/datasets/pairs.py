"""Pairs decoded once, squashed to one size, and kept as memory-mapped arrays. Notebook 02."""

import hashlib
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

from helpers.constants import CLASS_COLORS, CLASS_NAMES
from helpers.datasets.pets import PairReader, PetFolder
from helpers.files import atomic, home, make_folder
from helpers.transforms import resize_pair

import numpy as np
import torch
from torch import Tensor
from tqdm import trange


@dataclass(frozen=True)
class Pairs:
    """Images and masks of one size, with what is known of them.

    Shapes: images uint8 (N, 3, size, size); masks uint8 (N, size, size), class numbers from 0 on,
    or `IGNORE_INDEX`; breeds int64 (N,), what a split is to balance, or None.

    Args:
        dataset: the name that results must be labeled with.
        names: of the N pairs.
        class_names, class_colors: of the classes 0, 1, ...; the pets' are the default.
        source, split: the official list that the pairs were decoded from, if any.

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
    source: PetFolder | None = None
    split: str = ""
    arrays: Path | None = field(default=None, init=False)

    def __len__(self) -> int:
        return len(self.names)

    def __getstate__(self) -> dict:
        """What is sent to another process: not the arrays, if that process can open their files."""
        left_out = ("images", "masks") if self.arrays else ()
        return {key: value for key, value in self.__dict__.items() if key not in left_out}

    def __setstate__(self, state: dict) -> None:
        if "arrays" in state:
            images, masks = open_arrays(state["arrays"])
            state = state | {"images": images, "masks": masks}
        self.__dict__.update(state)


def decode(source: PetFolder, split: str, size: int = 128, cache: Path | None = None) -> Pairs:
    """Decode one official list once, squashed to size x size, and keep the arrays in data/cache/.

    Images are resized bilinearly with antialiasing, masks by NEAREST_EXACT. The cache is keyed
    by the names, sizes and times of the files that it was made from.

    Raises FileNotFoundError or ValueError that names the missing or bad file, OSError for a cache
    folder that cannot be written or a full disk. Nothing is left behind then.
    """
    reader = PairReader(source, split)
    folder = cache_arrays(reader, size, cache or home() / "data" / "cache")
    known = (reader.names, *open_arrays(folder), torch.tensor(reader.breeds))
    pairs = Pairs(source.name, *known, source=source, split=split)
    object.__setattr__(pairs, "arrays", folder)  # a frozen dataclass
    return pairs


def cache_arrays(reader: PairReader, size: int, cache: Path) -> Path:
    """The folder in `cache` with the decoded pairs, which is made if it is not there.

    Its name is a key of the names, sizes and times of the files, not of their place: a dataset or a
    clone may be moved.

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
    """
    images, masks = (np.load(folder / f"{kind}.npy", mmap_mode="c") for kind in ("images", "masks"))
    return torch.from_numpy(images), torch.from_numpy(masks)


def _fingerprint(reader: PairReader) -> str:
    digest = hashlib.sha256(b"3")  # raise when what is stored changes
    for name in reader.names:
        for path in (reader.source.image_path(name), reader.source.trimap_path(name)):
            try:
                stat = path.stat()
            except FileNotFoundError:
                continue  # the reader says so, with the mend
            digest.update(f"{path.name} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:12]


def _write_arrays(reader: PairReader, size: int, folder: Path) -> None:
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
