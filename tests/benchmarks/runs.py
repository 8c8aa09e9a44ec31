"""The training runs behind RESULTS.md and notebooks 05, 07 and 09, in order of worth.

    PETS_DATA=... python tests/benchmarks/runs.py run --folder FOLDER
    python tests/benchmarks/runs.py list --folder FOLDER
    python tests/benchmarks/runs.py collect --folder FOLDER

`run` takes the next run that has no record yet, again and again; it goes on inside one that was cut
off, and starts none that another process works on: a second call with the same folder shares the
work. Each run is one call of `python -m helpers.train`, which `list` shows: a row of RESULTS.md is
made again by its line. `collect` copies the finished records into helpers/studies/records, where
they count as done in a new folder too.
"""

import argparse
import fcntl
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from helpers.checkpoint import WEIGHTS
from helpers.studies.records import RECORDS, load_records, record_path
from helpers.train import parser

from peers import PEERS as OTHERS
from peers import network_of
from speed import epochs_in, samples_in

HERE = Path(__file__).parent
MACHINE = "cpu, x86_64 AVX512, 2 threads"  # whose speeds turn minutes into epochs


@dataclass(frozen=True)
class Run:
    """One training: its study, name and seed, and the flags of `helpers.train`.

    Args:
        rates: the study of the trials whose best learning rate on validation this run takes.
        minutes: train for so long at the network's own speed, as speed.py has measured it alone
            and in bfloat16 (if the flags name no other precision), instead of a given number of
            epochs. The steps are those; the run may be in float32, on a chip for which that is
            faster.
        parts: the minutes are cut into so many "epochs" of equal length, each with a validation. 0:
            whole epochs are trained, as many as fit into the minutes.
    """

    study: str
    name: str
    seed: int
    flags: str = ""
    rates: str = ""
    minutes: float = 0
    parts: int = 0

    @property
    def folder(self) -> str:
        return f"{self.study}/{record_path(self.name, self.seed, self.study).stem}"

    def command(self, folder: Path, precision: str = "bfloat16") -> list[str] | None:
        """The arguments of `helpers.train`, or None while what they depend on is not there.

        Args:
            precision: of runs whose flags name none.
        """
        flags = ["--data", "pets", "--device", "cpu", *shlex.split(self.flags)]
        measured = flags  # as speed.py has the network, for runs of so many minutes
        if "--precision" not in flags:
            measured = [*flags, "--precision", "bfloat16"]
            flags = [*flags, "--precision", precision]
        if self.rates:
            trials = [trial.record(folder) for trial in self.trials()]
            if not all(trials):
                return None
            records = [json.loads(path.read_text(encoding="utf-8")) for path in trials if path]
            best = max(records, key=lambda record: record["val"]["miou"])  # a tie: the lowest rate
            rate = best["settings"]["training"]["learning_rate"]
            flags += ["--learning-rate", str(rate)]
        if self.minutes:
            if (case := speed_of(measured)) is None:
                return None
            if self.parts:
                samples = samples_in(self.minutes, *case) // self.parts
                flags += ["--samples", str(samples), "--epochs", str(self.parts)]
            else:
                flags += ["--epochs", str(epochs_in(self.minutes, *case))]
        weights = flags[flags.index("--weights") + 1] if "--weights" in flags else "imagenet"
        if weights != "imagenet" and not (WEIGHTS / f"{weights}.pt").is_file():
            return None
        return [*flags, "--out", self.folder, "--name", self.name, "--seed", str(self.seed)]

    def record(self, folder: Path) -> Path | None:
        """Where its record is: in the folder, or collected by an earlier one."""
        here = folder / self.folder / "record.json"
        if here.is_file():
            return here
        kept = record_path(self.name, self.seed, self.study, RECORDS)
        return kept if kept.is_file() else None

    def trials(self) -> list["Run"]:
        return [Run(self.rates, f"{self.name}, {rate}", 0) for rate in RATES]


def speed_of(flags: list[str]) -> tuple[dict, int] | None:
    """What speed.py has measured of a network, and the pairs of an epoch; None before it has."""
    try:
        (speeds,) = (record for record in load_records("speed") if record["name"] == MACHINE)
    except (FileNotFoundError, ValueError):
        return None
    options = parser().parse_args([*flags, "--out", "."])
    wanted = {"network": options.network, "model": dict(options.model), "size": options.size}
    wanted["precision"] = options.precision
    for case in speeds["networks"].values():
        if {key: case[key] for key in wanted} == wanted:
            return case, speeds["pairs"]
    return None


def each(study: str, seeds: Sequence[int], flags: dict[str, str], **options: Any) -> list[Run]:
    """Every named set of flags with every seed, the seeds outside."""
    always = options.pop("always", "")
    return [
        Run(study, name, seed, f"{always} {own}".strip(), **options)
        for seed in seeds
        for name, own in flags.items()
    ]


def compared(
    study: str,
    arms: dict[str, str],
    trial: str = "",
    final: str = "",
    minutes: tuple[float, float] = (0, 0),
    once: Sequence[str] = (),
) -> list[Run]:
    """Each arm with every rate, then three seeds with its best (one, for those named in `once`).

    Args:
        trial, final: the flags of a trial, and of a run after it.
        minutes: likewise; 0 where the flags give the epochs.
    """
    trials = [
        Run(f"{study}-rates", f"{name}, {rate}", 0, f"{trial} {own} --learning-rate {rate}")
        for name, own in arms.items()
        for rate in RATES
    ]
    runs = [
        Run(study, name, seed, f"{final} {own}", rates=f"{study}-rates")
        for seed in (1, 2, 3)
        for name, own in arms.items()
        if seed == 1 or name not in once
    ]
    short, long = minutes
    return [
        *(replace(trial, minutes=short, parts=1) for trial in trials),
        *(replace(run, minutes=long, parts=5) for run in runs),
    ]


RATES = ("1e-3", "3e-3", "1e-2")
ENCODER = "--network PretrainedUNet"
IMAGENET = f"{ENCODER} --weights imagenet"
FINAL = "--test --flip"
SHORT = "--epochs 5 --test"

# How the encoder is to be trained, on validation.
HOW = {
    "one rate": f"{IMAGENET} --learning-rate 1e-3",
    "a tenth for the encoder": f"{IMAGENET} --encoder-rate 0.1",
    "0.3 for the encoder": f"{IMAGENET} --encoder-rate 0.3",
}
ALSO = {
    "one rate, 3e-3": IMAGENET,
    "frozen": f"{IMAGENET} --model frozen=True",
    "frozen, BatchNorm in training mode": "--network variants:frozen_but_for_statistics",
    "random weights": f"{ENCODER} --learning-rate 3e-3",
}

# What might help the default U-Net, on validation.
TRIED = {
    "default": "",
    "border counts double": "--network variants:UNet --loss 'border twice'",
    "deep supervision": "--network variants:DeepUNet --loss deep",
    "crops": "--augment variants:CropAndColor",
    "moving average of the weights": "--network variants:AveragedUNet",
}
TRIED_LATER = {
    "stronger augmentation": "--augment variants:stronger",
    "residual blocks": "--network variants:ResidualUNet",
    "depth 5": "--model depth=5",
}

BEGINNINGS = {
    "random": "",
    "synthetic": "--weights synthetic",
    "ImageNet": f"{IMAGENET} --encoder-rate 0.3",
}
LITTLE = {
    f"{weights}, {percent} %": f"{flags} --fraction {percent / 100}"
    for percent in (5, 25, 100)
    for weights, flags in BEGINNINGS.items()
}

PEERS = {
    "ours": "",
    "ours, pretrained": f"{IMAGENET} --encoder-rate 0.3",
    **{name: f"--network {network_of(name)}" for name in OTHERS},
}
SLOW = ("milesial's U-Net, reimplemented", "H0rvex's U-Net, reimplemented")  # one epoch: minutes
EQUAL = {"final": "--test", "minutes": (3, 10)}
ARMS = {
    "baseline": "",
    "no skips": "--model skips=False",
    "8 channels": "--model base_channels=8",
    "cross-entropy alone": "--loss ce",
    "no augmentation": "--augment none",
    "64 px": "--size 64",
    "from synthetic pets": "--weights synthetic",
}

# Larger input at the end: the shipped weights, which are seed 0 of two final runs, go on with it.
LARGER = "--learning-rate 1e-3 --encoder-rate 0.3"
FROM_SCRATCH = f"--weights pets --size 224 --epochs 12 --learning-rate 1e-3 {FINAL}"
PRETRAINED = f"{ENCODER} --weights pets-pretrained --size 256 --epochs 10 {LARGER} {FINAL}"


def finals(seed: int) -> list[Run]:
    """The runs of the table of results, but for the best from scratch."""
    synthetic = "default U-Net from synthetic pets"
    minutes = {p: f"--test --precision {p}" for p in ("bfloat16", "float32")}
    return [
        Run("results", "default U-Net", seed, f"--epochs 60 {FINAL}"),
        Run("results", synthetic, seed, f"--epochs 20 --weights synthetic {FINAL}"),
        *(Run("results", f"10 minutes, {p}", seed, minutes[p], minutes=10) for p in minutes),
    ]


def pretrained(seed: int) -> Run:
    flags = f"--epochs 20 --size 224 {IMAGENET} --encoder-rate 0.3 {FINAL}"
    return Run("results", "ImageNet encoder", seed, flags)


def part(arms: dict[str, str], first: int, last: int | None = None) -> dict[str, str]:
    return dict([*arms.items()][first:last])


# Where speed and end could differ.
LONG = [
    Run("long", name, 1, f"--epochs 15 {ARMS[name]}", rates="ablation-rates")
    for name in ("baseline", "no augmentation")
]

RUNS = [
    pretrained(0),
    *finals(0)[:2],
    Run("results", "default U-Net, 20 epochs", 0, f"--epochs 20 {FINAL}"),
    Run("results", "best from scratch", 0, FROM_SCRATCH),
    *finals(0)[2:],
    Run("results", "ImageNet encoder, then 256 px", 0, PRETRAINED),
    *each("encoder", (0,), HOW | part(ALSO, 0, 1), always="--epochs 6"),
    *each("tried", (0,), TRIED, always="--epochs 15"),
    *compared("ablation", ARMS, "--epochs 2", "--epochs 5"),
    *LONG,
    *each("little-data", (0,), part(LITTLE, 6), always=SHORT),
    *compared("peers", {name: PEERS[name] for name in PEERS if name not in SLOW}, **EQUAL),
    *each("tried", (0,), TRIED_LATER, always="--epochs 15"),
    *finals(1),
    *each("little-data", (0, 1, 2), part(LITTLE, 0, 6), always=SHORT),
    *compared("peers", {name: PEERS[name] for name in SLOW}, **EQUAL, once=SLOW),
    *finals(2),
    *each("little-data", (1, 2), part(LITTLE, 6), always=SHORT),
    *each("encoder", (0,), part(ALSO, 1), always="--epochs 6"),
    pretrained(1),
    pretrained(2),
]


def main(arguments: Sequence[str] | None = None) -> None:
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("action", choices=("run", "list", "collect"))
    made.add_argument("--folder", type=Path, required=True, help="of all runs")
    made.add_argument("--threads", type=int, default=1, help="of each run")
    made.add_argument("--only", nargs="+", metavar="STUDY", help="leave all other studies alone")
    made.add_argument(
        "--precision",
        default="bfloat16",
        help="of runs that fix none: float32 where the chip has neither AMX nor AVX512-BF16",
    )
    options = made.parse_args(arguments)
    options.folder.mkdir(parents=True, exist_ok=True)

    if options.action == "run":
        chosen = [run for run in RUNS if run.study in (options.only or [run.study])]
        if train_next(
            chosen, options.folder, options.threads, options.precision
        ):  # again, with the list as it is then
            os.execv(sys.executable, [sys.executable, *sys.argv])
        return
    for run in RUNS:
        record = run.record(options.folder)
        if options.action == "list":
            command = run.command(options.folder, options.precision)
            words = "waits for other runs" if command is None else shlex.join(command)
            print(f"[{'x' if record else ' '}] {run.folder}: {words}")
        elif record is not None and record.is_relative_to(options.folder):
            target = record_path(run.name, run.seed, run.study, RECORDS)
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(record, target)


def train_next(
    runs: Sequence[Run], folder: Path, threads: int, precision: str = "bfloat16"
) -> bool:
    """Train the first run that is neither done nor under way. Returns whether there was one."""
    for run in runs:
        out, command = folder / run.folder, run.command(folder, precision)
        if command is None or run.record(folder) or (out / "failed").is_file():
            continue
        with claimed(out) as mine:
            if not mine or run.record(folder):
                continue
            print(run.folder, flush=True)
            path = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
            with open(out / "log", "ab") as log:
                done = subprocess.run(
                    [sys.executable, "-m", "helpers.train", *command, "--threads", str(threads)],
                    cwd=folder,
                    env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": str(threads)},
                    stdout=log,
                    stderr=log,
                )
            if done.returncode > 0:  # an error of its own; a signal that ended it is below 0
                (out / "failed").touch()
                print(f"failed: see {out / 'log'}, and delete {out / 'failed'}", flush=True)
            return True
    return False


@contextmanager
def claimed(out: Path) -> Iterator[bool]:
    """Whether this process may work in a folder: another one may already. Ends with the process."""
    out.mkdir(parents=True, exist_ok=True)
    with open(out / "claim", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


if __name__ == "__main__":
    main()
