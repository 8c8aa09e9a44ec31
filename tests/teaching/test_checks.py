"""Every exercise: unanswered it says so, wrong answers get their hint, the solution is right.

Only the cells of exercises, checks and solutions run, in a namespace with small stand-ins for what
the lesson has made until then. The lessons themselves are run by nbval.
"""

import contextlib
import io
import math
import re
from pathlib import Path

from helpers.data import Splits
from helpers.datasets.pets import PairReader, PetFolder
from helpers.metrics import ConfusionMatrix
from helpers.model import DoubleConv, Down
from helpers.teaching.checks import nb02, nb03, nb04, nb05, nb06, nb10, verdict

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
import torch
from torch import nn
from wrong_answers import ALSO_RIGHT, WRONG, held_out

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
NOTEBOOKS = [path for path in sorted(FOLDER.glob("*.ipynb")) if path.name[:2] not in ("00", "08")]
FOLD = re.compile(r"<details><summary>Exercise .*?</summary>\s*```python\n(.*?)```", re.DOTALL)


def stand_ins(notebook: str, splits: Splits, drawn: PetFolder) -> dict:
    """What exercises and solutions of a notebook use of its lesson, small and without training."""
    pairs, logits = splits.val.pairs, torch.randn(4, 3, 64, 64)
    masks = pairs.masks[:4].long()
    fractions = torch.tensor([(pairs.masks == k).double().mean() for k in range(3)])
    confusion = ConfusionMatrix.of(logits.argmax(dim=1), masks)
    made: dict[str, dict] = {
        "01": {
            "pairs": pairs,
            "test_pairs": splits.test.pairs,
            "fractions": fractions,
            "SIZE": 64,
            "frequency": torch.stack([(pairs.masks == k).double().mean(dim=0) for k in range(3)]),
        },
        "02": {
            "reader": PairReader(drawn, "trainval"),
            "some": torch.arange(8),
            "SIZE": 64,
            "SEED": 0,
            "stretch": torch.rand(8),
            "small": pairs.images[0],
            "small_mask": pairs.masks[0],
        },
        "03": {
            "NUM_CLASSES": 3,
            "BASE_CHANNELS": 16,
            "DEPTH": 4,
            "SEED": 0,
            "total": 1_944_000,
            "Down": Down,
            "train_on_ellipses": lambda network, seed: network,
            "draw_ellipses": lambda size, generator: (torch.randn(2, 3, size, size), masks[:2]),
        },
        "04": {
            "about": {"epoch": 2},
            "history": {"val_miou": [0.1, 0.3, 0.2], "val_loss": [3.0, 2.0, 1.0]},
        },
        "05": {"result": confusion},
        "06": {
            "val_logits": logits,
            "val_masks": masks,
            "confidence": logits.softmax(dim=1).amax(dim=1),
            "predictions": logits.argmax(dim=1),
            "masks": masks,
            "SEEDS": (0,),
            "plant": lambda masks, seed: (masks, (torch.arange(len(masks)) < 2).long()),
            "suspicious": lambda given: torch.rand(len(given)),
        },
        "07": {
            "source": drawn,
            "SEED": 0,
            "luck": 0.01,
            "run_experiment": lambda name, source, experiment, **options: (
                None,
                {"val": {"miou": 0.5}},
            ),
        },
        "10": {},
        "09": {"curves_of": lambda records: {"random (UNet)": {138: [0.6, 0.7], 690: [0.7]}}},
    }
    return made[notebook]


class Reader:
    """Runs cells in one namespace, as a kernel would; returns what they print."""

    def __init__(self) -> None:
        self.names: dict = {"__name__": "__main__", "display": lambda *_: None}

    def run(self, source: str) -> str:
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
            exec(compile(source, "<cell>", "exec"), self.names)
        plt.close("all")
        return out.getvalue()


def tags(cell) -> list[str]:
    return cell.metadata.get("tags", [])


def solution_of(cells: list, number: str) -> str:
    """The folded Python of an exercise, from the section at the end."""
    (cell,) = (c for c in cells if "solution" in tags(c) and c.metadata.get("exercise") == number)
    return FOLD.match(cell.source)[1]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_checks_tell_unanswered_wrong_and_right(path, splits, drawn):
    cells, reader, seen = nbformat.read(path, as_version=4).cells, Reader(), []
    reader.run(next(cell.source for cell in cells if cell.cell_type == "code"))  # imports
    reader.names |= stand_ins(path.name[:2], splits, drawn)

    for i, cell in enumerate(cells):
        if "exercise" not in tags(cell):
            continue
        number, check = cell.metadata.exercise, cells[i + 1].source
        reader.run(cell.source)
        assert reader.run(check) == f"Exercise {number}: not answered yet.\n", cell.source

        assert WRONG[number], f"no wrong answer to {number}"
        for wrong, hint in WRONG[number]:
            reader.run(wrong)
            said = reader.run(check)
            assert said.startswith(f"Exercise {number}: not yet. "), f"{wrong}\n{said}"
            assert hint in said, f"{wrong}\n{said}"
            assert verdict.FOUND[number][0] == verdict.WRONG

        solution = solution_of(cells, number)
        reader.run(solution)
        said = reader.run(check)
        assert said.startswith(f"Exercise {number}: right."), f"{solution}\n{said}"
        assert verdict.FOUND[number][0] == verdict.RIGHT
        for right in ALSO_RIGHT.get(number, ()):
            reader.run(right)
            said = reader.run(check)
            assert said.startswith(f"Exercise {number}: right."), f"{right}\n{said}"
        reader.run(solution)
        seen.append(number)

    assert seen == [f"{path.name[:2]}.{k}" for k in range(1, len(seen) + 1)]
    assert 3 <= len(seen) <= 6


def test_what_notebooks_print_of_shuffled_and_faulty_programs_is_what_is_checked():
    texts = "\n".join(
        cell.source for path in NOTEBOOKS for cell in nbformat.read(path, as_version=4).cells
    )
    for program in (nb04.FAULTY, nb05.FAULTY, nb06.FAULTY):
        numbered = enumerate(program.splitlines(), start=1)
        assert "\n".join(f"{number:>2}  {line}" for number, line in numbered) in texts
    for letter, line in nb04.LINES.items():
        assert f"\n{letter}  " + line.replace("\n", "\n   ") in texts


def test_no_wrong_answer_is_left_over():
    cells = [cell for path in NOTEBOOKS for cell in nbformat.read(path, as_version=4).cells]
    assert {cell.metadata.exercise for cell in cells if "exercise" in tags(cell)} == set(WRONG)
    assert set(ALSO_RIGHT) <= set(WRONG)


def test_right_answers_may_be_written_in_another_order(capsys):
    class Up(nn.Module):
        def __init__(self, in_channels, out_channels):
            super().__init__()
            self.conv = DoubleConv(2 * out_channels, out_channels)  # before self.up
            self.up = nn.ConvTranspose2d(in_channels, out_channels, 2, 2)

        def forward(self, x, skip):
            return self.conv(torch.cat((skip, self.up(x)), dim=1))

    nb03.up(Up)
    assert capsys.readouterr().out.startswith("Exercise 03.2: right.")


@pytest.mark.parametrize("rounding", [float, round, math.floor, math.ceil])
def test_padding_may_be_counted_in_whole_rows(rounding, capsys):
    nb02.padding_share(lambda w, h, size: 1 - rounding(size * min(w, h) / max(w, h)) / size)
    assert capsys.readouterr().out.startswith("Exercise 02.1: right.")


@pytest.mark.parametrize("names, warned", [("sorted(set(groups))", 0), ("list(set(groups))", 1)])
@pytest.mark.parametrize("value", ["{}", "torch.tensor({})"])
def test_the_order_of_a_set_is_warned_of(names, warned, value, capsys):
    """No answer in one process shows it: the hashes of texts change at each start of Python."""
    answer = held_out(test=value.format("group in chosen")).replace("sorted(set(groups))", names)
    made = {"np": np, "torch": torch}
    exec(answer, made)
    nb10.split_by_group(made["split_by_group"])
    said = capsys.readouterr().out
    assert said.startswith("Exercise 10.1: right. Groups stay whole.")
    assert said.count("at each start of Python: sort the names") == warned


# The errors that notebooks explain ("I get this error"), each with code that raises it.
ERRORS = {
    "RuntimeError: Input type (unsigned char) and bias type (float) should be the same": (
        "nn.Conv2d(3, 3, 3)(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))"
    ),
    "RuntimeError: stack expects each tensor to be equal size": (
        "torch.utils.data.default_collate([torch.zeros(1, 3, 8, 8), torch.zeros(3, 8, 8)])"
    ),
    "AttributeError: cannot assign module before Module.__init__() call": (
        "class Up(nn.Module):\n    def __init__(self):\n        self.up = nn.ReLU()\nUp()"
    ),
    "RuntimeError: Given groups=1, weight of size [4, 4, 3, 3], expected input[2, 8, 12, 20] to"
    " have 4 channels, but got 8 channels instead": (
        "nn.Conv2d(4, 4, 3)(torch.zeros(2, 8, 12, 20))"
    ),
    "RuntimeError: Given transposed=1, weight of size [32, 16, 2, 2], expected input[2, 256, 2, 3]"
    " to have 32 channels, but got 256 channels instead": (
        "nn.ConvTranspose2d(32, 16, 2, stride=2)(torch.zeros(2, 256, 2, 3))"
    ),
    "RuntimeError: Sizes of tensors must match except in dimension 1": (
        "torch.cat([torch.zeros(1, 2, 8, 8), torch.zeros(1, 2, 4, 4)], dim=1)"
    ),
    'NotImplementedError: Module [ModuleList] is missing the required "forward" function': (
        "nn.ModuleList([nn.ReLU()])(torch.zeros(1))"
    ),
    "IndexError: pop from empty list": "[].pop()",
    "IndexError: Target 255 is out of bounds.": (
        "nn.functional.cross_entropy(torch.zeros(1, 3, 2, 2), torch.full((1, 2, 2), 255))"
    ),
    "RuntimeError: Trying to backward through the graph a second time": (
        "loss = (torch.ones(1, requires_grad=True) ** 2).sum()\nloss.backward()\nloss.backward()"
    ),
    "RuntimeError: shape '[4, 4]' is invalid for input of size 11": (
        "torch.bincount(torch.tensor([0, 10])).reshape(4, 4)"
    ),
}
NEEDS_A_GPU = {"RuntimeError: Expected all tensors to be on the same device"}


def test_errors_that_notebooks_explain_are_what_pytorch_says():
    cells = [cell for path in NOTEBOOKS for cell in nbformat.read(path, as_version=4).cells]
    texts = "".join(cell.source for cell in cells if cell.cell_type == "markdown")
    told = re.findall(r"<summary>I get this error: <code>(.+?)</code></summary>", texts)
    assert {*told} == {*ERRORS, *NEEDS_A_GPU} and len({*told}) >= 10
    for message, source in ERRORS.items():
        with pytest.raises(Exception, match=re.escape(message.partition(": ")[2])) as raised:
            exec(source, {"torch": torch, "nn": nn})
        assert raised.type.__name__ == message.partition(":")[0]
