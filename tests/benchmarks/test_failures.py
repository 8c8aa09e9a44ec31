"""The groups in which failures are counted: from images and masks whose answer is known."""

import json

from helpers.metrics import ConfusionMatrix

import failures
import numpy as np
import pytest
import torch


@pytest.fixture
def drawn_discs():
    """Nine gray images of 24 x 24 with a square of growing size and brightness; the last is empty.

    The third touches the edge; the fifth is in two pieces.
    """
    images = torch.full((9, 3, 24, 24), 100, dtype=torch.uint8)
    masks = torch.ones(9, 24, 24, dtype=torch.uint8)
    for i in range(8):
        masks[i, 4 : 8 + i, 4 : 8 + i] = 0
        images[i, :, 4 : 8 + i, 4 : 8 + i] = 120 + 10 * i
    masks[2, :, 5] = 0
    masks[4, 6] = 1
    return images, masks


def members(answers):
    return {answer: np.flatnonzero(chosen).tolist() for answer, chosen in answers.items()}


def test_groups(drawn_discs):
    groups = failures.groups_of(*drawn_discs)
    assert members(groups["the image's edge"]) == {
        "cuts the pet": [2],
        "does not": [0, 1, 3, 4, 5, 6, 7],
    }
    assert members(groups["the pet is"])["in pieces"] == [4]
    shares = members(groups["the pet's share of the image"])
    in_some = sorted(i for part in shares.values() for i in part)
    assert in_some == list(range(8))  # the empty one is in none
    assert set(list(shares.values())[-1]) == {5, 6, 7}
    colors = members(groups["distance of its color from the background's"])
    assert next(iter(colors.values()))[:2] == [0, 1] and 7 in list(colors.values())[-1]


def test_scores_of_groups(drawn_discs):
    images, masks = drawn_discs
    prediction = masks.long().clone()
    prediction[2] = 1  # misses the one that is cut
    confusion = ConfusionMatrix.of(prediction, masks)
    told = failures.report(confusion, failures.groups_of(images, masks))
    edge = told["the image's edge"]
    right = edge["does not"]
    assert right["images"] == 7 and right["miou"] == 1 and right["interval"] == [1, 1]
    assert right["iou"]["pet"] == right["iou"]["background"] == 1
    assert edge["cuts the pet"]["images"] == 1 and edge["cuts the pet"]["iou"]["pet"] == 0
    assert told["all"][""]["images"] == 9 and 0 < told["all"][""]["miou"] < 1

    rows = failures.failures_table({"groups": told}).splitlines()
    assert rows[2].startswith("| all | 9 | 0.") and len(rows) == 2 + 1 + 3 + 3 + 2 + 2
    assert "| the image's edge: cuts the pet | 1 | " in "\n".join(rows)


def test_a_record(tmp_path, drawn, monkeypatch):
    monkeypatch.setattr(failures, "find_dataset", lambda: drawn)
    failures.main(["synthetic", "--out", str(tmp_path)])
    record = json.loads((tmp_path / "failures" / "synthetic-0.json").read_text())
    assert record["dataset"] == "synthetic" and record["failures"]["images"] == 37
    assert len(record["groups"]) == 5
