"""Where files are kept, and how they are written: whole, or not at all."""

import errno
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ABANDONED_AFTER = 24 * 3600  # seconds: half-written and older, it was left by a killed process


def home() -> Path:
    """The folder of data/ and runs/: what UNET_HOME names, or the clone, or the current folder."""
    if named := os.environ.get("UNET_HOME"):
        return Path(named).expanduser().resolve()
    clone = Path(__file__).resolve().parents[1]
    return clone if (clone / "pyproject.toml").is_file() else Path.cwd()


def make_folder(path: Path) -> None:
    """Make a folder that can be written to. Raises OSError that says what to do."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        if not os.access(path, os.W_OK):
            raise PermissionError("no permission to write")
    except OSError as error:
        raise OSError(
            f"cannot write to {path} ({error.strerror or error}): make the folder writable, or"
            " clone the project into a folder of your own"
        ) from error


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Write a file or a folder whole or not at all.

    Gives a temporary path beside `path`. Make a file or a folder there; when the block ends without
    an error, it gets its final name: a file replaces an older one, a folder that another process
    has made in the meantime stays. After an error nothing is left.

    Raises OSError that says how to go on where the disk is full.
    """
    # A name that is as long as can be would be too long with more behind it.
    partial = path.with_name(f".{path.name[:50]}.{uuid.uuid4().hex[:12]}.partial")
    _sweep(path.parent)
    try:
        yield partial
        for wait in (0.1, 0.3, 1, None):  # on Windows, a scanner holds what is new for moments
            try:
                # On the disk first: a rename may survive a crash that the content does not.
                if partial.is_file():
                    with open(partial, "rb+") as file:
                        os.fsync(file.fileno())
                os.replace(partial, path)
                return
            except OSError as error:
                if partial.is_dir() and path.is_dir():  # another process was faster, with the same
                    return
                if wait is None or not isinstance(error, PermissionError):
                    raise
                time.sleep(wait)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            message = f"the disk is full, {path} was not written: make room and run this again"
            raise OSError(errno.ENOSPC, message) from error
        raise
    finally:
        _remove(partial)


def _sweep(folder: Path) -> None:
    """Delete what processes that were killed have left half-written."""
    for left in folder.glob(f".*.{'[0-9a-f]' * 12}.partial"):
        with suppress(OSError):  # another process was faster, or it is another user's
            if time.time() - left.stat().st_mtime > ABANDONED_AFTER:
                _remove(left)


def _remove(path: Path) -> None:
    if path.is_dir():
        return shutil.rmtree(path, ignore_errors=True)
    path.unlink(missing_ok=True)
