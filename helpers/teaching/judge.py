"""The process that runs a student's answers and judges them: `python -m helpers.teaching.judge`.

grading.py starts it, hands it the cells of one notebook as JSON, and watches the time. It answers
with one line of JSON for each cell. The cells run in IPython, as in a notebook, but without Jupyter
and its network ports; what they print goes nowhere.

An answer is judged by the check that was there before the first of the student's cells ran. What
it depends on (this package, torch, NumPy, the builtins) is compared with what it was, and put back
after each cell and each check. What a check gets from the lesson is a copy from before. The limits
stand in guard.py.
"""

import ast
import builtins
import contextlib
import copy
import inspect
import json
import os
import random
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from helpers.teaching import SERIES
from helpers.teaching.guard import CallWatch, Hook, Seals, copy_of, leave_network, limit_memory

RUNS = 3  # of each check, with other inputs each time
LONGEST_TEXT = 2000  # an error's text is a student's, and may fill the grader's memory
MOST_REMARKS = 20

REPLACED = "the check was replaced"
BY_HEART = "right for one set of inputs and not for another: hard-coded?"
OURS = "the answer is {} itself"
TAKEN = "the name check was used for something else; it was put back"


class Judge:
    """Runs the cells of one notebook in one namespace.

    Args:
        seed: the lecturer's; each check draws its inputs from it.
        given: names that checks get from the lesson, besides an answer.
        hook: what refuses network and the like.
    """

    def __init__(self, seed: str, given: list[str], hook: Hook) -> None:
        from helpers.teaching.checks import verdict  # here: torch takes long, and reads the limits

        self.verdict, self.found, self.hook = verdict, verdict.FOUND, hook
        verdict.keep = lambda *_: None  # answers are not the ones that this clone goes on with
        self.seed, self.given = seed, given
        self.copies: dict[str, Any] = {}
        self.seals: Seals | None = None
        self.check: Any = None  # the lesson's, from before the first answer
        self.calls: CallWatch
        self.shell = _shell()

    def step(self, kind: str, number: str, source: str) -> dict[str, Any]:
        """Run one cell: of the "lesson", of a student ("answer", "added"), or a "check"."""
        if kind == "lesson":
            return {"error": self._lesson(source)}
        if self.seals is None:
            self._seal()

        self.hook.strict = True
        try:
            if kind == "check":
                return self._judge(number, source)
            error = self._run(source, silent=False)
            return {"error": error, "remarks": _short(self._seen())}
        finally:
            self.hook.strict = False

    def _seal(self) -> None:
        """Before the first of the student's cells: what a verdict depends on is noted."""
        self.check = self.shell.user_ns.get("check")
        checks = [
            m for name, m in sys.modules.items() if name.startswith("helpers.teaching.checks.")
        ]
        twins = {name: copy_of(sys.modules[name]) for name in ("torch", "numpy")}
        for module in checks:  # a torch of their own
            for name, value in list(vars(module).items()):
                if isinstance(value, ModuleType) and value.__name__ in twins:
                    setattr(module, name, twins[value.__name__])
        roots, others = _owners(self.check)
        self.seals = Seals([*roots, *twins.values()], others)
        found = vars(self.check).values() if self.check else []
        finds = {c.find.__code__ for c in found if isinstance(c, self.verdict.Check)}
        self.calls = CallWatch(self.verdict, finds)

    def _lesson(self, source: str) -> str:
        """Run a cell of the lesson, and copy what it made for a check."""
        names = self.shell.user_ns
        before = {name: id(names.get(name)) for name in self.given}
        error = self._run(source, silent=True)  # what a cell shows is not drawn
        for name in self.given:
            if name in names and id(names[name]) != before[name]:
                self.copies[name] = copy.deepcopy(names[name])
        return error

    def _run(self, source: str, silent: bool) -> str:
        """Run a cell. Returns its error in one line."""
        result = self.shell.run_cell(source, silent=silent, store_history=False)
        if "matplotlib.pyplot" in sys.modules:
            sys.modules["matplotlib.pyplot"].close("all")
        return _line(result.error_before_exec or result.error_in_exec)

    def _judge(self, number: str, source: str) -> dict[str, Any]:
        """Call the check with each set of inputs."""
        remarks = self._seen()  # what a lesson's cell called may have changed something, too
        states, texts = [], []
        for run in range(RUNS):
            state, text = self._call(number, source, f"{self.seed} {number} {run}")
            found = self._seen()
            if self.calls.lied:
                found.append(REPLACED)
            if REPLACED in [remark.partition(":")[0] for remark in found]:
                state, text = self.verdict.WRONG, "The check was replaced while it ran."
            remarks += found
            states.append(state)
            texts.append(text)

        # One wrong answer is enough; from here on, ours steps in for it.
        right = [state == self.verdict.RIGHT for state in states]
        worst = right.index(False) if not all(right) else 0
        if any(right) and not all(right):
            remarks.append(BY_HEART)
        for check in vars(self.check).values() if self.check else []:
            if not all(right) and getattr(check, "number", "") == number:
                check.answer = ...
        remarks += self._taken(source)
        return {"state": states[worst], "text": texts[worst], "remarks": _short(remarks)}

    def _call(self, number: str, source: str, seed: str) -> tuple[str, str]:
        """What the check finds for inputs drawn from a seed."""
        drawn = random.Random(seed).randrange(2**31)
        self.verdict.SEED = drawn
        random.seed(drawn)
        if "numpy" in sys.modules:
            sys.modules["numpy"].random.seed(drawn)

        names = self.shell.user_ns | copy.deepcopy(self.copies) | {"check": self.check}
        self.found.clear()
        try:
            code = compile(source, "<check>", "exec")
            with self.calls:
                exec(code, names)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit of an answer, too
            return self.verdict.WRONG, _line(error)
        state, text = self.found.pop(number, (self.verdict.WRONG, "The check found nothing."))
        return state, str(text)[:LONGEST_TEXT]

    def _seen(self) -> list[str]:
        """Remarks on what was refused or replaced since the last call; the latter is put back."""
        remarks = self.hook.take()
        changed = self.seals.restore() if self.seals else []
        if self.shell.user_ns.get("check") is not self.check:
            remarks.append(TAKEN)
            self.shell.user_ns["check"] = self.check
        changed += _modes()
        if changed:
            more = " and more" if len(changed) > 2 else ""
            remarks.append(f"{REPLACED}: {', '.join(changed[:2])}{more}")
        return remarks

    def _taken(self, source: str) -> list[str]:
        """A remark where the answer is a function or class of this package."""
        call = ast.parse(source).body[-1]
        first = call.value.args[:1] if isinstance(call, ast.Expr | ast.Call) else []  # type: ignore
        for name in (a.id for a in first if isinstance(a, ast.Name)):
            answer = self.shell.user_ns.get(name)
            if inspect.isfunction(answer) or inspect.isclass(answer):
                if str(answer.__module__).startswith("helpers."):
                    return [OURS.format(f"{answer.__module__}.{answer.__qualname__}")]
        return []


def _shell() -> Any:
    """IPython without history, and without tracebacks, which would read our files."""
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    config = Config()
    config.HistoryManager.enabled = False
    shell = InteractiveShell.instance(config=config)
    for name in ("showtraceback", "showsyntaxerror", "enable_gui"):  # %matplotlib asks for the last
        setattr(shell, name, lambda *_, **__: None)
    return shell


def _owners(check: Any) -> tuple[list[ModuleType], list[Any]]:
    """What a verdict depends on: modules, and single classes and objects."""
    import torch

    ours = [m for name, m in sys.modules.items() if name.partition(".")[0] == "helpers"]
    names = ["torch", "torch.nn", "torch.nn.functional", "torch.linalg", "torch.random", "numpy"]
    names += ["numpy.random", "math", "operator", "copy", "functools", "inspect", "json", "random"]
    others = [torch.Tensor, torch.nn.Module, torch._C.TensorBase, check]
    others += vars(check).values() if check and not isinstance(check, ModuleType) else []
    modules = [sys.modules[name] for name in names if name in sys.modules]
    return [*ours, *modules, builtins], [o for o in others if hasattr(o, "__dict__")]


def _modes() -> list[str]:
    """The names of modes that stand between checks and torch; they are ended."""
    from torch import overrides

    stack = overrides._get_current_function_mode_stack()
    foreign = [type(mode).__name__ for mode in stack if type(mode).__module__ == "__main__"]
    for _ in stack if foreign else []:
        overrides._pop_mode()
    return foreign


def _line(error: BaseException | None) -> str:
    """An error in one line; its text may be a student's code, too."""
    if error is None:
        return ""
    try:
        return f"{type(error).__name__}: {str(error)[:LONGEST_TEXT]}"
    except Exception:
        return type(error).__name__


def _short(remarks: list[str]) -> list[str]:
    return [remark[:LONGEST_TEXT] for remark in dict.fromkeys(remarks)][:MOST_REMARKS]


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """SIGINT stops what runs within, and nothing else."""

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def main() -> None:
    """Read an order from standard input, and answer on what was standard output."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    orders = os.fdopen(os.dup(0), encoding="utf-8")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)

    order = json.loads(orders.readline())
    alone, limited = leave_network(), limit_memory(order["gigabytes"])
    judge = Judge(order["seed"], order["given"], Hook(Path.cwd(), SERIES))

    # An answer that imports it gets another copy; IPython did the same with this module.
    del sys.modules["helpers.teaching.guard"]
    vars(sys.modules["helpers.teaching"]).pop("guard", None)

    def say(**words: Any) -> None:
        answers.write(json.dumps({"token": order["token"], **words}) + "\n")
        answers.flush()

    say(step=-1, alone=alone, limited=limited)
    for k, (kind, number, source) in enumerate(order["steps"]):
        if k in order["skip"]:
            continue
        say(begins=k)
        try:
            with _interruptible():
                outcome = judge.step(kind, number, source)
        except BaseException as error:  # a time limit, or what an answer raises in a bad place
            outcome = {"error": _line(error)}
        say(step=k, **outcome)
    os._exit(0)  # whatever threads and exit functions an answer has left


if __name__ == "__main__":
    main()
