from helpers.checkpoint import WEIGHTS
from helpers.source import HOME
from helpers.studies.experiments import load_records
from helpers.studies.report import full_report
from helpers.studies.tables import (
    baselines_table,
    cost_table,
    fill_tables,
    markdown,
    models_table,
    results_table,
    seconds_to,
    spread,
)

import pytest


@pytest.fixture(scope="module")
def report(splits):
    import torch

    probabilities = torch.rand(len(splits.test), 3, 64, 64, generator=torch.Generator().manual_seed(0))
    made = full_report(probabilities, splits.test)
    return made | {"calibration_error": 0.05, "calibration_error_scaled": 0.02}


def record(report, name="net", seed=0, **changes):
    history = {"seconds": [10.0, 20.0, 30.0], "val_miou": [0.2, 0.5, 0.4]}
    made = {"name": name, "seed": seed, "dataset": "sketch", "split_hash": "a", "size": 64, "history": history}
    return made | {"parameters": 2_000_000, "images_per_second": 30.0, "test": report, "test_flip": report} | changes


def cells(table, start):
    line = next(line for line in table.splitlines() if line.startswith(f"| {start}"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_spread():
    assert spread([0.5]) == "0.500"
    assert spread([0.5, 0.6, 0.7]) == "0.600 ± 0.100"


def test_markdown():
    assert markdown(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"


def test_results_are_means_over_seeds(report):
    better = report | {"miou": report["miou"] + 0.2, "interval": [end + 0.2 for end in report["interval"]]}
    table = results_table([record(report), record(better, seed=1)])
    low, high = (end + 0.1 for end in report["interval"])
    assert cells(table, "**mIoU** at 64 px")[1] == (
        f"{report['miou'] + 0.1:.3f} ± {0.2 / 2**0.5:.3f} ({low:.3f} to {high:.3f})"
    )
    assert cells(table, "IoU of border")[1].startswith(f"{report['iou']['border']:.3f} ± 0.000")
    assert f"ceiling of 64 px: {report['own_size']['ceiling']:.3f}" in table


def test_runs_on_other_pairs_are_refused(report):
    for change in ({"dataset": "Oxford-IIIT Pet (full)"}, {"split_hash": "b"}, {"size": 96}):
        with pytest.raises(ValueError, match="must not share a table"):
            results_table([record(report), record(report, seed=1, **change)])


def test_baselines_from_low_to_high(report):
    table = baselines_table([record(report | {"miou": 0.4}, "b"), record(report | {"miou": 0.3}, "a")])
    assert [line.split("|")[1].strip() for line in table.splitlines()[2:]] == ["a", "b"]


def test_models_and_the_time_to_reach_each_other(report):
    slow = record(report, "other net", history={"seconds": [10.0, 40.0], "val_miou": [0.2, 0.45]})
    table = models_table([record(report | {"miou": 0.9}, "UNet (ours)"), slow])
    assert "seconds to 0.450 (other's end)" in table
    assert cells(table, "UNet (ours)")[-1] == "30" and cells(table, "other net")[-1] == "50"
    assert seconds_to(slow, 0.46) is None


def test_cost_of_each_width_and_setting():
    width = {"parameters": 1_942_611, "multiply_adds": 1.25e9, "activation_bytes": 40_000_000}
    width["images_per_second"] = {"float32": 40.0, "mixed": 80.0}
    made = {"name": "cpu", "widths": {"16": width}, "settings": {"float32": 40.0}, "waiting_share": {"0 workers": 0.25}}
    table = cost_table([made])
    assert cells(table, "16") == ["16", "1.94 M", "1.25 G", "40 MB", "40.0", "80.0"]
    assert cells(table, "float32") == ["float32", "40.0"] and cells(table, "0 workers") == ["0 workers", "25%"]


@pytest.mark.parametrize("page", [HOME / "README.md", WEIGHTS / "README.md"], ids=["README", "model card"])
def test_tables_are_those_of_the_records(page):
    text = page.read_text(encoding="utf-8")
    assert "<!-- table: recipe -->" in text
    assert fill_tables(text, load_records) == text, "run python tests/benchmarks/tables.py"


def test_a_page_is_filled(report):
    page = "before\n<!-- table: baselines -->\nold\n<!-- end -->\nafter"
    filled = fill_tables(page, lambda study: [record(report, "all background")])
    assert filled.startswith("before\n<!-- table: baselines -->\n\n| answer |") and filled.endswith(
        "<!-- end -->\nafter"
    )
    assert "old" not in filled and "all background" in filled
