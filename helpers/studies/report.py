"""Every score of one network on one list, from its probabilities. Each definition is derived in notebook 05."""

from helpers.data import CLASS_NAMES, IGNORE_INDEX, PetDataset
from helpers.metrics import ConfusionMatrix, boundary_band
from helpers.source import PairReader

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

BAND_RADIUS = 3  # pixels at the input size


def full_report(probabilities: Tensor, dataset: PetDataset) -> dict:
    """All scores of predictions on a dataset, as plain numbers and dicts that go into a run record.

    Args:
        probabilities: of the pets' classes, (N, 3, H, W), in the dataset's order, from `helpers.prediction.predict`.
        dataset: the pairs that were predicted, not augmented.

    Raises ValueError for probabilities of another number of images or another size than the dataset's.
    """
    masks = dataset.pairs.masks[dataset.indices].long()
    if len(probabilities) != len(masks) or probabilities.shape[-2:] != masks.shape[-2:]:
        raise ValueError(
            f"probabilities {tuple(probabilities.shape)} do not belong to {len(masks)} masks of"
            f" {tuple(masks.shape[-2:])}: predict this dataset's own images, in their order"
        )
    answers = probabilities.argmax(dim=1)
    band = masks.where(boundary_band(masks, BAND_RADIUS), IGNORE_INDEX)
    is_cat = torch.tensor(
        [name[0].isupper() for name in dataset.names]
    )  # the dataset's naming convention
    return {
        "images": len(masks),
        **_scores(answers, masks),
        "band": _scores(answers, band),
        "cats": _scores(answers[is_cat], masks[is_cat]),
        "dogs": _scores(answers[~is_cat], masks[~is_cat]),
        "pet_iou": pet_iou(probabilities, masks),
        **_at_own_size(probabilities, dataset),
    }


def pet_iou(probabilities: Tensor, masks: Tensor) -> dict[str, float]:
    """IoU of the pet alone under the three conventions for the border. Shapes (N, 3, H, W) and (N, H, W).

    With the border left out, the answer elsewhere is the likelier of pet and background.
    """
    answers = probabilities.argmax(dim=1)
    conventions = {
        "border left out": (
            probabilities[:, :2].argmax(dim=1),
            masks.where(masks != 2, IGNORE_INDEX),
        ),
        "border is pet": (
            (answers == 1).long(),
            (masks == 1).long().where(masks != IGNORE_INDEX, IGNORE_INDEX),
        ),
        "border is background": (
            (answers != 0).long(),
            (masks != 0).long().where(masks != IGNORE_INDEX, IGNORE_INDEX),
        ),
    }
    result = {}
    for name, (answer, truth) in conventions.items():
        confusion = ConfusionMatrix(num_classes=2)
        confusion.update(answer, truth)
        result[name] = _round(confusion.iou()[0])
    return result


def one_hot_accuracy(accuracy: float, num_classes: int = 3) -> float:
    """The accuracy that comes out when one-hot channels are compared: a wrong pixel errs in 2 of C channels."""
    return 1 - 2 / num_classes * (1 - accuracy)


def _scores(answers: Tensor, masks: Tensor) -> dict:
    confusion = ConfusionMatrix()
    if len(masks):
        confusion.update(answers, masks)
    return {
        "miou": _round(confusion.mean_iou()),
        "interval": [_round(end) for end in confusion.bootstrap_miou()],
        "iou": dict(zip(CLASS_NAMES, map(_round, confusion.iou()), strict=True)),
        "per_image_miou": _round(confusion.per_image_iou()),
        "accuracy": _round(confusion.pixel_accuracy()),
    }


def _at_own_size(probabilities: Tensor, dataset: PetDataset) -> dict:
    """The scores against the original trimaps, their ceiling, and the scores by a known example's definitions."""
    reader = PairReader(dataset.pairs.source, dataset.pairs.split)
    size = probabilities.shape[-2:]
    logits = probabilities.clamp(
        min=1e-12
    ).log()  # enlarged, they have the same argmax as the network's logits
    own, ceiling, blurred = ConfusionMatrix(), ConfusionMatrix(), ConfusionMatrix()
    for i, row in enumerate(dataset.indices.tolist()):
        truth = torch.from_numpy(reader[row][1]).long()[None]
        enlarged = F.interpolate(
            logits[i : i + 1].float(), truth.shape[1:], mode="bilinear", align_corners=False
        )
        own.update(enlarged.argmax(dim=1), truth)
        small = dataset.pairs.masks[row].float()[None, None]
        ceiling.update(F.interpolate(small, truth.shape[1:], mode="nearest-exact")[0].long(), truth)
        soft = (
            F.interpolate(truth.float()[None], size, mode="bilinear", align_corners=False)[0]
            .round()
            .long()
        )
        blurred.update(logits[i : i + 1].argmax(dim=1), soft)
    return {
        "own_size": {
            "miou": _round(own.mean_iou()),
            "iou": dict(zip(CLASS_NAMES, map(_round, own.iou()), strict=True)),
            "ceiling": _round(ceiling.mean_iou()),
        },
        "example_definitions": {
            "iou": _round(blurred.per_image_iou()),
            "accuracy": _round(one_hot_accuracy(blurred.pixel_accuracy())),
        },
    }


def _round(value) -> float | None:
    value = float(value)
    return None if np.isnan(value) else round(value, 4)
