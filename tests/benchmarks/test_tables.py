from helpers.studies.records import load_records

import pytest
from tables import PAGES, ROOT, cost_table, fill_tables, models_table, seconds_to


def record(name, miou=0.5, seconds=(10.0, 20.0, 30.0), val=(0.2, 0.5, 0.4)):
    iou = {"pet": 0.6, "background": 0.7, "border": 0.2}
    test = {"miou": miou, "iou": iou, "per_image_miou": 0.5, "accuracy": 0.8}
    return {
        "name": name,
        "dataset": "synthetic",
        "split_hash": "a",
        "size": 64,
        "parameters": 2_000_000,
        "images_per_second": 30.0,
        "history": {"seconds": list(seconds), "val_miou": list(val)},
        "test": test,
    }


def cells(table, start):
    line = next(line for line in table.splitlines() if line.startswith(f"| {start}"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_models_and_the_time_to_reach_each_other():
    slow = record("other net", 0.4, seconds=(10.0, 40.0), val=(0.2, 0.45))
    table = models_table([slow, record("UNet (ours)", 0.9)])
    assert "seconds to 0.450 (other's end)" in table
    assert cells(table, "UNet (ours)")[-1] == "30" and cells(table, "other net")[-1] == "50"
    assert table.index("| UNet (ours)") < table.index("| other net")
    assert table.endswith("which were not tuned for them.")
    assert seconds_to(slow, 0.46) is None


def test_cost_of_each_width_and_setting():
    width = {"parameters": 1_942_611, "multiply_adds": 1.25e9, "activation_bytes": 40_000_000}
    width["images_per_second"] = {"float32": 40.0, "mixed": 80.0}
    made = {"name": "cpu", "widths": {"16": width}, "settings": {"float32": 40.0}}
    table = cost_table([made | {"waiting_fraction": {"0 workers": 0.25}}])
    assert cells(table, "16") == ["16", "1.94 M", "1.25 G", "40 MB", "40.0", "80.0"]
    assert cells(table, "float32") == ["float32", "40.0"]
    assert cells(table, "0 workers") == ["0 workers", "25%"]


def test_there_are_tables():
    assert any("<!-- table: recipe -->" in page.read_text(encoding="utf-8") for page in PAGES)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_tables_are_those_of_the_records(page):
    text = page.read_text(encoding="utf-8")
    assert fill_tables(text, load_records) == text, "run python tests/benchmarks/tables.py"


def test_a_page_is_filled():
    page = "before\n<!-- table: baselines -->\nold\n<!-- end -->\nafter"
    filled = fill_tables(page, lambda study: [record("all background")])
    assert filled.startswith("before\n<!-- table: baselines -->\n\n| prediction |")
    assert filled.endswith("<!-- end -->\nafter")
    assert "old" not in filled and "all background" in filled
