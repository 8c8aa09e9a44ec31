"""The training runs behind RESULTS.md and notebooks 05, 07 and 09, in order of worth.

    PETS_DATA=... python tests/benchmarks/runs.py run --folder FOLDER
    python tests/benchmarks/runs.py list --folder FOLDER
    python tests/benchmarks/runs.py collect --folder FOLDER

`run` takes the next run that has no record yet, again and again; it goes on inside one that was cut
off, and starts none that another process works on: a second call with the same folder shares the
work. Each run is one call of `python -m helpers.train`, which `list` shows: a row of RESULTS.md is
made again by its line. `collect` copies the finished records into helpers/studies/records.
"""

import argparse
import fcntl
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from helpers.studies.records import RECORDS, record_path

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Run:
    """One training: its study, name and seed, and the flags of `helpers.train`."""

    study: str
    name: str
    seed: int
    flags: str

    @property
    def folder(self) -> str:
        return f"{self.study}/{record_path(self.name, self.seed, self.study).stem}"

    def command(self, threads: int) -> list[str]:
        name = ["--name", self.name, "--seed", str(self.seed), "--threads", str(threads)]
        data = ["--data", "pets", "--precision", "bfloat16", "--device", "cpu"]
        return [*data, "--out", self.folder, *name, *shlex.split(self.flags)]


def each(study: str, seeds: Sequence[int], flags: dict[str, str], always: str = "") -> list[Run]:
    """Every named set of flags with every seed, the seeds outside."""
    return [
        Run(study, name, seed, f"{always} {own}".strip())
        for seed in seeds
        for name, own in flags.items()
    ]


ENCODER = "--network PretrainedUNet --weights imagenet"
TRIED_ENCODER = {
    "encoder, rate 1e-3": "--learning-rate 1e-3",
    "encoder, rate 3e-3, a tenth in the encoder": "--learning-rate 3e-3 --encoder-rate 0.1",
    "encoder, rate 3e-3, 0.3 in the encoder": "--learning-rate 3e-3 --encoder-rate 0.3",
}
TRIED = {
    "default": "",
    "learning rate 1e-3": "--learning-rate 1e-3",
    "moving average of the weights": "--network variants:AveragedUNet",
    "deep supervision": "--network variants:DeepUNet --loss deep",
    "border counts double": "--network variants:UNet --loss 'border twice'",
    "crops": "--augment variants:CropAndColor",
    "stronger augmentation": "--augment variants:stronger",
    "residual blocks": "--network variants:ResidualUNet",
    "depth 5": "--model depth=5",
}
RUNS = [
    *each("tried", (0,), dict([*TRIED.items()][:1]), "--epochs 15"),
    *each("tried", (0,), TRIED_ENCODER, f"--epochs 6 {ENCODER}"),
    *each("tried", (0,), dict([*TRIED.items()][1:]), "--epochs 15"),
]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", choices=("run", "list", "collect"))
    parser.add_argument("--folder", type=Path, required=True, help="of all runs")
    parser.add_argument("--threads", type=int, default=1, help="of each run")
    options = parser.parse_args(arguments)
    options.folder.mkdir(parents=True, exist_ok=True)

    if options.action == "run":
        while train_next(options.folder, options.threads):
            pass
        return
    for run in RUNS:
        done = options.folder / run.folder / "record.json"
        if options.action == "list":
            mark = "x" if done.is_file() else " "
            print(f"[{mark}] python -m helpers.train {shlex.join(run.command(options.threads))}")
        elif done.is_file():
            target = record_path(run.name, run.seed, run.study, RECORDS)
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(done, target)


def train_next(folder: Path, threads: int) -> bool:
    """Train the first run that is neither done nor under way. Returns whether there was one."""
    for run in RUNS:
        out = folder / run.folder
        if (out / "record.json").is_file() or (out / "failed").is_file():
            continue
        with claimed(out) as mine:
            if not mine or (out / "record.json").is_file():
                continue
            print(run.folder, flush=True)
            path = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
            with open(out / "log", "ab") as log:
                done = subprocess.run(
                    [sys.executable, "-m", "helpers.train", *run.command(threads)],
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
