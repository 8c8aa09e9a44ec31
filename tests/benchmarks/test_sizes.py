"""Networks at a larger input: chosen on validation, and scored on the test list there only."""

import json

from helpers.checkpoint import load_model
from helpers.data import load_splits
from helpers.inference import predict_logits
from helpers.studies.report import full_report

import pytest
import sizes
from sizes import own_size, sizes_table
from stand_in import stand_in, trained_record


def test_the_best_size_on_validation_is_scored_on_the_test_list(tmp_path, drawn, monkeypatch):
    given, asked = {128: 0.5, 144: 0.7, 160: 0.6}, []

    def own_size(_model, dataset, flip=False):
        size = dataset.pairs.images.shape[-1]
        asked.append((len(dataset), size, flip))
        return {"miou": given[size], "mirrored": flip}

    monkeypatch.setattr(sizes, "find_dataset", lambda: drawn)
    monkeypatch.setattr(sizes, "own_size", own_size)
    monkeypatch.setattr(sizes, "LARGER", {"synthetic": (144, 160)})
    sizes.main(["synthetic", "--out", str(tmp_path)])

    record = json.loads((tmp_path / "sizes" / "synthetic-0.json").read_text())
    assert (record["size"], record["trained_at"]) == (144, 128)
    assert {int(size): miou for size, miou in record["val"].items()} == given
    val, test = record["pairs"]["val"], record["pairs"]["test"]
    assert asked[:3] == [(val, size, False) for size in given]
    assert asked[3:] == [(test, 144, False), (test, 144, True)]
    assert record["test_flip"]["own_size"]["mirrored"]
    assert not record["test"]["own_size"]["mirrored"]


def test_scores_are_those_of_a_run(drawn):
    """The same as in the record of a final run, which has all logits in memory at once."""
    model, about = load_model("synthetic")
    test = load_splits(drawn, about["size"]).test
    for flip in (False, True):
        logits = predict_logits(model, test.batch()[0], flip=flip)
        whole = full_report(logits, test)["own_size"]
        made = own_size(model, test, flip)
        assert made.pop("images") == 37 and made == {key: whole[key] for key in made}


@pytest.fixture(scope="module")
def trained(drawn):
    return trained_record(drawn)


def test_a_row_for_each_size_and_test_scores_where_there_are_some(trained):
    scores = {"miou": 0.812, "interval": [0.81, 0.82]}
    val = {str(size): size / 1000 for size in (128, 144, 160)}
    larger = stand_in(trained, "pets", size=144, test__own_size=scores)
    run = stand_in(trained, "default U-Net", test__own_size=scores | {"miou": 0.7})
    rows = sizes_table([larger | {"trained_at": 128, "val": val}], [run]).splitlines()[2:]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert [row[:3] for row in cells] == [
        ["pets.pt", "128 px", "0.128"],
        ["pets.pt", "144 px", "0.144"],
        ["pets.pt", "160 px", "0.160"],
    ]
    assert [row[3] for row in cells] == ["0.700 (0.810 to 0.820)", "0.812 (0.810 to 0.820)", "-"]
    assert cells[2][4] == "-" and cells[0][4].startswith("0.")
