"""The Oxford-IIIT Pet dataset, or its synthetic stand-in: find, list, read its pairs. Notebook 01.

Source: Parkhi, Vedaldi, Zisserman and Jawahar, "Cats and Dogs", CVPR 2012. All datasets are in the
official layout, `oxford-iiit-pet/{images,annotations}`.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from helpers import files
from helpers.constants import CLASS_COLORS, CLASS_NAMES
from helpers.datasets import synthetic

import numpy as np
from PIL import Image

FULL_COUNT = 7349
SPLITS = ("trainval", "test")  # the official lists


@dataclass(frozen=True)
class PetFolder:
    """A dataset on disk: `root` holds oxford-iiit-pet/, `name` labels results."""

    root: Path
    name: str
    count: int

    lists = SPLITS
    class_names, class_colors = CLASS_NAMES, CLASS_COLORS
    reading: ClassVar[dict] = {}  # nothing but RGB with 8 bits

    def reader(self, split: str) -> "PairReader":
        return PairReader(self, split)

    @property
    def folder(self) -> Path:
        return self.root / "oxford-iiit-pet"

    @property
    def is_synthetic(self) -> bool:
        return self.name == "synthetic"

    @property
    def runs(self) -> Path:
        """Where training on this dataset keeps its checkpoints."""
        return files.home() / "runs" / (self.name if self.is_synthetic else f"oxford-{self.count}")

    @property
    def weights(self) -> str:
        """The name of the shipped weights for it, see `load_model`. Card: weights/README.md."""
        return "synthetic" if self.is_synthetic else "pets"

    def image_path(self, name: str) -> Path:
        return self.folder / "images" / f"{name}.jpg"

    def trimap_path(self, name: str) -> Path:
        return self.folder / "annotations" / "trimaps" / f"{name}.png"

    def __str__(self) -> str:
        home = files.home()
        folder = self.folder.relative_to(home) if self.folder.is_relative_to(home) else self.folder
        line = f"Dataset: {self.name}, {self.count} pairs, in {folder.as_posix()}."
        if self.is_synthetic:
            line += "\nDrawings; for photographs, set PETS_DATA or call find_dataset(download=True)"
        return line


def find_dataset(root: str | Path | None = None, download: bool = False) -> PetFolder:
    """Find the dataset, and say which it is.

    In this order: `root`; the folder that the environment variable PETS_DATA names, also with
    `download`; data/, into which `download=True` first fetches the official 800 MB; else the
    synthetic pets, unpacked into data/ on first use.

    Raises FileNotFoundError for a named folder without the dataset, ValueError for one whose lists
    are empty, OSError for a folder that cannot be written.
    """
    named, data = root or os.environ.get("PETS_DATA"), files.home() / "data"
    if named:
        argument = "the argument `root`" if root else "PETS_DATA"
        mend = f"{argument} must be the folder that holds oxford-iiit-pet/"
        mend += "" if root else "; unset it for the synthetic pets"
        found = _inspect(Path(named).expanduser().resolve(), mend)

    elif download or (data / "oxford-iiit-pet").is_dir():
        if not (data / "oxford-iiit-pet").is_dir():
            _download(data)
        found = _inspect(
            data, f"delete {data / 'oxford-iiit-pet'} and call find_dataset(download=True)"
        )

    else:
        drawings = synthetic.synthetic_root(data)
        synthetic.extract(drawings)
        found = _inspect(drawings, f"delete {drawings} and call this again")

    print(found)
    return found


def read_list(source: PetFolder, split: str) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Names and breeds (0..36) of the official list "trainval" or "test", in its order.

    The breed's name is the part of a name before its last underscore; cats are capitalized, dogs
    are not. Raises FileNotFoundError without the list, ValueError for an empty or malformed one.
    """
    if split not in SPLITS:
        raise ValueError(f'split must be "trainval" or "test", the official lists, not {split!r}')
    path = source.folder / "annotations" / f"{split}.txt"
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing: copy the official list there, or download the dataset again"
        )

    text = path.read_text(encoding="utf-8", errors="replace")  # a broken name is no file's
    rows = [line.split() for line in text.splitlines()]
    bad = [row for row in rows if len(row) != 4 or not all(field.isdigit() for field in row[1:])]
    if bad or not rows:
        what = f"has the line {' '.join(bad[0])!r}" if bad else "is empty"
        raise ValueError(
            f"{path} {what}: each line must read NAME CLASS SPECIES BREED, as in the official list"
        )
    return tuple(row[0] for row in rows), tuple(int(row[1]) - 1 for row in rows)


class PairReader:
    """The pairs of one official list at their original resolution, each checked as it is read.

    reader[i] is an image (PIL, RGB) and its mask, uint8 (H, W): 0 pet, 1 background, 2 border.
    Iterating gives them in the order of the list. A bad pair raises FileNotFoundError or ValueError
    that names the file and the mend.
    """

    def __init__(self, source: PetFolder, split: str) -> None:
        self.source, self.split = source, split
        self.names, self.breeds = read_list(source, split)
        self.strata, self.key = self.breeds, ""  # what a split is to balance

    def __len__(self) -> int:
        return len(self.names)

    def paths(self, index: int) -> tuple[Path, Path]:
        """Of the image, and of its trimap."""
        name = self.names[index]  # an IndexError here ends an iteration
        return self.source.image_path(name), self.source.trimap_path(name)

    def __getitem__(self, index: int) -> tuple[Image.Image, np.ndarray]:
        image_path, path = self.paths(index)
        image = self._open(image_path).convert("RGB")
        trimap = np.asarray(self._open(path))

        _check_trimap(path, trimap, image.size)
        return image, trimap.astype(np.uint8) - 1

    def _open(self, path: Path) -> Image.Image:
        """A decoded image file. Pillow goes by the content: a PNG named .jpg is read as PNG."""
        try:
            image = Image.open(path)
            image.load()
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"{path} is missing, but annotations/{self.split}.txt names it: restore the file,"
                " or delete the line from the list"
            ) from error
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise ValueError(
                f"{path} cannot be decoded ({error}): copy or download it again"
            ) from error
        return image


def _check_trimap(path: Path, trimap: np.ndarray, image_size: tuple[int, int]) -> None:
    """Raise ValueError for a trimap that does not fit its image (width, height) or is none."""
    if trimap.ndim != 2:
        raise ValueError(
            f"{path} has {trimap.shape[-1]} channels: a trimap has one, with the values 1, 2, 3;"
            " save it in mode L"
        )
    if trimap.shape != image_size[::-1]:
        raise ValueError(
            f"{path} is {trimap.shape[1]} x {trimap.shape[0]} pixels, but its image is"
            f" {image_size[0]} x {image_size[1]}: they must be a pair of one size"
        )
    if not np.isin(trimap, (1, 2, 3)).all():
        raise ValueError(
            f"{path} holds the values {np.unique(trimap).tolist()[:8]}: a trimap holds only 1"
            " (pet), 2 (background) and 3 (border)"
        )


def _inspect(root: Path, mend: str) -> PetFolder:
    """The dataset in `root`, with its name. Raises FileNotFoundError that ends in `mend`."""
    folder = root / "oxford-iiit-pet"
    for needed in (folder, folder / "images", folder / "annotations" / "trimaps"):
        if not needed.is_dir():
            hint = f" (here, {root.parent})" if root.name == folder.name else ""
            raise FileNotFoundError(
                f"{needed} does not exist, so {root} does not hold the dataset: {mend}{hint}"
            )

    count = sum(len(read_list(PetFolder(root, "", 0), split)[0]) for split in SPLITS)
    if (folder / synthetic.MARKER).is_file():
        return PetFolder(root, "synthetic", count)
    part = "full" if count == FULL_COUNT else f"{count}-pair part"
    return PetFolder(root, f"Oxford-IIIT Pet ({part})", count)


def _download(data: Path) -> None:
    """Fetch the official archives into data/download/, check, extract, and move them to data/.

    After a break, an archive that is complete (by its checksum) is kept; anything else starts
    again.
    """
    from torchvision.datasets import (
        OxfordIIITPet,  # only here: reading the dataset does not need it
    )

    partial = data / "download"
    folder = partial / "oxford-iiit-pet"
    files.make_folder(folder)
    for extracted in ("images", "annotations"):  # of a break while extracting
        shutil.rmtree(folder / extracted, ignore_errors=True)

    try:
        OxfordIIITPet(partial, download=True)
    except (OSError, RuntimeError, EOFError) as error:
        raise OSError(
            f"the download into {partial} did not finish ({error}): call"
            " find_dataset(download=True) again; what is complete is kept"
        ) from error

    # Its name first: where that fails (a virus scanner holds a file), nothing is fetched again.
    whole = data / "oxford-iiit-pet"
    folder.rename(whole)
    for archive in whole.glob("*.tar.gz"):
        archive.unlink()
    shutil.rmtree(partial, ignore_errors=True)
