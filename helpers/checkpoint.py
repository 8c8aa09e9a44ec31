"""What training leaves behind: written whole or not at all, and read with clear errors."""

import json
import warnings
from pathlib import Path

from helpers.constants import CLASS_COLORS, CLASS_NAMES
from helpers.distributed import place
from helpers.files import atomic, make_folder
from helpers.model import UNet
from helpers.networks.pretrained import PretrainedUNet

import torch

FORMAT = 2  # raise when what a checkpoint holds changes
WEIGHTS = Path(__file__).parent / "weights"  # shipped, with a model card


def load_model(path: str | Path = "pets-pretrained") -> tuple[UNet | PretrainedUNet, dict]:
    """The U-Net in a checkpoint, in eval() mode on the CPU, and what is known of it.

    Args:
        path: a file, or the name of shipped weights: "synthetic", "pets" or "pets-pretrained".
            If none is given, those that are best on photographs.

    Raises FileNotFoundError, or ValueError for a file that is damaged or holds something else.
    """
    state = read_checkpoint(path)
    try:
        config = state["model_config"]
        model = PretrainedUNet(**config) if "encoder" in config else UNet(**config)
        model.load_state_dict(state["model"])
    except (TypeError, RuntimeError) as error:
        raise ValueError(f"{path} does not hold a U-Net of helpers.model: {error}") from error

    about = {"class_names": list(CLASS_NAMES), "class_colors": list(CLASS_COLORS)}
    return model.eval(), about | {key: value for key, value in state.items() if key != "model"}


def read_checkpoint(path: str | Path) -> dict:
    """What `fit` saved, on the CPU. Raises FileNotFoundError, or ValueError for a damaged file.

    path: a file, or the name of shipped weights.
    """
    if not (path := find_weights(path)).is_file():
        told = "does not exist: train first (notebook 04), or check the path"
        told = "is a folder: name the file in it, best.pt" if path.is_dir() else told
        names = ", ".join(sorted(file.stem for file in WEIGHTS.glob("*.pt")))
        raise FileNotFoundError(f"{path} {told}; the weights that come with the series are {names}")

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (PermissionError, MemoryError):
        raise  # the file may be good
    except Exception as error:  # torch.load raises half a dozen types for damaged files
        raise ValueError(
            f"{path} is not a readable checkpoint: delete it and train again, or copy it again"
        ) from error

    if not isinstance(state, dict) or not {"model", "model_config"} <= state.keys():
        raise ValueError(f"{path} is none of helpers.training: it lacks 'model' and 'model_config'")
    if state.get("format") != FORMAT:
        raise ValueError(
            f"{path} was written by another edition of this series: train again, or get that one;"
            " of 0.2, torch.load(path)['model'] fits UNet(**torch.load(path)['model_config'])"
        )
    return state


def find_weights(path: str | Path) -> Path:
    """A file, or the shipped weights of this name."""
    shipped = WEIGHTS / f"{path}.pt"
    # Only a name: joined to a folder, an absolute path stays as it is.
    return shipped if shipped.parent == WEIGHTS and shipped.is_file() else Path(path)


def save_checkpoint(path: Path, state: dict) -> None:
    """torch.save, whole or not at all. Raises OSError on a full disk."""
    with atomic(path) as partial, open(partial, "wb") as file:
        torch.save(state | {"format": FORMAT}, file)


class RunFolder:
    """The files of a run: best.pt, the best weights, and last.pt, all that is needed to go on.

    Args:
        folder: None keeps nothing on disk.
        about: what the run depends on; it is stored with the weights, and a run goes on with the
            same only. Where it differs in `may_change`, going on is allowed, with a warning.

    Raises TypeError for an `about` that does not consist of plain values.
    """

    may_change = ("device", "precision")

    def __init__(self, folder: str | Path | None, about: dict) -> None:
        self.folder = Path(folder) if folder else None
        self.about = json.loads(json.dumps(about)) if folder else about  # or TypeError

    def start(self) -> None:
        """Make room for a new run: the files of an earlier one are renamed, never destroyed."""
        if self.folder is None or place()[0]:  # of several processes, the first writes
            return
        make_folder(self.folder)
        number = 1
        while any(self.folder.glob(f"*.{number}.*")):
            number += 1
        for path in [self.folder / name for name in ("best.pt", "last.pt", "record.json")]:
            if path.exists():
                path.rename(path.with_name(f"{path.stem}.{number}{path.suffix}"))

    def read_last(self, state: dict) -> dict | None:
        """The state after the last finished epoch, None if there is none.

        Args:
            state: as `save` gets it. What else a file holds, its run was about.

        Raises ValueError for a run of another model, configuration or data.
        """
        if self.folder is None or not (path := self.folder / "last.pt").is_file():
            return None
        saved = read_checkpoint(path)

        for key in (key for key in self.about | saved if key not in {*state, "format"}):
            if (was := saved.get(key)) == (now := self.about.get(key)):
                continue
            if isinstance(was, dict) and isinstance(now, dict):  # say what differs, and no more
                different = [k for k in was | now if was.get(k) != now.get(k)]
                was, now = ({k: part.get(k) for k in different} for part in (was, now))
            made = f"{path} was made with {key} {was}"
            if key not in self.may_change:
                raise ValueError(
                    f"{made}, not {now}: use the same again (a run cannot be made longer: its"
                    " schedule is fixed), or choose another folder"
                )
            warnings.warn(f"{made}, and goes on with {now}: numbers will differ", stacklevel=3)
        return saved

    def save(self, state: dict, best: dict, improved: bool) -> None:
        """Write last.pt, after best.pt if this epoch is the best so far."""
        if self.folder is None or place()[0]:
            return
        if improved:
            save_checkpoint(self.folder / "best.pt", self.about | best)
        save_checkpoint(self.folder / "last.pt", self.about | state)
