"""Checkpoints: written whole or not at all, and read with clear errors."""

import hashlib
import io
import os
from pathlib import Path

import torch

from helpers.data import CLASS_NAMES
from helpers.model import UNet
from helpers.source import Source

WEIGHTS = Path(__file__).parent / "weights"  # shipped with the package, with SHA256SUMS and a model card
SHIPPED, SHIPPED_PHOTOS = WEIGHTS / "sketch.pt", WEIGHTS / "oxford-561.pt"


def load_model(path: Path) -> tuple[UNet, dict]:
    """The U-Net in a checkpoint, in eval() mode on the CPU, and what is known of it.

    Raises FileNotFoundError, or ValueError for a file that is damaged or holds something else.
    """
    state = read_checkpoint(path)
    try:
        model = UNet(**state["model_config"])
        model.load_state_dict(state["model"])
    except (TypeError, KeyError, RuntimeError) as error:
        raise ValueError(f"{path} does not hold a U-Net of helpers.model ({error}): train it again") from error
    return model.eval(), {key: value for key, value in state.items() if key != "model"}


def find_checkpoint(source: Source, size: int = 128) -> Path:
    """The weights for a dataset: of your own runs the best by validation mIoU, else those shipped.

    Only runs with three classes and this input size, in pixels, are compared: others answer other questions.
    One file is shipped for the drawn pets, one for photos: the 561-pair part, whose card is weights/README.md.
    """
    own = {path: read_checkpoint(path) for path in source.runs.rglob("best.pt")}
    fitting = {
        path: state["val_miou"]
        for path, state in own.items()
        if state["model_config"].get("num_classes") == len(CLASS_NAMES) and state.get("data", {}).get("size") == size
    }
    if fitting:
        return max(fitting, key=fitting.get)
    return SHIPPED if source.name == "sketch" else SHIPPED_PHOTOS


def read_checkpoint(path: Path) -> dict:
    """What `fit` saved, on the CPU. Raises FileNotFoundError, or ValueError for a damaged file.

    Shipped files are compared with their SHA-256 first.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: train first (notebook 04), or check the path")
    if path.parent.resolve() == WEIGHTS.resolve():
        _check_sum(path)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (PermissionError, MemoryError):
        raise  # the file may be good
    except Exception as error:  # torch.load raises half a dozen types for damaged files
        raise ValueError(f"{path} is not a readable checkpoint: delete it and train again, or copy it anew") from error
    if not isinstance(state, dict) or not {"model", "model_config"} <= state.keys():
        raise ValueError(f"{path} was not written by helpers.training: it lacks 'model' and 'model_config'")
    return state


def save_checkpoint(path: Path, state: dict) -> None:
    """torch.save under a temporary name, then rename: `path` is never half written."""
    content = io.BytesIO()  # a full disk then raises OSError: torch.save itself would raise RuntimeError
    torch.save(state, content)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with open(partial, "wb") as file:
            file.write(content.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_sums() -> None:
    """Write weights/SHA256SUMS, in the format of the command sha256sum, after a shipped file was made anew."""
    lines = (f"{_sha256(path)}  {path.name}\n" for path in sorted(WEIGHTS.glob("*.pt")))
    (WEIGHTS / "SHA256SUMS").write_text("".join(lines), encoding="utf-8")


def _check_sum(path: Path) -> None:
    lines = (WEIGHTS / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    expected = {name: digest for digest, name in map(str.split, lines)}
    if expected.get(path.name) != (found := _sha256(path)):
        raise ValueError(
            f"{path} is not the file that was shipped: its SHA-256 is {found}, not {expected.get(path.name)};"
            " restore it with git checkout, or install the package again"
        )


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
