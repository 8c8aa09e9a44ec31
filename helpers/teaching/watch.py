"""Starts the process of judge.py, stops it at the limits, and starts it again after a dead cell."""

import json
import os
import queue
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

START = 300  # seconds until a process has imported torch, on a slow machine
LESSON = 10  # times a cell's limit: what is ours may take longer, as trainings do
GRACE = 3  # seconds between a friendly stop and the other one
WINDOWS = sys.platform == "win32"

# Of the lecturer's environment, what a student's code may see: no tokens or passwords.
PASSED_ON = (
    "PATH PYTHONPATH HOME LANG LC_ALL UNET_HOME PETS_DATA OMP_NUM_THREADS VIRTUAL_ENV"
    " LD_LIBRARY_PATH SYSTEMROOT USERPROFILE APPDATA CUDA_VISIBLE_DEVICES"
).split()

STOPPED = "It was stopped at the time limit."
DIED = "It ended its process ({})."
LONGEST_LINE, MOST_LINES = 2**20, 16  # what an answer writes must not fill the grader's memory
NO_ALLOCATION = ("can't allocate memory", "Cannot allocate memory", "bad_alloc")


class Step(NamedTuple):
    """A cell to run: of the "lesson", of a student ("answer", "added"), or a "check"."""

    kind: str
    number: str
    source: str


@dataclass(frozen=True)
class Limits:
    """Seconds for a cell (ten times as many for the lesson's own), gigabytes for the process."""

    seconds: float = 60
    gigabytes: float = 4


@dataclass
class Outcome:
    """What came of a step: a check's state and text, or an error; and what was seen meanwhile."""

    state: str = ""
    text: str = ""
    error: str = ""
    remarks: tuple[str, ...] = ()
    fatal: bool = False  # the process cannot go on after it


def lacks_memory(told: str) -> bool:
    """Whether an error is one of memory: by its type, or by torch's words in a RuntimeError."""
    kind, _, words = told.removeprefix("Your code stopped with ").partition(":")
    by_torch = kind.endswith(("RuntimeError", "OSError")) and any(w in words for w in NO_ALLOCATION)
    return kind.endswith("MemoryError") or by_torch


def run(steps: list[Step], seed: str, given: list[str], limits: Limits) -> dict[int, Outcome]:
    """What came of each step, by its position.

    After a step that killed its process, or filled its memory, a new process runs all others. A
    cell of the lesson that does so, or does not end, ends the run: the steps after it are missing.
    """
    outcomes: dict[int, Outcome] = {}
    order = {"steps": steps, "seed": seed, "given": given, "gigabytes": limits.gigabytes}
    skip: list[int] = []
    while True:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            process = Process(order | {"skip": skip}, Path(folder), limits)
            try:
                fatal = process.follow(outcomes)
            finally:
                process.end()
        if fatal is None or steps[fatal].kind == "lesson":
            return outcomes
        skip.append(fatal)


class Process:
    """One process of judge.py.

    Args:
        order: what it is to do.
        folder: where it runs, and may write.
    """

    def __init__(self, order: dict[str, Any], folder: Path, limits: Limits) -> None:
        self.limits, self.token = limits, secrets.token_hex()
        self.kinds = [step.kind for step in order["steps"]]
        places = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        here = Path(__file__).resolve().parents[2]
        paths = [str(here), *filter(None, [places.get("PYTHONPATH")])]
        if data := places.get("PETS_DATA"):
            places["PETS_DATA"] = str(Path(data).expanduser().resolve())
        places |= {
            "PYTHONPATH": os.pathsep.join(paths),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONIOENCODING": "utf-8:backslashreplace",  # as in a notebook, whatever the system
            "MPLBACKEND": "agg",
            "IPYTHONDIR": str(folder),
            **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(folder)),
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "helpers.teaching.judge"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env=places,
            start_new_session=not WINDOWS,
        )
        self.lines: queue.Queue[bytes] = queue.Queue(MOST_LINES)
        threading.Thread(target=self._read, daemon=True).start()
        self._send({"token": self.token, **order})

    def follow(self, outcomes: dict[int, Outcome]) -> int | None:
        """Note what comes of the steps. Returns the one that it could not go on after, if any.

        Raises RuntimeError if the process did not start.
        """
        if not self._hear(START):
            raise RuntimeError(f"the judging process did not start ({self._exit_code()})")
        while begun := self._hear(START):
            step = begun["begins"]
            lesson = self.kinds[step] == "lesson"
            outcome = outcomes[step] = self._one(LESSON if lesson else 1)
            if outcome.fatal or (lesson and outcome.error == STOPPED):
                return step
        return None

    def end(self) -> None:
        """Kill the process and what it has started."""
        try:
            self.process.kill() if WINDOWS else os.killpg(self.process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream:
                stream.close()

    def _one(self, times: int) -> Outcome:
        """What comes of the step that has begun, within so many times the limit."""
        said = self._hear(times * self.limits.seconds)
        stopped = said is None
        if stopped and not WINDOWS:
            self.process.send_signal(signal.SIGINT)
            said = self._hear(GRACE)
        if not said:
            return Outcome(error=STOPPED if stopped else self._death(), fatal=True)

        remarks = tuple(said.get("remarks", ()))
        if stopped:
            return Outcome(error=STOPPED, remarks=remarks)
        outcome = Outcome(
            said.get("state", ""), said.get("text", ""), said.get("error", ""), remarks
        )
        if any(map(lacks_memory, (outcome.error, outcome.text))):
            return Outcome(error=self._too_much(), remarks=remarks, fatal=True)
        return outcome

    def _too_much(self) -> str:
        return f"It took more than {self.limits.gigabytes:g} GB of memory."

    def _exit_code(self) -> str:
        try:
            code = self.process.wait(GRACE)
        except subprocess.TimeoutExpired:
            return "it no longer answers"
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"

    def _death(self) -> str:
        code = self._exit_code()
        killed = code in ("SIGKILL", "SIGABRT")  # by the system, short of memory
        return f"{DIED.format(code)} For lack of memory?" if killed else DIED.format(code)

    def _send(self, order: dict[str, Any]) -> None:
        assert self.process.stdin
        try:
            self.process.stdin.write(json.dumps(order).encode() + b"\n")
            self.process.stdin.flush()
        except OSError:
            pass  # it has ended; that is said when its answer is missing

    def _read(self) -> None:
        """Move its lines to a queue; an empty one says that it has ended."""
        assert self.process.stdout
        try:
            while line := self.process.stdout.readline(LONGEST_LINE):
                self.lines.put(line)
        except ValueError:
            pass  # closed meanwhile
        self.lines.put(b"")

    def _hear(self, seconds: float) -> dict[str, Any] | None:
        """The next answer; None if there is none in time, {} if the process has ended.

        What does not know the token is not an answer.
        """
        end = time.monotonic() + seconds
        while True:
            try:
                line = self.lines.get(timeout=max(0, end - time.monotonic()))
                said = json.loads(line or b"{}")
            except queue.Empty:
                return None
            except ValueError:
                continue
            if not line:
                return {}
            if isinstance(said, dict) and said.get("token") == self.token:
                return said
