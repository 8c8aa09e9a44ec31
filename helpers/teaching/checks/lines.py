"""Short programs as numbered lines: to be put in order, or with a fault to be found."""

import textwrap
from collections.abc import Callable, Mapping
from typing import Any

from helpers.teaching.checks.verdict import Hint, refuse


def in_order(order: Any, lines: Mapping[str, str], head: str, end: str = "") -> str:
    """The source of a function: its head, the lines in this order, and its end.

    Args:
        order: the letters of all lines, such as "BCA".

    Raises `Hint` for letters that are missing, twice, or of no line.
    """
    one = f'One text is asked for, all letters in quotes, such as "{"".join(lines)}".'
    refuse(not isinstance(order, str), one)
    letters = [letter for letter in order.upper() if letter.isalnum()]
    unknown = sorted(set(letters) - set(lines))
    refuse(unknown, f"There is no line {', '.join(unknown)}.")
    missing = sorted(set(lines) - set(letters))
    refuse(missing, f"Line {', '.join(missing)} is missing.")
    refuse(len(letters) > len(lines), "A line stands there twice.")
    body = "\n".join([*(lines[letter] for letter in letters), *([end] if end else [])])
    return f"{head}\n{textwrap.indent(body, '    ')}"


def repaired(program: str, repair: Any) -> str:
    """The source of a program in which lines have been replaced.

    Args:
        repair: by the number of a line, counted from 1, what it should be; its indentation stays.

    Raises `Hint` if it is not that, or if Python cannot read the outcome.
    """
    lines = program.splitlines()
    kind = f"A dictionary is asked for, {{number: 'line'}}, not {type(repair).__name__}."
    refuse(not isinstance(repair, Mapping), kind)
    for number, line in repair.items():
        wanted = isinstance(number, int) and 1 <= number <= len(lines) and isinstance(line, str)
        refuse(not wanted, f"{number!r}: {line!r} is no number from 1 to {len(lines)} and a line.")
        old = lines[number - 1]
        indent = old[: len(old) - len(old.lstrip())]
        lines[number - 1] = textwrap.indent(textwrap.dedent(line).strip(), indent)
    source = "\n".join(lines)
    try:
        compile(source, "<repaired>", "exec")
    except SyntaxError as error:
        raise Hint(f"Python cannot read line {error.lineno}: {error.msg}.") from None
    return source


def function_of(source: str, names: Mapping[str, Any]) -> Callable:
    """The function that a source defines last, with these names at hand."""
    space = dict(names)
    exec(compile(source, "<lines>", "exec"), space)
    *_, defined = (value for key, value in space.items() if key not in {*names, "__builtins__"})
    return defined
