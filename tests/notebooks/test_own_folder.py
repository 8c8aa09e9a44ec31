"""Notebook 10 on a folder that is not ours: two classes, colors, three sizes, no groups."""

import re
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from PIL import Image

NOTEBOOK = Path(__file__).resolve().parents[2] / "notebooks" / "10_your_own_images.ipynb"
SIZES = ((150, 220), (300, 200), (260, 260))


@pytest.fixture
def pores(tmp_path):
    """Disks on noise; masks of 0 and 255 under other names."""
    root, rng = tmp_path / "pores", np.random.default_rng(0)
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
    (root / "classes.csv").write_text("value,name\n0,ground\n255,pore\n")

    for number in range(9):
        height, width = SIZES[number % len(SIZES)]
        rows, columns = np.mgrid[:height, :width]
        mask = np.zeros((height, width), bool)
        for _ in range(12):
            row, column, radius = rng.integers((0, 0, 6), (height, width, 14))
            mask |= np.hypot(rows - row, columns - column) < radius
        light = rng.normal(120, 20, (height, width, 3)) + mask[..., None] * np.array([60, -30, -40])
        image = Image.fromarray(light.clip(0, 255).astype(np.uint8))
        image.save(root / "images" / f"p{number}.jpg", quality=95)
        Image.fromarray(mask * np.uint8(255)).save(root / "masks" / f"p{number}_mask.png")
    return root


@pytest.mark.slow
def test_notebook_10_takes_a_folder_of_ones_own(pores, tmp_path, monkeypatch):
    monkeypatch.setenv("UNET_HOME", str(tmp_path / "home"))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    settings = next(cell for cell in notebook.cells if cell.source.startswith("FOLDER = None"))
    settings.source += f"\nFOLDER, COUNTED, EPOCHS = {str(pores)!r}, ('pore',), 1"

    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()

    said = "\n".join(
        output.get("text", "") for c in notebook.cells for output in c.get("outputs", [])
    )
    dataset = "Dataset: pores, 9 pairs, each its own group (5 train, 2 val, 2 test), classes:"
    assert f"{dataset} ground, pore." in said
    assert "pores: 0 errors, 0 warnings." in said
    assert "IoU: ground" in said and "dividing" not in said

    # True masks are cut at necks to count by: regions that are not are as many, or fewer.
    found = re.search(
        r"perfect mask, regions +([+-][\d.]+)% on average, from dish to dish \d", said
    )
    assert found and -100 < float(found[1]) <= 0
