import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from helpers.data import Splits, load_splits
from helpers.datasets import synthetic
from helpers.datasets.pets import PetFolder, find_dataset
from helpers.transforms import default_augmentation

import matplotlib
import matplotlib.pyplot as plt
import pytest
import torch

matplotlib.use("Agg")
if "PYTEST_XDIST_WORKER" in os.environ:  # two processes share the cores, and so do their kernels
    torch.set_num_threads(1)
    os.environ.setdefault("OMP_NUM_THREADS", "1")

COUNT = 74  # pairs: two of each breed, one for training and one for the test


@pytest.fixture(autouse=True)
def no_figure_left_open() -> Iterator[None]:
    """A figure stays in memory until it is closed."""
    before = plt.get_fignums()
    yield
    assert plt.get_fignums() == before, "the test leaves figures open"


@pytest.hookimpl(tryfirst=True)  # before -m "not slow" chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Each notebook, run by nbval, is a slow test."""
    for item in items:
        if item.path.suffix == ".ipynb":
            item.add_marker("slow")


@pytest.fixture(scope="session")
def drawn(tmp_path_factory) -> PetFolder:
    """74 of the shipped synthetic pairs. Tests must not change them: see `drawn_copy`."""
    root = tmp_path_factory.mktemp("drawn")
    synthetic.extract(root)

    # One pair of each breed remains in each list; the files of the others stay, unlisted.
    for split in ("trainval", "test"):
        path = root / "oxford-iiit-pet" / "annotations" / f"{split}.txt"
        first = {line.split()[1]: line for line in reversed(path.read_text().splitlines())}
        path.write_text(
            "\n".join(sorted(first.values(), key=lambda line: int(line.split()[1]))) + "\n"
        )
    return find_dataset(root)


@pytest.fixture
def drawn_copy(drawn, tmp_path) -> PetFolder:
    """A copy that a test may damage: eight pairs, four for training, four for the test."""
    folder = tmp_path / "oxford-iiit-pet"
    (folder / "annotations" / "trimaps").mkdir(parents=True)
    (folder / "images").mkdir()
    copy = PetFolder(tmp_path, "synthetic", 8)
    shutil.copy(drawn.folder / synthetic.MARKER, folder)

    for split in ("trainval", "test"):
        lines = (drawn.folder / "annotations" / f"{split}.txt").read_text().splitlines()[:4]
        (folder / "annotations" / f"{split}.txt").write_text("\n".join(lines) + "\n")
        for name in (line.split()[0] for line in lines):
            shutil.copy(drawn.image_path(name), copy.image_path(name))
            shutil.copy(drawn.trimap_path(name), copy.trimap_path(name))
    return copy


@pytest.fixture(scope="session")
def splits(drawn, tmp_path_factory) -> Splits:
    """The 74 pairs at 64 px, training pairs augmented."""
    return load_splits(drawn, 64, default_augmentation(), tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def real() -> PetFolder:
    """Photographs, where PETS_DATA names a folder of them."""
    root = os.environ.get("PETS_DATA")
    if root is None:
        pytest.skip("no photographs here: set PETS_DATA to the folder that holds oxford-iiit-pet/")
    return find_dataset(Path(root))


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)
