"""Train a network from the shell: `helpers.training.fit` with all that it can be told as flags.

    python -m helpers.train --data synthetic --out runs/first --epochs 5

leaves in runs/first: best.pt, the weights of the epoch that was best on validation; last.pt, to go
on from; record.json, what was fixed and what came out. The same command goes on where an earlier
one was cut off, after the last finished epoch, and gives what one that was not cut off would have.

Several processes, one for each GPU or with a part of the CPU's threads each, train together (tried
on Linux; on Windows, torchrun may not start):

    torchrun --nproc-per-node 2 -m helpers.train --data synthetic --out runs/first --epochs 5

Each takes its part of every batch (--batch-size is of all together), so the gradients are those of
one process, but for three things that see one part of a batch only: BatchNorm's statistics in
training, the Dice loss, which is no mean over samples, and the cross-entropy where pixels are
ignored, a mean over those that count in each part. Scores differ as between seeds.
"""

import argparse
import inspect
import json
import os
import re
import sys
import traceback
from ast import literal_eval
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

from helpers.datasets import synthetic
from helpers.datasets.folder import open_folder
from helpers.datasets.pairs import Source
from helpers.datasets.pets import find_dataset
from helpers.distributed import place
from helpers.files import home
from helpers.inference import pick_device
from helpers.studies.experiments import Experiment, run_experiment, settings_of
from helpers.studies.records import write_record
from helpers.training import TrainingConfig

import torch
import torch.distributed as dist


def main(arguments: Sequence[str] | None = None) -> None:
    flags = parser()
    options = flags.parse_args(arguments)
    if options.flip and not options.test:
        flags.error("--flip is about the test list: give --test, too")
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # odd names

    torch.set_num_threads(options.threads)
    try:
        with processes(options.device) as device:
            run(options, device)
    except KeyboardInterrupt:
        print("stopped: the same command goes on after the last finished epoch")
        raise SystemExit(130) from None
    except Exception as error:
        # What this package raises on purpose says what to do. All else is shown whole.
        last = traceback.extract_tb(error.__traceback__)[-1]
        on_purpose = (last.line or "").startswith("raise ")
        if not on_purpose or not Path(last.filename).is_relative_to(Path(__file__).parent):
            raise
        message = error.args[0] if isinstance(error, KeyError) else error  # of which str is a repr
        raise SystemExit(f"error: {message}") from error


def run(options: argparse.Namespace, device: torch.device) -> None:
    """Train, and write the record."""
    training = {field.name: getattr(options, field.name) for field in fields(TrainingConfig)}
    chosen = {
        field.name: getattr(options, field.name)
        for field in fields(Experiment)
        if field.name not in ("model", "training")
    }
    experiment = Experiment(model=dict(options.model), **chosen)

    source = open_data(options.data, options.channels)
    shown = {"data": source.name, **settings_of(experiment), "training": training}
    if place()[0] == 0:
        print(json.dumps(shown, indent=2), flush=True)
    _, record = run_experiment(
        options.name or options.out.name,
        source,
        experiment,
        device=device,
        limit=options.limit,
        folder=options.out,
        test=options.test,
        flip=options.flip,
        **training,
    )

    if not record:  # another process has it
        return
    write_record(record, options.out / "record.json")
    for split in ("val", "test"):
        if split in record:
            print(f"{split} mIoU {record[split]['miou']:.4f}")
    print(options.out / "record.json")


@contextmanager
def processes(name: str) -> Iterator[torch.device]:
    """Join the other processes, if torchrun has started several. Gives this one's device."""
    device = pick_device(name)
    if not (dist.is_available() and dist.is_torchelastic_launched()):
        yield device
        return

    if device.type == "mps" and name == "auto":  # gloo does not know it
        device = torch.device("cpu")
    if device.type == "cuda":  # a GPU for each
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield device
    finally:
        dist.destroy_process_group()


def open_data(name: str, channels: Sequence[int] | None = None) -> Source:
    """The synthetic pets, the Oxford-IIIT Pet dataset, one in its layout, or images of your own."""
    folder = Path(name)
    is_own = name != "synthetic" and (folder / "images").is_dir()
    is_own &= not (folder / "annotations").is_dir()  # one folder too deep in the official layout
    if channels and not is_own:
        raise ValueError("--channels is for images of your own: leave it out")
    if name == "synthetic":
        root = synthetic.synthetic_root(home() / "data")
        synthetic.extract(root)
        return find_dataset(root)

    if is_own:
        return open_folder(name, channels=channels)
    known = ("images", "annotations", "oxford-iiit-pet")
    if name != "pets" and not any((folder / part).is_dir() for part in known):
        raise FileNotFoundError(
            f"--data {name}: it must hold images/, masks/ and classes.csv, for images of your own,"
            " or oxford-iiit-pet/, in the official layout"
        )
    source = find_dataset(None if name == "pets" else name)
    if name == "pets" and source.is_synthetic:
        raise SystemExit(
            "--data pets: the dataset is not here: set PETS_DATA to the folder that holds"
            " oxford-iiit-pet/, or fetch it by helpers.datasets.pets.find_dataset(download=True)"
        )
    return source


def parser() -> argparse.ArgumentParser:
    """The flags: those of the run, then every field of `Experiment` and of `TrainingConfig`."""
    made = argparse.ArgumentParser(
        prog="python -m helpers.train",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_run(made.add_argument_group("the run"))

    texts = _descriptions(Experiment)
    group = made.add_argument_group("network and data")
    _add_fields(group, Experiment, texts, left_out=("model", "training"))
    pairs = "such as base_channels=24 depth=5 (default: its own)"
    options: dict[str, Any] = {"nargs": "+", "default": [], "metavar": "KEY=VALUE"}
    group.add_argument("--model", type=_setting, help=f"{texts['model']}, {pairs}", **options)

    texts = _descriptions(TrainingConfig)
    texts["seed"] = "of the weights, the order of the pairs and the augmentation"
    _add_fields(made.add_argument_group("training"), TrainingConfig, texts)
    return made


def _add_run(group: argparse._ArgumentGroup) -> None:
    """What is not part of an `Experiment`: from where, to where, how far."""
    group.add_argument(
        "--data",
        required=True,
        metavar="synthetic|pets|FOLDER",
        help="the drawings; the photographs that PETS_DATA names, or that were downloaded into"
        " data/; those in a folder that holds oxford-iiit-pet/, in the official layout; or images"
        " of your own, in a folder that holds images/, masks/ and classes.csv",
    )
    group.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="where to keep weights, checkpoint and record of this run, and of no other",
    )
    group.add_argument("--name", help="of the run, in its record (default: the last part of --out)")

    text = "of images with more than three, those that are read as RGB, from 0 on (default: none)"
    group.add_argument("--channels", type=int, nargs=3, metavar="K", help=text)
    final = "score the end result on the official test list, too: for final runs (default: no)"
    group.add_argument("--test", action="store_true", help=final)
    flip = "with --test: score it with test-time augmentation, too (default: no)"
    group.add_argument("--flip", action="store_true", help=flip)
    limit = "train on so many pairs at most, and validate on so many (default: all)"
    group.add_argument("--limit", type=_positive, metavar="PAIRS", help=limit)

    group.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (default: auto)")
    threads, text = torch.get_num_threads(), "of the CPU (default: %(default)s)"
    group.add_argument("--threads", type=_positive, metavar="N", default=threads, help=text)


def _add_fields(
    group: argparse._ArgumentGroup, kind: type, texts: dict[str, str], left_out: Sequence[str] = ()
) -> None:
    """A flag for each field of a dataclass."""
    for field in fields(kind):
        if field.name in left_out:
            continue
        shown = field.default if field.default != "" else "random"
        of_type = type(field.default)
        group.add_argument(
            "--" + field.name.replace("_", "-"),
            type=of_type,
            default=field.default,
            metavar={int: "N", float: "X", str: "NAME"}[of_type],
            help=f"{texts[field.name]} (default: {shown})".replace("%", "%%"),
        )


def _positive(text: str) -> int:
    """A whole number from 1 on."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return int(text)


def _setting(text: str) -> tuple[str, object]:
    """KEY=VALUE: a Python number, list, True or False, or else a word."""
    key, separator, value = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    try:
        return key, literal_eval(value)
    except (ValueError, SyntaxError):
        return key, value


def _descriptions(kind: type) -> dict[str, str]:
    """What the docstring of a dataclass says of each field, without the marks of code."""
    text = inspect.cleandoc(kind.__doc__ or "").split("Args:")[1].split("\n\n")[0]
    names = "|".join(field.name for field in fields(kind))
    parts = re.split(rf"^ {{4,8}}({names}): ", text, flags=re.MULTILINE)
    return {
        name: " ".join(words.replace("`", "").split()).rstrip(".")
        for name, words in zip(parts[1::2], parts[2::2], strict=True)
    }


if __name__ == "__main__":
    main()
