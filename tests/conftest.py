import os
from pathlib import Path

import matplotlib
import pytest
import torch

matplotlib.use("Agg")

from helpers import data, sketch, source


@pytest.fixture(scope="session")
def drawn(tmp_path_factory) -> source.Source:
    """74 drawn pairs, two for each breed. Tests must not change them: see `drawn_copy`."""
    root = tmp_path_factory.mktemp("drawn")
    sketch.write_sketch(root, count=74, seed=0)
    return source.find_dataset(root)


@pytest.fixture
def drawn_copy(drawn, tmp_path) -> source.Source:
    """A copy that a test may damage: eight pairs, four for training, four for the test."""
    import shutil

    folder = tmp_path / "oxford-iiit-pet"
    (folder / "annotations" / "trimaps").mkdir(parents=True)
    (folder / "images").mkdir()
    copy = source.Source(tmp_path, "sketch", 8)
    shutil.copy(drawn.folder / sketch.MARKER, folder)
    for split in ("trainval", "test"):
        lines = (drawn.folder / "annotations" / f"{split}.txt").read_text().splitlines()[:4]
        (folder / "annotations" / f"{split}.txt").write_text("\n".join(lines) + "\n")
        for name in (line.split()[0] for line in lines):
            shutil.copy(drawn.image_path(name), copy.image_path(name))
            shutil.copy(drawn.trimap_path(name), copy.trimap_path(name))
    return copy


@pytest.fixture(scope="session")
def splits(drawn, tmp_path_factory) -> data.Splits:
    """The 74 pairs at 64 px, training pairs augmented."""
    return data.load_splits(drawn, 64, data.default_augmentation(), tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def real() -> source.Source:
    """The real part, where PETS_DATA names it or it stands in shared/ beside the clone."""
    beside = Path(__file__).resolve().parents[2] / "shared"
    root = os.environ.get("PETS_DATA") or (beside if (beside / "oxford-iiit-pet").is_dir() else None)
    if root is None:
        pytest.skip("no real photographs here: set PETS_DATA to the folder that holds oxford-iiit-pet/")
    return source.find_dataset(root)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)
