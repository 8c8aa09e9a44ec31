import math

from helpers.studies.calibration import fit_temperature, reliability

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torchmetrics.functional.classification import multiclass_calibration_error


@pytest.fixture
def logits():
    return 3 * torch.randn(4, 3, 32, 32)


def drawn_from(probabilities):
    """Truths that have just these probabilities."""
    flat = probabilities.movedim(1, -1).reshape(-1, 3)
    return flat.multinomial(1).reshape(len(probabilities), *probabilities.shape[2:])


@pytest.mark.parametrize("bins", [5, 15])
def test_error_agrees_with_torchmetrics(logits, bins):
    target = torch.randint(3, (4, 32, 32))
    target[:, :4] = 255
    probabilities = logits.softmax(dim=1)
    theirs = multiclass_calibration_error(
        probabilities, target, num_classes=3, n_bins=bins, ignore_index=255
    )
    assert reliability(probabilities, target, bins).error() == pytest.approx(
        theirs.item(), abs=1e-5
    )


def test_some_images_at_a_time_are_all_of_them_at_once():
    """More images than one part holds; each pixel is sorted into its bin by itself."""
    bins = 10
    probabilities = (2 * torch.randn(150, 3, 6, 6)).softmax(dim=1)
    target = torch.randint(3, (150, 6, 6))
    target[::7] = 255
    result = reliability(probabilities, target, bins)

    sure, answer = probabilities.double().numpy().max(1), probabilities.numpy().argmax(1)
    valid = target.numpy() != 255
    right, sure = (answer == target.numpy())[valid], sure[valid]
    which = np.digitize(sure, np.linspace(0, 1, bins + 1), right=True) - 1
    for i in range(bins):
        inside = which == i
        assert result.count[i] == inside.sum()
        if inside.any():
            assert result.accuracy[i].item() == pytest.approx(right[inside].mean())
            assert result.confidence[i].item() == pytest.approx(sure[inside].mean())
    assert result.count.sum() == valid.sum() == 128 * 36


def test_an_honest_network_lies_on_the_diagonal(logits):
    probabilities = logits.softmax(dim=1)
    result = reliability(probabilities, drawn_from(probabilities), bins=6)
    assert result.error() < 0.03
    assert (
        result.count.sum() == 4 * 32 * 32 and result.count[:2].sum() == 0
    )  # of 3 classes the best has over 1/3
    assert result.accuracy[:2].isnan().all()


def test_probabilities_that_are_none_have_no_error_of_0():
    target = torch.zeros(1, 4, 4, dtype=torch.int64)
    assert math.isnan(reliability(torch.full((1, 3, 4, 4), math.nan), target).error())


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_temperature_is_found_again(logits, temperature):
    target = drawn_from(logits.softmax(dim=1))
    target[0, 0] = 255
    wrong = logits * temperature  # too sure by this factor
    found = fit_temperature(wrong, target)
    assert found == pytest.approx(temperature, rel=0.06)
    before, after = (F.cross_entropy(wrong / t, target, ignore_index=255) for t in (1, found))
    assert after <= before
    shifted = wrong + torch.randn(4, 1, 32, 32)  # a constant for each pixel changes nothing
    assert fit_temperature(shifted, target) == pytest.approx(found, rel=1e-3)
