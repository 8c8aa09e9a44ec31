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
    assert edge["does not"] == {"images": 7, "miou": 1, "interval": [1, 1], "pet": 1}
    assert edge["cuts the pet"]["images"] == 1 and edge["cuts the pet"]["pet"] == 0


def test_a_record(tmp_path, drawn, monkeypatch):
    monkeypatch.setattr(failures, "find_dataset", lambda: drawn)
    failures.main(["synthetic", "--out", str(tmp_path)])
    record = json.loads((tmp_path / "failures" / "synthetic-0.json").read_text())
    assert record["dataset"] == "synthetic" and record["failures"]["images"] == 37
    assert len(record["groups"]) == 4
