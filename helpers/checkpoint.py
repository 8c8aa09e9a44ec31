"""Checkpoints: written whole or not at all, and read with clear errors."""

import io
import os
from pathlib import Path

import torch

from helpers.model import UNet
from helpers.source import Source

SHIPPED = Path(__file__).parent / "weights" / "sketch.pt"


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


def find_checkpoint(source: Source) -> Path:
    """The weights for a dataset: of your own runs the best by validation mIoU, else those shipped.

    Only weights for the drawn pets are shipped: for another dataset, FileNotFoundError says to train first.
    """
    own = list(source.runs.rglob("best.pt"))
    if own:
        return max(own, key=lambda path: read_checkpoint(path)["val_miou"])
    if source.name == "sketch":
        return SHIPPED
    raise FileNotFoundError(
        f"{source.runs} holds no weights for {source.name}: run notebook 04 with this dataset first"
    )


def read_checkpoint(path: Path) -> dict:
    """What `fit` saved, on the CPU. Raises FileNotFoundError, or ValueError for a damaged file."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: train first (notebook 04), or check the path")
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
