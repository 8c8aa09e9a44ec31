"""Pairs decoded once, squashed to one size, and kept as memory-mapped arrays."""

import hashlib
import os
import sys
from pathlib import Path

from helpers.datasets.pets import PairReader
from helpers.files import atomic, make_folder
from helpers.transforms import resize_pair

import numpy as np
import torch
from torch import Tensor
from tqdm import trange


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
