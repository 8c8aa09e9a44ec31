"""What notebook 09 shows of records: with some, which are made up here, and without."""

import contextlib
import io
import random
from functools import partial
from pathlib import Path

from helpers.studies.records import write_record
from helpers.teaching.outputs import Described, from_records

import nbformat
import pytest
from IPython.display import Markdown

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "09_start_from_a_pretrained_encoder.ipynb"
WEIGHTS = {"random": "", "synthetic": "synthetic", "ImageNet": "imagenet"}
ENCODER = ("one rate, 3e-3", "a tenth for the encoder", "frozen", "random weights")


def record(name: str, seed: int, weights: str, pairs: int) -> dict:
    """A run whose scores are random numbers: no score of anything."""
    draw = random.Random(f"{name}{seed}")
    ious = {c: draw.uniform(0.3, 0.9) for c in ("pet", "background", "border")}
    miou = sum(ious.values()) / 3
    scores = {"miou": miou, "interval": [miou - 0.01, miou + 0.01], "iou": ious}
    return {
        "name": name,
        "seed": seed,
        "dataset": "made up",
        "pairs": {"train": pairs, "val": 9, "test": 9},
        "split_hash": "0",
        "size": 128,
        "model": "PretrainedUNet" if weights == "imagenet" else "UNet",
        "parameters": 1_000_000,
        "settings": {"training": {"learning_rate": 1e-3}, "experiment": {"weights": weights}},
        "minutes": 1.0,
        "history": {"seconds": [1.0, 1.0]},
        "val": scores | {"own_size": scores},
        "test": scores,
    }


@pytest.fixture
def folder(tmp_path) -> Path:
    made = [
        ("little-data", record(f"{name}, {pairs}", seed, weights, pairs))
        for name, weights in WEIGHTS.items()
        for pairs in (100, 400)
        for seed in (0, 1, 2)
    ]
    made += [
        ("encoder", record(name, seed, "imagenet", 400)) for name in ENCODER for seed in (0, 1)
    ]
    made += [("results", record(name, 0, w, 400)) for name, w in WEIGHTS.items()]
    for i, (study, one) in enumerate(made):
        write_record(one, tmp_path / study / f"{i}.json")
    return tmp_path


def shown(folder: Path) -> dict[str, object]:
    """What each cell of the notebook that reads records shows, and the answer to exercise 5."""
    cells = [c for c in nbformat.read(NOTEBOOK, as_version=4).cells if c.cell_type == "code"]
    names: dict = {}
    exec(cells[0].source, names)
    names["from_records"] = partial(from_records, folder=folder)
    found = {}
    for cell in cells[1:]:
        if "from_records(" in cell.source:
            before, _, last = cell.source.rpartition("from_records(")
            exec(before, names)
            found[last] = eval(f"from_records({last}", names)
    return found


def test_each_table_and_figure_is_made_of_the_records(folder):
    little, curve, encoder, results = shown(folder).values()
    assert isinstance(curve, Described)
    for table, rows in (
        (little, ("random", "synthetic pets", "ImageNet, in the encoder")),
        (encoder, ENCODER),
        (results, tuple(WEIGHTS)),
    ):
        assert isinstance(table, Markdown)
        firsts = [line.split("|")[1].strip() for line in table.data.splitlines()[2:]]
        assert sorted(firsts) == sorted(rows)


def test_without_records_each_says_so(tmp_path):
    for text in shown(tmp_path).values():
        assert isinstance(text, Markdown) and "No records of the study" in text.data


def test_the_solution_of_exercise_5_reads_the_records(folder):
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    text = next(c.source for c in cells if "def compare_curves(" in c.source)
    names: dict = {}
    exec(next(c.source for c in cells if c.cell_type == "code"), names)
    names["from_records"] = partial(from_records, folder=folder)
    exec(next(c.source for c in cells if "def curves_of(" in c.source), names)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(text.split("```python\n")[1].split("```")[0], names)
    found = eval(out.getvalue())
    assert set(found) == {
        "random (UNet)",
        "synthetic pets (UNet)",
        "ImageNet, in the encoder (PretrainedUNet)",
    }
    assert set(found.values()) <= {100, 400, None} and found["random (UNet)"] in (100, 400)
