"""Where the dataset comes from: find the Oxford-IIIT Pet dataset or draw its stand-in, and read pairs from it.

Source: Parkhi, Vedaldi, Zisserman and Jawahar, "Cats and Dogs", CVPR 2012. All datasets are in the official
layout, `oxford-iiit-pet/{images,annotations}`, and are read by torchvision. Notebook 01.
"""

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from torchvision.datasets import OxfordIIITPet
from tqdm import tqdm

from helpers import sketch

FULL_COUNT = 7349
_clone = Path(__file__).resolve().parents[1]
HOME = _clone if (_clone / "pyproject.toml").is_file() else Path.cwd()  # where data/ and runs/ are kept


@dataclass(frozen=True)
class Source:
    """A dataset on disk: `root` holds the folder oxford-iiit-pet/, `name` is how results must be labelled."""

    root: Path
    name: str
    pairs: int

    @property
    def folder(self) -> Path:
        return self.root / "oxford-iiit-pet"

    @property
    def runs(self) -> Path:
        """Where training on this dataset keeps its checkpoints."""
        return HOME / "runs" / ("sketch" if self.name == "sketch" else f"oxford-{self.pairs}")

    def image_path(self, name: str) -> Path:
        return self.folder / "images" / f"{name}.jpg"

    def trimap_path(self, name: str) -> Path:
        return self.folder / "annotations" / "trimaps" / f"{name}.png"

    def __str__(self) -> str:
        folder = self.folder.relative_to(HOME) if self.folder.is_relative_to(HOME) else self.folder
        line = f"Dataset: {self.name}, {self.pairs} pairs, in {folder.as_posix()}."
        if self.name == "sketch":
            line += " Drawn, not photographed; for the real one, find_dataset(download=True) or set PETS_DATA."
        return line


def find_dataset(root: str | Path | None = None, download: bool = False) -> Source:
    """Find the dataset, or make one, and say in one line which it is.

    In this order: `root`; the folder that the environment variable PETS_DATA names, also with `download`; data/ in
    the clone, into which `download=True` first fetches the official 800 MB; else the embedded pets
    (`helpers.sketch`), drawn into data/sketch/ on first use.

    Raises FileNotFoundError for a named folder without the dataset, ValueError for one whose lists are empty,
    OSError for a folder that cannot be written.
    """
    named = root or os.environ.get("PETS_DATA")
    official, drawn = HOME / "data", HOME / "data" / "sketch"
    if named:
        what = "the argument `root`" if root else "PETS_DATA"
        mend = f"{what} must be the folder that holds oxford-iiit-pet/" + ("" if root else "; unset it for drawn pets")
        source = _inspect(Path(named).expanduser().resolve(), mend)
    elif download or (official / "oxford-iiit-pet").is_dir():
        if not (official / "oxford-iiit-pet").is_dir():
            _download(official)
        source = _inspect(official, f"delete {official / 'oxford-iiit-pet'} and call find_dataset(download=True)")
    else:
        if not (drawn / "oxford-iiit-pet").is_dir():
            make_folder(drawn)
            try:
                sketch.write_sketch(drawn, progress=lambda items: progress(items, "drawing pets"))
            except OSError:
                if not (drawn / "oxford-iiit-pet").is_dir():  # else another process was faster
                    raise
        source = _inspect(drawn, f"delete {drawn} and call this again")
    print(source)
    return source


def read_list(source: Source, split: str) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Names and breeds (0..36) of the official list "trainval" or "test", in its order.

    The breed's name is the part of a name before its last underscore; cats are capitalized, dogs are not.
    Raises FileNotFoundError without the list, ValueError for an empty or malformed one.
    """
    if split not in ("trainval", "test"):
        raise ValueError(f'split must be "trainval" or "test", the official lists, not {split!r}')
    path = source.folder / "annotations" / f"{split}.txt"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: copy the official list there, or download the dataset anew")
    rows = [line.split() for line in path.read_text().splitlines()]
    bad = [row for row in rows if len(row) != 4 or not all(field.isdigit() for field in row[1:])]
    if bad or not rows:
        what = f"has the line {' '.join(bad[0])!r}" if bad else "is empty"
        raise ValueError(f"{path} {what}: each line must read NAME CLASS SPECIES BREED, as in the official list")
    return tuple(row[0] for row in rows), tuple(int(row[1]) - 1 for row in rows)


class PairReader:
    """The pairs of one official list in their own size, each checked as it is read.

    reader[i] is a photo (PIL, RGB) and its mask, uint8 (H, W): 0 pet, 1 background, 2 border. Iterating
    gives them in the order of the list. A bad pair raises FileNotFoundError or ValueError that names the file
    and the mend.
    """

    def __init__(self, source: Source, split: str) -> None:
        self.source, self.split = source, split
        self.names, self.breeds = read_list(source, split)
        self._dataset = OxfordIIITPet(source.root, split, target_types="segmentation")

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[Image.Image, np.ndarray]:
        name = self.names[index]
        image_path, trimap_path = self.source.image_path(name), self.source.trimap_path(name)
        for path in (image_path, trimap_path):
            if not path.is_file():
                raise FileNotFoundError(
                    f"{path} is missing, but annotations/{self.split}.txt names it: restore the file, or delete"
                    " the line from the list"
                )
        try:
            for reading in (image_path, trimap_path):
                Image.open(reading).close()  # a header that is no image's, blamed on the right file
            reading = image_path
            image, trimap_image = self._dataset[index]  # Pillow goes by content: a PNG named .jpg is read as PNG
            reading = trimap_path
            trimap = np.asarray(trimap_image)
        except (OSError, SyntaxError, ValueError) as error:
            raise ValueError(f"{reading} cannot be decoded ({error}): copy or download it again") from error
        if trimap.ndim != 2:
            raise ValueError(
                f"{trimap_path} has {trimap.shape[-1]} channels (mode {trimap_image.mode}): a trimap has one, with"
                " the values 1, 2, 3; save it in mode L"
            )
        if trimap.shape != image.size[::-1]:
            raise ValueError(
                f"{trimap_path} is {trimap.shape[1]} x {trimap.shape[0]} pixels, but its photo is"
                f" {image.size[0]} x {image.size[1]}: they must be a pair of one size"
            )
        if not np.isin(trimap, (1, 2, 3)).all():
            raise ValueError(
                f"{trimap_path} holds the values {sorted(set(np.unique(trimap).tolist()))[:8]}: a trimap holds only"
                " 1 (pet), 2 (background) and 3 (border)"
            )
        return image, trimap.astype(np.uint8) - 1


def make_folder(path: Path) -> None:
    """Make a folder that can be written to, or raise OSError that says what to do."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        if not os.access(path, os.W_OK):
            raise PermissionError("no permission to write")
    except OSError as error:
        raise OSError(
            f"cannot write to {path} ({error.strerror or error}): make the folder writable, or clone the project"
            " into a folder of your own"
        ) from error


def progress(items, what: str) -> tqdm:
    """A progress bar on standard output that vanishes when done."""
    return tqdm(items, desc=what, leave=False, file=sys.stdout)


def _inspect(root: Path, mend: str) -> Source:
    folder = root / "oxford-iiit-pet"
    for needed in (folder, folder / "images", folder / "annotations" / "trimaps"):
        if not needed.is_dir():
            hint = f" (here, {root.parent})" if root.name == folder.name else ""
            raise FileNotFoundError(f"{needed} does not exist, so {root} does not hold the dataset: {mend}{hint}")
    unofficial = Source(root, "", 0)
    count = sum(len(read_list(unofficial, split)[0]) for split in ("trainval", "test"))
    if (folder / sketch.MARKER).is_file():
        name = "sketch"
    else:
        name = "Oxford-IIIT Pet (full)" if count == FULL_COUNT else f"Oxford-IIIT Pet ({count}-pair part)"
    return Source(root, name, count)


def _download(root: Path) -> None:
    """Fetch the official archives into root/download/, check, extract, and move the dataset to root/ when whole.

    After a break, an archive that is complete (by its checksum) is kept and anything else starts again.
    """
    partial = root / "download"
    folder = partial / "oxford-iiit-pet"
    make_folder(folder)
    for extracted in ("images", "annotations"):  # of a break while extracting
        shutil.rmtree(folder / extracted, ignore_errors=True)
    try:
        OxfordIIITPet(partial, download=True)
    except (OSError, RuntimeError, EOFError) as error:
        raise OSError(
            f"the download into {partial} did not finish ({error}): call find_dataset(download=True) again; what is"
            " complete is kept"
        ) from error
    for archive in folder.glob("*.tar.gz"):
        archive.unlink()
    folder.rename(root / "oxford-iiit-pet")
    partial.rmdir()
