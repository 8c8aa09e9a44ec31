"""What a check prints, remembers, and makes of strange answers."""

from helpers.teaching.checks import verdict
from helpers.teaching.checks.verdict import (
    Hint,
    ask,
    ask_three,
    ask_two,
    close,
    compare,
    exercise,
    number,
)

import numpy as np
import pytest
import torch


@exercise("99.1")
def seven(answer) -> str:
    """Seven."""
    compare(number(answer), 7, {"That is three.": 3}, "Count again.", near=0.5)
    return "Lucky."


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (7.4, "right. Lucky."),
        (3, "not yet. That is three."),
        (9, "not yet. Count again."),
        (float("nan"), "not yet. Count again."),
        (..., "not answered yet."),
        ("seven", "not yet. A number is asked for, not str."),
        (None, "not yet. A number is asked for, not NoneType."),
        (torch.tensor([7.0]), "right. Lucky."),
    ],
)
def test_an_answer_gets_one_line_and_is_remembered(answer, said, capsys):
    seven(answer)
    assert capsys.readouterr().out == f"Exercise 99.1: {said}\n"
    state, _, text = said.partition(".")
    assert verdict.FOUND.pop("99.1") == (state, text.strip())
    assert seven.passed == (state == "right")


def test_a_check_forgets_that_an_earlier_answer_was_right(capsys):
    seven(7)
    assert seven.passed
    seven(8)
    assert not seven.passed
    assert seven.__doc__ == "Seven." and seven.__name__ == "seven"
    verdict.FOUND.pop("99.1")


def test_what_a_readers_code_raises_is_told(capsys):
    @exercise("99.2")
    def broken(answer) -> str:
        return str(answer())

    broken(lambda: 1 / 0)
    line = "Exercise 99.2: not yet. Your code stopped with ZeroDivisionError: division by zero\n"
    assert capsys.readouterr().out == line
    verdict.FOUND.pop("99.2")


def test_functions_that_give_dots_nothing_or_too_little():
    for dots in (..., (1, ...)):
        with pytest.raises(verdict.Unanswered):
            ask(lambda dots=dots: dots)
    with pytest.raises(Hint, match="returns None"):
        ask(lambda: None)
    for few in (1, (1,), [1, 2, 3], torch.ones(1), torch.tensor(1), {1, 2}, "ab"):
        with pytest.raises(Hint, match="two things: a, b"):
            ask_two(lambda few=few: few, what="a, b")
    for two in ((1, 2), [1, 2], torch.tensor([1, 2]), np.array([1, 2])):
        assert ask_two(lambda two=two: two, what="a, b") == [1, 2]
    with pytest.raises(Hint, match="three things: a, b, c"):
        ask_three(lambda: (1, 2), what="a, b, c")


def test_numbers_and_closeness():
    with pytest.raises(Hint, match="bool"):
        number(True)
    for some in (torch.ones(3), np.ones((2, 2))):
        with pytest.raises(Hint, match=r"One number is asked for, not a tensor of shape \("):
            number(some)
    assert number(np.ones(1)) == number(torch.ones(1, 1)) == 1
    nan = torch.tensor([float("nan"), 1.0])
    assert close(nan, nan) and not close(nan, torch.ones(2)) and not close(torch.ones(2), 1.0)


def test_checks_draw_other_inputs_each_time_or_those_of_a_seed(monkeypatch):
    drawn = []

    @exercise("99.3")
    def lottery(answer) -> str:
        drawn.append(torch.rand(8).tolist())
        return ""

    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    for seed in (None, None, 7, 7, 8):
        monkeypatch.setattr(verdict, "SEED", seed)
        lottery(0)
    assert torch.equal(torch.rand(1), expected)  # the reader's own numbers are as they were
    assert drawn[2] == drawn[3]
    assert len({tuple(numbers) for numbers in drawn}) == 4
    verdict.FOUND.pop("99.3")
