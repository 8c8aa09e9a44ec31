"""What a student's code must leave alone in the process that judges it, see judge.py.

Three things: limits of the operating system on memory and network; an audit hook, which Python code
cannot take away again; and seals on the functions that a verdict depends on.

None of it is a sandbox. Native code and code that searches the interpreter's memory get past.
"""

import contextlib
import ctypes
import functools
import inspect
import os
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

PACKAGE = str(Path(__file__).resolve().parents[1])
NEW_USER, NEW_NETWORK = 0x10000000, 0x40000000  # of Linux's unshare

# What a student's code is told and the lecturer is told, by the audit event.
NETWORK = "it asked for the network"
PROCESS = "it asked for another process"
FILES = "it wanted to write outside its own folder"
NOTEBOOKS = "it opened a notebook of the series"
INSIDE = "it looked into the grader's process"
REFUSED = {
    **dict.fromkeys(
        "subprocess.Popen os.system os.exec os.posix_spawn os.spawn os.fork os.forkpty os.startfile"
        " pty.spawn".split(),
        PROCESS,
    ),
    **dict.fromkeys(
        "os.kill os.killpg resource.setrlimit resource.prlimit signal.pthread_kill".split(), INSIDE
    ),
}
SEARCHES = {  # what libraries use, and a cell of a notebook should not
    "sys._getframe",
    "sys.settrace",
    "sys.setprofile",
    "gc.get_objects",
    "gc.get_referrers",
    "gc.get_referents",
    "ctypes.dlopen",
    "ctypes.dlsym",
    "ctypes.string_at",
    "ctypes.addressof",
}
CHANGES = {  # events whose first arguments are paths, and how many of them
    "os.remove": 1,
    "os.rename": 2,
    "os.rmdir": 1,
    "os.truncate": 1,
    "os.chmod": 1,
    "os.link": 2,
    "os.symlink": 2,
    "os.mkdir": 1,
    "shutil.rmtree": 1,
}


def limit_memory(gigabytes: float) -> bool:
    """Limit this process's memory. Returns whether the platform could (Linux can)."""
    if not sys.platform.startswith("linux"):
        return False
    import resource  # not on Windows

    allowed = int(gigabytes * 2**30)
    resource.setrlimit(resource.RLIMIT_DATA, (allowed, allowed))
    return True


def leave_network() -> bool:
    """Give this process a network of its own, with nothing in it. Returns whether that worked.

    Linux only, and not in every container. To be called before there are threads.
    """
    if not sys.platform.startswith("linux"):
        return False
    unshare = getattr(ctypes.CDLL(None), "unshare", lambda _flags: -1)
    user = os.getuid()
    if unshare(NEW_NETWORK) == 0:
        return True
    if unshare(NEW_USER | NEW_NETWORK) != 0:
        return False
    with contextlib.suppress(OSError):  # only to be called by the same name as before
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    return True


class Hook:
    """Refuses, and remembers, what answers have no business with. Installed once, for good.

    Args:
        own: the folder in which a student's code may write.
        series: the folder of the notebooks, which hold the solutions.
    """

    def __init__(self, own: Path, series: Path) -> None:
        self.own, self.series = os.path.realpath(own), os.path.realpath(series)
        self.strict = False  # while a student's cell or a check runs
        self.busy = False
        self.seen: list[str] = []
        sys.addaudithook(self._event)

    def take(self) -> list[str]:
        """What was seen since the last call, each once."""
        seen, self.seen = list(dict.fromkeys(self.seen)), []
        return seen

    def _event(self, event: str, args: tuple) -> None:
        if self.busy:  # this very function asks for frames and paths
            return
        self.busy = True
        try:
            reason = self._reason(event, args)
            ours = reason == PROCESS and _asked_by_package()  # such as for git's version
        finally:
            self.busy = False
        if reason:
            self.seen += [] if ours else [reason]
            raise PermissionError(f"refused while grading: {reason}")

    def _reason(self, event: str, args: tuple) -> str:
        """Why an event is refused, "" if it is not."""
        if event in ("socket.connect", "socket.sendto") and isinstance(args[1], tuple):
            return NETWORK
        if event in ("socket.getaddrinfo", "socket.gethostbyname"):
            return NETWORK
        if event == "os.kill" and args[0] == os.getppid():
            return INSIDE
        if not self.strict:
            return ""

        if event in SEARCHES:
            return INSIDE if _asked_by_cell() else ""
        if event == "object.__setattr__":
            return INSIDE if args[1] == "__code__" else ""
        if event == "open":
            return self._opened(*args[:3])
        if event in CHANGES:
            return FILES if any(map(self._outside, args[: CHANGES[event]])) else ""
        return REFUSED.get(event, "")

    def _opened(self, path: Any, mode: Any, flags: Any) -> str:
        if not isinstance(path, str | bytes | os.PathLike):
            return ""  # a file that was open before
        place = os.path.realpath(os.fsdecode(path))
        if place.startswith(self.series) and place.endswith(".ipynb"):
            return NOTEBOOKS
        writes = set(mode or "") & set("wax+") or (flags or 0) & (os.O_WRONLY | os.O_RDWR)
        return FILES if writes and self._outside(path) else ""

    def _outside(self, path: Any) -> bool:
        if not isinstance(path, str | bytes | os.PathLike):
            return False
        place = os.path.realpath(os.fsdecode(path))
        nothing = os.path.realpath(os.devnull)
        return place not in (self.own, nothing) and not place.startswith(self.own + os.sep)


def _asked_by_cell() -> bool:
    """Whether the code that asked for something stands in a cell of a notebook."""
    frame = inspect.currentframe()
    while frame and frame.f_code.co_filename in (__file__, inspect.__file__, ctypes.__file__):
        frame = frame.f_back
    return bool(frame) and in_cell(frame.f_code)  # type: ignore[union-attr]


def _asked_by_package() -> bool:
    """Whether the code that asked for a process stands in this package."""
    frame = inspect.currentframe()
    while frame and frame.f_code.co_filename in (__file__, inspect.__file__, subprocess.__file__):
        frame = frame.f_back
    return bool(frame) and frame.f_code.co_filename.startswith(PACKAGE)  # type: ignore[union-attr]


def in_cell(code: types.CodeType) -> bool:
    return code.co_filename.startswith(("<ipython-input", "<string>"))


class Seals:
    """The functions, classes and tables that a verdict depends on, as they were before.

    Args:
        roots: modules whose contents count, with the classes that they define.
        others: single classes and objects whose attributes count.
    """

    def __init__(self, roots: list[types.ModuleType], others: list[Any]) -> None:
        owners = {id(owner): owner for owner in [*roots, *others]}
        for module in roots:
            for value in list(vars(module).values()):
                if getattr(value, "__module__", None) == module.__name__ and _has_names(value):
                    owners[id(value)] = value
        self.owners = list(owners.values())
        self.names = [_sealed_names(owner) for owner in self.owners]
        self.before = [frozenset(vars(owner)) for owner in self.owners]  # new ones may hide others

        # The inside of functions and tables, which can change while their names stay.
        values = {id(v): v for names in self.names for v in names.values()}
        self.codes = [(f, _inside(f)) for f in values.values() if isinstance(f, _FUNCTIONS)]
        found = [id(names.get("FOUND")) for names in self.names]  # checks write into it
        tables = [v for v in values.values() if type(v) in (dict, list) and id(v) not in found]
        self.tables = [(table, table.copy()) for table in tables]

    def restore(self) -> list[str]:
        """Put back what was changed. Returns its names."""
        changed = []
        for owner, names, before in zip(self.owners, self.names, self.before, strict=True):
            now = vars(owner)
            for name, value in names.items():
                if now.get(name, self) is not value:
                    changed.append(f"{_name(owner)}.{name}")
                    setattr(owner, name, value)
            for name in [n for n in now if n not in before and _shadows(owner, n)]:
                changed.append(f"{_name(owner)}.{name}")
                delattr(owner, name)

        for function, inside in self.codes:
            if any(a is not b for a, b in zip(_inside(function), inside, strict=True)):
                changed.append(_name(function))
                function.__code__, function.__defaults__, function.__kwdefaults__ = inside
        for table, content in self.tables:
            if not _same(table, content):
                changed.append("a table of the checks")
                table.clear()
                table.update(content) if isinstance(table, dict) else table.extend(content)
        return changed


_FUNCTIONS = types.FunctionType


def _inside(function: Callable) -> tuple:
    return function.__code__, function.__defaults__, function.__kwdefaults__  # type: ignore[attr-defined]


def _has_names(value: Any) -> bool:
    """Whether a value of a module is a class or, as a check is, an object with functions in it."""
    return inspect.isclass(value) or isinstance(getattr(value, "find", None), _FUNCTIONS)


def _sealed_names(owner: Any) -> dict[str, Any]:
    """The attributes of an owner that should stay: what can be called, and constants."""
    return {
        name: value
        for name, value in list(vars(owner).items())
        if name not in ("SEED", "FOUND", "answer", "__dict__", "__weakref__", "__abstractmethods__")
        and (callable(value) or isinstance(value, _KINDS) or name.isupper())
    } | {name: vars(owner)[name] for name in ["FOUND"] if name in vars(owner)}


_KINDS = (types.ModuleType, staticmethod, classmethod, property, functools.cached_property)


def _shadows(owner: Any, name: str) -> bool:
    """Whether a new name of an owner hides another one: a base class's, or a builtin."""
    if inspect.isclass(owner):
        return not name.startswith("_abc") and any(name in vars(b) for b in owner.__mro__[1:])
    return isinstance(owner, types.ModuleType) and name in _BUILTINS and not name.startswith("__")


_BUILTINS = frozenset(vars(__import__("builtins")))


def _same(a: Any, b: Any) -> bool:
    """Whether two tables hold the very same things in one order."""
    if len(a) != len(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(a[key] is b[key] for key in b)
    return all(x is y for x, y in zip(a, b, strict=True))


def _name(thing: Any) -> str:
    module = getattr(thing, "__module__", None)
    name = getattr(thing, "__qualname__", getattr(thing, "__name__", type(thing).__name__))
    return f"{module}.{name}" if isinstance(module, str) else str(name)


def copy_of(module: types.ModuleType) -> types.ModuleType:
    """A module with the same contents under the same name, which rebinding does not reach."""
    twin = types.ModuleType(module.__name__)
    vars(twin).update(vars(module))
    return twin


class CallWatch:
    """Notes whether the functions that compare answers came to call a student's code.

    That is so where a function that they use was replaced and puts itself back, or where an answer
    is a tensor of a class of its own, which says that it equals all others.

    Args:
        verdict: the module of those functions; the checks lie beside it.
        finds: the code of the checks themselves.
    """

    def __init__(self, verdict: types.ModuleType, finds: set[types.CodeType]) -> None:
        self.file, self.finds, self.lied = str(verdict.__file__), finds, False
        self.folder = os.path.dirname(self.file)

    def __enter__(self) -> "CallWatch":
        self.lied = False
        sys.setprofile(self._event)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _event(self, frame: types.FrameType, event: str, _arg: Any) -> None:
        caller = frame.f_back
        if event != "call" or not caller or not in_cell(frame.f_code):
            return
        code, name = caller.f_code, caller.f_code.co_name
        shown = name == "__call__" and frame.f_code.co_name == "__str__"  # of an exception
        if code.co_filename == self.file and name != "ask" and not shown:
            self.lied |= frame.f_code not in self.finds
        elif os.path.dirname(code.co_filename) == self.folder:  # under a name of the check's module
            self.lied |= any(frame.f_code in _codes(thing) for thing in caller.f_globals.values())


def _codes(thing: Any) -> tuple[Any, Any]:
    """What runs when something is called: a function's code, or that of its class."""
    call = inspect.getattr_static(type(thing), "__call__", None)
    return getattr(thing, "__code__", None), getattr(call, "__code__", None)
