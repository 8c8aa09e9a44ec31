"""The reader's own code, from the notebook that it was written in to later ones.

When a check passes, the cell that defines the answer is kept in runs/mine/, under the number of its
exercise. A later notebook runs it again if the reader asks for it there.
"""

import inspect
import linecache
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from helpers import files

import torch
from torch import Tensor, nn


def folder() -> Path:
    """Where the reader's cells are kept."""
    return files.home() / "runs" / "mine"


def keep(number: str, answer: Any) -> Path | None:
    """Keep the cell that defines a function or class, as NUMBER.py; None for another answer."""
    source = _cell(answer)
    if not source:
        return None
    path = folder() / f"{number}.py"
    files.make_folder(path.parent)
    with files.atomic(path) as partial:
        partial.write_text(source, encoding="utf-8")
    return path


def load(name: str, *numbers: str, **given: Any) -> Any:
    """What the reader's cells define under a name.

    Args:
        name: of a function or class, such as "UNet".
        numbers: of the exercises whose cells are run, in this order.
        given: what the cells use besides torch, nn and F.

    Raises FileNotFoundError for an exercise whose check has not passed here, and NameError where
    the cells define no such name.
    """
    space = {"torch": torch, "nn": nn, "F": nn.functional, "__name__": "mine", **given}
    for number in numbers:
        path = folder() / f"{number}.py"
        if not path.is_file():
            raise FileNotFoundError(
                f"your answer to exercise {number} is not in {path.parent}: let its check pass in"
                f" notebook {number[:2]}, or go on with ours"
            )
        exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), space)
    if name not in space:
        raise NameError(f"the answers to {', '.join(numbers)} define no {name}")
    return space[name]


def take_over(network: nn.Module, weights: Mapping[str, Tensor]) -> nn.Module:
    """Give a network the weights of another one whose layers may have other names.

    Tensors are matched by their names, or, if these are others, by their order, and must agree in
    shape. Returns the network.

    Raises ValueError that names the first pair that does not agree.
    """
    own = network.state_dict()
    if len(own) != len(weights):
        raise ValueError(f"{len(weights)} tensors do not fit a network that has {len(own)}")
    if own.keys() == weights.keys():
        weights = {name: weights[name] for name in own}
    for (name, value), (theirs, tensor) in zip(own.items(), weights.items(), strict=True):
        if value.shape != tensor.shape:
            raise ValueError(
                f"{name} is {tuple(value.shape)}, {theirs} is {tuple(tensor.shape)}: are the"
                " layers created in the same order?"
            )
    network.load_state_dict(dict(zip(own, weights.values(), strict=True)))
    return network


def _cell(answer: Any) -> str:
    """The whole cell that defines a function or class of a notebook; "" for anything else."""
    if getattr(answer, "__module__", "") != "__main__":
        return ""
    functions = [answer, *vars(answer).values()] if inspect.isclass(answer) else [answer]
    code = next((f.__code__ for f in functions if inspect.isfunction(f)), None)
    return "".join(linecache.getlines(code.co_filename)) if code else ""
