"""What the scripts that make run records share: options, the loop over runs, scores on the test."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from helpers.data import Splits
from helpers.datasets.pets import PetFolder
from helpers.files import home
from helpers.inference import predict_logits
from helpers.studies.calibration import fit_temperature, reliability
from helpers.studies.records import record_path, save_record
from helpers.studies.report import full_report

import torch
from torch import nn


def options_of(doc: str | None, seeds: Sequence[int]) -> argparse.ArgumentParser:
    """A parser with the options that all of these scripts have."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--names", nargs="+")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(seeds))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="of records; helpers/studies/records is ours"
    )
    return parser


def own_records(source: PetFolder) -> Path:
    """Where the records of your runs on a dataset are kept, unless --out names a folder."""
    return home() / "runs" / "records" / source.runs.name


def make_missing_records(
    study: str,
    names: Sequence[str],
    seeds: Sequence[int],
    folder: Path,
    run: Callable[[str, int], dict],
) -> None:
    """Call run(name, seed) for each record that is not there yet, and save what it gives.

    A KeyboardInterrupt ends all: nothing is recorded of the run that was stopped.
    """
    for seed in seeds:
        for name in names:
            path = record_path(name, seed, study, folder)
            if path.is_file():
                print(f"skipped: {path} exists", flush=True)
                continue
            record = run(name, seed)
            score = record.get("test", record["val"])["own_size"]["miou"]
            saved = save_record(record, study, folder)
            print(f"{saved}: mIoU at the original resolution {score}", flush=True)


def add_test_scores(record: dict, model: nn.Module, splits: Splits) -> dict:
    """The record with every score on the test split, without and with test-time augmentation.

    For final runs only. The calibration error is given as it is, and with a temperature that was
    fitted on the validation pairs.
    """
    return record | {
        "test": _report_on_test(model, splits, flip=False),
        "test_flip": _report_on_test(model, splits, flip=True),
    }


def _report_on_test(model: nn.Module, splits: Splits, flip: bool) -> dict:
    val_images, val_masks = splits.val.batch()
    temperature = fit_temperature(predict_logits(model, val_images, flip=flip), val_masks)

    images, masks = splits.test.batch()
    logits = predict_logits(model, images, flip=flip)
    plain, scaled = (reliability((logits / t).softmax(dim=1), masks) for t in (1, temperature))
    return full_report(logits, splits.test) | {
        "calibration_error": round(plain.error(), 4),
        "temperature": round(temperature, 3),
        "calibration_error_scaled": round(scaled.error(), 4),
    }
