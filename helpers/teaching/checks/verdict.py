"""What a check finds: right, not yet (with a hint), or not answered yet."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

RIGHT, WRONG, UNANSWERED = "right", "not yet", "not answered yet"

# By exercise, what its check found last: a state and a text. The grader reads this.
FOUND: dict[str, tuple[str, str]] = {}


class Hint(Exception):
    """A wrong answer; the message is its likely cause."""


class Unanswered(Exception):
    """There are still dots where an answer should be."""


def exercise(number: str) -> Callable:
    """Turn a function that raises `Hint` for a wrong answer into a check that prints one line.

    The line is "Exercise NUMBER: right. ..." (followed by what the function returned), "Exercise
    NUMBER: not yet. HINT" or "Exercise NUMBER: not answered yet." An answer's own exception counts
    as "not yet", with its message. The check's attribute `passed` says whether it was right.
    """

    def decorate(check: Callable[..., str | None]) -> Any:
        @functools.wraps(check)
        def verdict(*answers: Any) -> None:
            state, text = WRONG, ""
            try:
                if any(answer is ... for answer in answers):
                    raise Unanswered
                text = check(*answers) or ""
                state = RIGHT
            except Unanswered:
                state = UNANSWERED
            except Hint as hint:
                text = str(hint)
            except Exception as error:  # whatever a learner's code can raise
                text = f"Your code stopped with {type(error).__name__}: {error}"

            FOUND[number] = state, text
            verdict.passed = state == RIGHT  # a lesson goes on with the reader's own code then
            print(f"Exercise {number}: {state}. {text}".rstrip())

        verdict.passed = False
        return verdict

    return decorate


def ask(function: Callable, *args: Any, **options: Any) -> Any:
    """What an answer that is a function returns.

    Raises `Unanswered` if that is dots, `Hint` if it is nothing.
    """
    result = function(*args, **options)
    if result is ... or (isinstance(result, tuple) and any(part is ... for part in result)):
        raise Unanswered
    if result is None:
        raise Hint("Your function returns None: is there a return at its end?")
    return result


def number(answer: Any) -> float:
    """An answer as a float."""
    if isinstance(answer, Tensor) and answer.numel() == 1:
        answer = answer.item()
    if isinstance(answer, bool) or not hasattr(answer, "__float__"):
        raise Hint(f"A number is asked for, not {type(answer).__name__}.")
    return float(answer)


def tensor(answer: Any, shape: tuple[int, ...]) -> Tensor:
    """An answer as a tensor of this shape."""
    if not isinstance(answer, Tensor):
        raise Hint(f"A tensor is asked for, not {type(answer).__name__}.")
    if tuple(answer.shape) != shape:
        raise Hint(f"The shape is {tuple(answer.shape)}, and should be {shape}.")
    return answer


def close(a: Tensor | float, b: Tensor | float, tolerance: float = 1e-5) -> bool:
    """Whether two results agree, NaN with NaN."""
    a, b = torch.as_tensor(a).double(), torch.as_tensor(b).double()
    return a.shape == b.shape and torch.allclose(
        a, b, rtol=tolerance, atol=tolerance, equal_nan=True
    )
