"""What a check finds: right, not yet (with a hint), or not answered yet."""

import copy
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

from helpers.teaching.mine import keep

import numpy as np
import torch
from torch import Tensor

RIGHT, WRONG, UNANSWERED = "right", "not yet", "not answered yet"

# By exercise, what its check found last: a state and a text. The grader reads this.
FOUND: dict[str, tuple[str, str]] = {}

# Of the numbers that checks draw as inputs; None: others in each call. The grader sets it.
SEED: int | None = None


class Hint(Exception):
    """A wrong answer; the message is its likely cause."""


class Unanswered(Exception):
    """There are still dots where an answer should be."""


class Check:
    """The check of one exercise: called with an answer, it prints one line.

    The line is "Exercise NUMBER: right. ..." (followed by what `find` returned), "Exercise NUMBER:
    not yet. HINT" or "Exercise NUMBER: not answered yet." An answer's own exception counts as "not
    yet", with its message. A right function or class is kept for later notebooks, see mine.py.

    Checks draw their inputs with torch's global generator, here under `SEED`, so that no answer can
    be right by heart; the reader's own random numbers go on as if nothing had been drawn.

    Args:
        number: of the exercise, such as "03.1".
        find: raises `Hint` for a wrong answer.
    """

    def __init__(self, number: str, find: Callable[..., str]) -> None:
        functools.update_wrapper(self, find)
        self.number, self.find = number, find
        self.answer: Any = ...  # the one that passed

    def __call__(self, *answers: Any) -> None:
        state, text = WRONG, ""
        try:
            if any(answer is ... for answer in answers):
                raise Unanswered
            with torch.random.fork_rng(devices=[]):
                torch.seed() if SEED is None else torch.manual_seed(SEED)
                text = self.find(*answers)
            state = RIGHT
        except Unanswered:
            state = UNANSWERED
        except Hint as hint:
            text = str(hint)
        except Exception as error:  # whatever a learner's code can raise
            text = f"Your code stopped with {type(error).__name__}: {error}"
            if "ellipsis" in str(error).lower():  # dots that are left in the middle of an answer
                state, text = UNANSWERED, ""

        self.answer = answers[0] if state == RIGHT else ...
        FOUND[self.number] = state, text
        print(f"Exercise {self.number}: {state}. {text}".rstrip())
        if state == RIGHT:
            try:
                keep(self.number, answers[0])
            except OSError as error:
                print(f"(It is not kept for later notebooks: {error})")

    @property
    def passed(self) -> bool:
        return self.answer is not ...

    def or_ours(self, ours: Any) -> Any:
        """The reader's answer if it has passed; otherwise ours, and a line that says so."""
        if self.passed:
            return self.answer
        print(f"Exercise {self.number} has not passed: from here on, ours steps in.")
        return ours


def exercise(number: str) -> Callable[[Callable[..., str]], Check]:
    """Turn a function that raises `Hint` for a wrong answer into a check."""
    return functools.partial(Check, number)


def refuse(wrong: Any, hint: str) -> None:
    """Raise `Hint` if something is wrong."""
    if wrong:
        raise Hint(hint)


def ask(function: Callable, *args: Any) -> Any:
    """What an answer that is a function returns.

    Raises `Unanswered` if that is dots, `Hint` if it is nothing, or if a tensor or an array has
    changed that was given.
    """
    given = [arg for arg in args if isinstance(arg, Tensor | np.ndarray)]
    kept = copy.deepcopy(given)
    result = function(*args)
    if result is ... or (isinstance(result, tuple) and any(part is ... for part in result)):
        raise Unanswered
    refuse(result is None, "Your function returns None: is there a return at its end?")
    same = all(close(now, then, near=0) for now, then in zip(given, kept, strict=True))
    refuse(not same, "Your function changes what it was given. Work on a copy.")
    return result


def ask_two(function: Callable, *args: Any, what: str) -> list[Any]:
    """The two things that an answer returns. Raises `Hint` that says what they should be."""
    return few(ask(function, *args), 2, f"Return two things: {what}.")


def ask_three(function: Callable, *args: Any, what: str) -> list[Any]:
    """The three things that an answer returns. Raises `Hint` that says what they should be."""
    return few(ask(function, *args), 3, f"Return three things: {what}.")


def few(result: Any, count: int, otherwise: str) -> list[Any]:
    """So many things, of a tuple, a list or a row of numbers. Raises `Hint` for others."""
    is_row = isinstance(result, Tensor | np.ndarray) and result.ndim == 1
    is_list = is_row or isinstance(result, tuple | list)
    refuse(not is_list or len(result) != count, otherwise)
    return list(result)


def number(answer: Any) -> float:
    """An answer as a float."""
    if isinstance(answer, Tensor | np.ndarray):
        shape = tuple(answer.shape)
        refuse(math.prod(shape) != 1, f"One number is asked for, not a tensor of shape {shape}.")
        answer = answer.item()
    if isinstance(answer, bool) or not hasattr(answer, "__float__"):
        raise Hint(f"A number is asked for, not {type(answer).__name__}.")
    return float(answer)


def compare(
    answer: Tensor | float,
    right: Tensor | float,
    slips: Mapping[str, Tensor | float],
    otherwise: str,
    near: float = 1e-5,
) -> None:
    """Raise `Hint` for an answer that differs from what is right.

    Args:
        slips: hints, each with the wrong answer that it explains. otherwise: the hint for others.
        near: how far a number may be from another one to count as the same.
    """
    if not close(answer, right, near):
        for hint, wrong in slips.items():
            refuse(close(answer, wrong, near), hint)
        raise Hint(otherwise)


def tensor(answer: Any, shape: tuple[int, ...]) -> Tensor:
    """An answer as a tensor of this shape."""
    if not isinstance(answer, Tensor):
        raise Hint(f"A tensor is asked for, not {type(answer).__name__}.")
    found = tuple(answer.shape)
    refuse(found != shape, f"The shape is {found}, and should be {shape}.")
    return answer


def close(a: Any, b: Any, near: float = 1e-5) -> bool:
    """Whether two results have one shape and differ by at most `near`, NaN with NaN."""
    a, b = torch.as_tensor(a).double(), torch.as_tensor(b).double()
    return a.shape == b.shape and torch.allclose(a, b, rtol=0, atol=near, equal_nan=True)
