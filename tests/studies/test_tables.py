from helpers.studies.report import full_report
from helpers.studies.tables import baselines_table, markdown, results_table, spread

import pytest
import torch


@pytest.fixture(scope="module")
def report(splits):
    made = full_report(torch.rand(len(splits.test), 3, 64, 64), splits.test)
    return made | {"calibration_error": 0.05, "calibration_error_scaled": 0.02}


def record(report, name="net", seed=0, **changes):
    made = {"name": name, "seed": seed, "dataset": "synthetic", "split_hash": "a", "size": 64}
    return made | {"test": report, "test_flip": report} | changes


def cells(table, start):
    line = next(line for line in table.splitlines() if line.startswith(f"| {start}"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_spread():
    assert spread([0.5]) == "0.500"
    assert spread([0.5, 0.6, 0.7]) == "0.600 ± 0.100"


def test_markdown():
    assert markdown(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"


def test_results_are_means_over_seeds(report):
    interval = [end + 0.2 for end in report["interval"]]
    better = report | {"miou": report["miou"] + 0.2, "interval": interval}
    table = results_table([record(report), record(better, seed=1)])
    low, high = (end + 0.1 for end in report["interval"])
    assert cells(table, "**mIoU** at 64 px")[1] == (
        f"{report['miou'] + 0.1:.3f} ± {0.2 / 2**0.5:.3f} ({low:.3f} to {high:.3f})"
    )
    assert cells(table, "IoU of border")[1] == f"{report['iou']['border']:.3f} ± 0.000"
    assert cells(table, "mIoU of dogs")[1].startswith(f"{report['dogs']['miou']:.3f} ± 0.000 (")
    assert f"ceiling of 64 px: {report['own_size']['ceiling']:.3f}" in table


def test_columns_without_and_with_test_time_augmentation(report):
    table = results_table([record(report, test_flip=report | {"accuracy": 0.987})])
    assert cells(table, "score")[1:] == ["plain", "with test-time augmentation"]
    assert cells(table, "pixel accuracy")[1:] == [f"{report['accuracy']:.3f}", "0.987"]


def test_runs_on_other_pairs_are_refused(report):
    for change in ({"dataset": "Oxford-IIIT Pet (full)"}, {"split_hash": "b"}, {"size": 96}):
        with pytest.raises(ValueError, match="must not share a table"):
            results_table([record(report), record(report, seed=1, **change)])


def test_baselines_from_low_to_high(report):
    high, low = record(report | {"miou": 0.4}, "b"), record(report | {"miou": 0.3}, "a")
    table = baselines_table([high, low])
    assert [line.split("|")[1].strip() for line in table.splitlines()[2:]] == ["a", "b"]
    assert cells(table, "a")[1] == "0.300"
