"""Train a network from the shell: `helpers.training.fit` with all that it can be told as flags.

    python -m helpers.train --data synthetic --out runs/first --epochs 5

leaves in runs/first: best.pt, the weights of the epoch that was best on validation; last.pt, to go
on from; record.json, what was fixed and what came out. The same command goes on where an earlier
one was cut off, after the last finished epoch, and gives what one that was not cut off would have.

Several processes, one for each GPU or with a part of the CPU's threads each, train together:

    torchrun --nproc-per-node 2 -m helpers.train --data synthetic --out runs/first --epochs 5

Each takes its part of every batch (--batch-size is of all together), so the gradients are those of
one process, but for two things that see one part of a batch only: BatchNorm's statistics in
training, and the Dice loss, which is no mean over samples. Scores differ as between seeds.
"""

import argparse
import inspect
import json
import os
import re
from ast import literal_eval
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path

from helpers.datasets import synthetic
from helpers.datasets.pets import PetFolder, find_dataset
from helpers.distributed import place
from helpers.files import home
from helpers.inference import pick_device
from helpers.studies.experiments import Experiment, run_experiment
from helpers.studies.records import write_record
from helpers.training import TrainingConfig

import torch
import torch.distributed as dist


def main(arguments: Sequence[str] | None = None) -> None:
    options = parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    with processes(options.device) as device:
        run(options, device)


def run(options: argparse.Namespace, device: torch.device) -> None:
    """Train, and write the record."""
    training = {field.name: getattr(options, field.name) for field in fields(TrainingConfig)}
    chosen = {
        field.name: getattr(options, field.name)
        for field in fields(Experiment)
        if field.name not in ("model", "training")
    }
    experiment = Experiment(model=dict(options.model), **chosen)

    source = open_data(options.data)
    shown = {"experiment": asdict(experiment), "training": training}
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
    if not dist.is_torchelastic_launched():
        yield device
        return

    if device.type == "cuda":  # a GPU for each
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield device
    finally:
        dist.destroy_process_group()


def open_data(name: str) -> PetFolder:
    """The synthetic pets, the Oxford-IIIT Pet dataset, or one in a folder, in the same layout."""
    if name == "synthetic":
        root = synthetic.synthetic_root(home() / "data")
        synthetic.extract(root)
        return find_dataset(root)

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
    run = made.add_argument_group("the run")
    run.add_argument(
        "--data",
        required=True,
        metavar="synthetic|pets|FOLDER",
        help="FOLDER holds oxford-iiit-pet/, in the official layout",
    )
    run.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="of this run alone")
    run.add_argument("--name", help="in the record; the folder's name if not given")
    run.add_argument("--test", action="store_true", help="score on the test list: final runs only")
    run.add_argument("--flip", action="store_true", help="there, also with mirrored images")
    run.add_argument("--limit", type=int, help="use at most so many pairs, for a try")
    run.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (default: auto)")
    run.add_argument(
        "--threads", type=int, default=torch.get_num_threads(), help="of the CPU (all)"
    )

    for title, kind, left_out in (
        ("network and data", Experiment, ("model", "training")),
        ("training", TrainingConfig, ()),
    ):
        group, texts = made.add_argument_group(title), _descriptions(kind)
        for field in fields(kind):
            if field.name in left_out:
                continue
            flag = "--" + field.name.replace("_", "-")
            shown = field.default if field.default != "" else "random"
            text = f"{texts[field.name]} (default: {shown})".replace("%", "%%")
            group.add_argument(flag, type=type(field.default), default=field.default, help=text)
        if kind is Experiment:
            group.add_argument(
                "--model",
                type=_setting,
                nargs="+",
                default=[],
                metavar="KEY=VALUE",
                help=texts["model"] + ", such as base_channels=24 depth=5",
            )
    return made


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
    """What the docstring of a dataclass says of each field."""
    text = inspect.cleandoc(kind.__doc__ or "").split("Args:")[1].split("\n\n")[0]
    names = "|".join(field.name for field in fields(kind))
    parts = re.split(rf"^ {{4,8}}({names}): ", text, flags=re.MULTILINE)
    return {
        name: " ".join(words.split()).rstrip(".")
        for name, words in zip(parts[1::2], parts[2::2], strict=True)
    }


if __name__ == "__main__":
    main()
