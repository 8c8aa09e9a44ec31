"""Networks at a larger input: chosen on validation, and scored on the test list there only."""

import json

import pytest
import sizes
import torch
from sizes import sizes_table
from stand_in import stand_in, trained_record


def test_the_best_size_is_chosen_by_the_plain_score(tmp_path, drawn, monkeypatch):
    given = {128: 0.5, 144: 0.7, 160: 0.6}

    def own_size(_model, dataset):
        miou = given[dataset.pairs.images.shape[-1]]
        return {"plain": miou, "flip": 1 - miou}  # by which 128 would be the best

    monkeypatch.setattr(sizes, "find_dataset", lambda: drawn)
    monkeypatch.setattr(sizes, "own_size", own_size)
    monkeypatch.setattr(sizes, "LARGER", {"synthetic": (144, 160)})
    sizes.main(["synthetic", "--out", str(tmp_path)])

    record = json.loads((tmp_path / "sizes" / "synthetic-0.json").read_text())
    assert (record["size"], record["trained_at"], record["test"]["images"]) == (144, 128, 37)
    assert {int(size): scores["plain"] for size, scores in record["val"].items()} == given
    assert record["test"]["own_size"]["miou"] > 0.4  # of a trained network
    assert record["test"]["miou"] != record["test_flip"]["miou"]


def test_own_size_is_plain_and_mirrored(splits):
    class RedIsClassOne(torch.nn.Module):
        """Says class 1 on the left half: mirrored, the two halves agree that nothing is sure."""

        def forward(self, images):
            logits = torch.zeros(len(images), 3, *images.shape[-2:])
            logits[:, 1, :, : images.shape[-1] // 2] = 9.0
            return logits

    found = sizes.own_size(RedIsClassOne(), splits.val)
    assert set(found) == {"plain", "flip"} and found["plain"] != found["flip"]


@pytest.fixture(scope="module")
def trained(drawn):
    return trained_record(drawn)


def test_a_row_for_each_size_and_test_scores_where_there_are_some(trained):
    scores = {"miou": 0.812, "interval": [0.81, 0.82]}
    val = {str(size): {"plain": size / 1000, "flip": 0.5} for size in (128, 144, 160)}
    larger = stand_in(trained, "pets", size=144, test__own_size=scores)
    run = stand_in(trained, "default U-Net", test__own_size=scores | {"miou": 0.7})
    rows = sizes_table([larger | {"trained_at": 128, "val": val}], [run]).splitlines()[2:]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert [row[:4] for row in cells] == [
        ["pets.pt", "128 px", "0.128", "0.500"],
        ["pets.pt", "144 px", "0.144", "0.500"],
        ["pets.pt", "160 px", "0.160", "0.500"],
    ]
    assert [row[4] for row in cells] == ["0.700 (0.810 to 0.820)", "0.812 (0.810 to 0.820)", "-"]
    assert cells[2][5] == "-" and cells[0][5].startswith("0.")
