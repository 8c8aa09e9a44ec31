"""Every score of one network on one split, from its logits. Each is derived in notebook 05."""

from collections.abc import Iterator

from helpers.constants import IGNORE_INDEX
from helpers.data import SegmentationDataset, Splits
from helpers.datasets.pets import PetFolder
from helpers.inference import predict_logits
from helpers.metrics import ConfusionMatrix, boundary_band, iou
from helpers.studies.calibration import fit_temperature, reliability

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

BAND_RADIUS = 3  # pixels, at the input size and at the images' own
PART = 256  # images at a time: a test split at 224 px has 184 million pixels, gigabytes at once


def report_on_test(model: nn.Module, splits: Splits, flip: bool = False) -> dict:
    """Every score on the test split: for final runs only.

    Beside `full_report`, the calibration error as it is, and with a temperature that was fitted on
    the validation pairs. flip: with test-time augmentation, see `predict_logits`.
    """
    val_images, val_masks = splits.val.batch()
    temperature = fit_temperature(predict_logits(model, val_images, flip=flip), val_masks)
    del val_images, val_masks  # at 224 px, a gigabyte

    parts = torch.arange(len(splits.test)).split(PART)
    images = (splits.test.batch(places)[0] for places in parts)
    logits = torch.cat([predict_logits(model, part, flip=flip) for part in images])

    masks = splits.test.pairs.masks[splits.test.indices]
    plain, scaled = (reliability(_softened(logits, t), masks) for t in (1, temperature))
    return full_report(logits, splits.test) | {
        "calibration_error": round(plain.error(), 4),
        "temperature": round(temperature, 3),
        "calibration_error_scaled": round(scaled.error(), 4),
    }


def _softened(logits: Tensor, temperature: float) -> Tensor:
    """The probabilities at a temperature, in no more memory than they need."""
    probabilities = torch.empty_like(logits)
    for part, result in zip(logits.split(PART), probabilities.split(PART), strict=True):
        torch.softmax(part / temperature, dim=1, out=result)
    return probabilities


def full_report(logits: Tensor, dataset: SegmentationDataset) -> dict:
    """All scores of predictions on a dataset, as plain numbers and dicts that go into a run record.

    Args:
        logits: (N, C, H, W), in the dataset's order, from `predict_logits`.
        dataset: the pairs that were predicted, not augmented, from `decode`. What concerns breeds,
            and the pet's border, is there for the pets alone; what concerns the images' own size,
            where they are not cut into tiles.

    Raises ValueError for logits of another number of images or another size than the dataset's.
    """
    masks = dataset.pairs.masks[dataset.indices]
    if len(logits) != len(masks) or logits.shape[-2:] != masks.shape[-2:]:
        raise ValueError(
            f"logits {tuple(logits.shape)} do not belong to {len(masks)} masks of"
            f" {tuple(masks.shape[-2:])}: predict this dataset's own images, in their order"
        )
    prediction, classes = _prediction(logits), dataset.pairs.class_names
    counts = _count(prediction, masks, len(classes))
    near = torch.cat([_near(part) for part in masks.split(PART)])
    report = {
        "images": len(masks),
        **_scores(counts, classes),
        "band": _scores(_count(prediction, near, len(classes)), classes),
    }

    if isinstance(dataset.pairs.source, PetFolder):
        report |= _of_pets(logits, dataset, masks, counts)
    if dataset.pairs.scale is None:
        report |= _against_originals(logits, dataset)
    if not isinstance(dataset.pairs.source, PetFolder):
        report.pop("example_definitions", None)  # of an example project on the pets
    return report


def _of_pets(
    logits: Tensor, dataset: SegmentationDataset, masks: Tensor, counts: ConfusionMatrix
) -> dict:
    """The scores by species and breed, and by what the border is taken for."""
    prediction, classes = _prediction(logits), dataset.pairs.class_names

    # Names tell breed and species: Abyssinian_1 is a cat, beagle_1 a dog.
    breeds = np.array([name.rsplit("_", 1)[0] for name in dataset.names])
    is_cat = torch.tensor([breed[0].isupper() for breed in breeds])

    return {
        "cats": _scores(_count(prediction[is_cat], masks[is_cat], len(classes)), classes),
        "dogs": _scores(_count(prediction[~is_cat], masks[~is_cat], len(classes)), classes),
        "breeds": {
            breed: _round(iou(counts.per_image[breeds == breed].sum(dim=0)).nanmean())
            for breed in sorted(set(breeds), key=str.lower)
        },
        "without_a_pet": sum(1 for mask in masks if not (mask == 0).any()),
        "pet_iou": pet_iou(logits, masks),
    }


def pet_iou(logits: Tensor, masks: Tensor) -> dict[str, float | None]:
    """IoU of the pet alone under the three conventions for the border.

    With the border left out, the prediction elsewhere is the likelier of pet and background.
    Shapes: logits (N, 3, H, W), masks (N, H, W).
    """
    prediction, valid = _prediction(logits), masks != IGNORE_INDEX
    pet_or_background = _prediction(logits[:, :2])

    # Class 0 is the pet in each: with the border as pet, as background, or nowhere.
    conventions = {
        "border left out": (pet_or_background, masks.where(masks != 2, IGNORE_INDEX)),
        "border is pet": (prediction == 1, (masks == 1).byte().where(valid, IGNORE_INDEX)),
        "border is background": (prediction != 0, (masks != 0).byte().where(valid, IGNORE_INDEX)),
    }
    return {
        name: _round(_count(answer.byte(), truth, 2).iou()[0])
        for name, (answer, truth) in conventions.items()
    }


def one_hot_accuracy(accuracy: float, num_classes: int = 3) -> float:
    """The accuracy if one-hot channels are compared: a wrong pixel errs in 2 of C channels."""
    return 1 - 2 / num_classes * (1 - accuracy)


def _scores(confusion: ConfusionMatrix, classes: tuple[str, ...]) -> dict:
    return {
        "miou": _round(confusion.mean_iou()),
        "interval": [_round(end) for end in confusion.bootstrap_miou()],
        "iou": dict(zip(classes, map(_round, confusion.iou()), strict=True)),
        "per_image_miou": _round(confusion.per_image_iou()),
        "accuracy": _round(confusion.pixel_accuracy()),
    }


def _against_originals(logits: Tensor, dataset: SegmentationDataset) -> dict:
    """The scores against the trimaps at their own size, and those by a known example's definitions.

    The ceiling is what the true masks score that way, squashed to the input size and enlarged.
    """
    classes = dataset.pairs.class_names
    own, band, ceiling, example = (ConfusionMatrix(len(classes)) for _ in range(4))
    small = dataset.pairs.masks[dataset.indices][:, None]

    for i, truth in enumerate(original_masks(dataset)):
        size = truth.shape[1:]
        enlarged = F.interpolate(logits[i : i + 1], size, mode="bilinear", align_corners=False)
        answer = enlarged.argmax(dim=1)
        own.update(answer, truth)
        band.update(answer, _near(truth))
        ceiling.update(F.interpolate(small[i : i + 1], size, mode="nearest-exact")[0], truth)

        # The example project resizes masks bilinearly, which makes up classes along an outline.
        blurred = F.interpolate(truth[None].float(), logits.shape[-2:], mode="bilinear")
        example.update(logits[i : i + 1].argmax(dim=1), blurred[0].round().long())

    return {
        "own_size": _scores(own, classes)
        | {"band": _scores(band, classes), "ceiling": _round(ceiling.mean_iou())},
        "example_definitions": {
            "iou": _round(example.per_image_iou()),
            "accuracy": _round(one_hot_accuracy(example.pixel_accuracy(), len(classes))),
        },
    }


def original_masks(dataset: SegmentationDataset) -> Iterator[Tensor]:
    """The masks at their own size, int64 (1, H, W), in the dataset's order."""
    if dataset.pairs.source is None:
        raise ValueError("a report needs the original trimaps: use pairs from `decode`")
    reader = dataset.pairs.source.reader(dataset.pairs.split)
    for row in dataset.indices.tolist():
        yield torch.from_numpy(reader[row][1]).long()[None]


def _prediction(logits: Tensor) -> Tensor:
    """The likeliest class of each pixel, uint8 (N, H, W)."""
    return torch.cat([part.argmax(dim=1).byte() for part in logits.split(PART)])


def _near(masks: Tensor) -> Tensor:
    """The masks, with all pixels ignored that are far from an outline."""
    return masks.where(boundary_band(masks, BAND_RADIUS), IGNORE_INDEX)


def _count(prediction: Tensor, masks: Tensor, num_classes: int) -> ConfusionMatrix:
    confusion = ConfusionMatrix(num_classes)
    for part in zip(prediction.split(PART), masks.split(PART), strict=True):
        confusion.update(*part)
    return confusion


def _round(value: Tensor | float) -> float | None:
    value = float(value)
    return None if np.isnan(value) else round(value, 4)
