"""Where the shipped networks fail, in groups of the official test list, for their cards:

    PETS_DATA=... python tests/benchmarks/failures.py [NAME ...]

NAME is of shipped weights, those for photographs if none is given. A record goes to
helpers/studies/records/failures/NAME-0.json. Groups follow from the masks and images alone, never
from what a network answers: how much of the image the pet covers, how far its color is from the
background's, whether it is cut by the image's edge, whether it lies in pieces (something in front).
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from helpers.checkpoint import load_model
from helpers.constants import CLASS_NAMES
from helpers.data import SegmentationDataset, load_splits
from helpers.datasets.pets import find_dataset
from helpers.inference import predict_logits
from helpers.metrics import ConfusionMatrix, iou
from helpers.studies.records import RECORDS, provenance, record_path, split_hash, write_record
from helpers.studies.tables import markdown

import numpy as np
import torch
from facts import rounded
from skimage.color import rgb2lab
from skimage.measure import label
from torch import Tensor

GROUPED_AT = 128  # pixels
PIECE = 0.02  # of the pet: smaller connected parts are no piece
Groups = dict[str, dict[str, np.ndarray]]


def groups_of(images: Tensor, masks: Tensor) -> Groups:
    """For each question, the groups that answer it, each as bool (N,).

    Shapes: images uint8 (N, 3, H, W), masks (N, H, W). Images without a pet are in the first group
    alone, which is that of all.
    """
    rows = [describe(image, mask) for image, mask in zip(images, masks, strict=True)]
    share, distance, cut, pieces = (np.array(column) for column in zip(*rows, strict=True))
    there = share > 0

    return {
        "all": {"": np.ones(len(masks), dtype=bool)},
        "the pet's share of the image": thirds(share, there, "{:.0%} to {:.0%}"),
        "distance of its color from the background's": thirds(
            distance, there, "{:.0f} to {:.0f} (CIELAB)"
        ),
        "the image's edge": {"cuts the pet": there & cut, "does not": there & ~cut},
        "the pet is": {"whole": there & (pieces <= 1), "in pieces": there & (pieces > 1)},
    }


def describe(image: Tensor, mask: Tensor) -> tuple[float, float, bool, int]:
    """Share of the pet, distance of the mean colors, whether it is cut, and its pieces."""
    pet, background = (np.asarray(mask == number) for number in (0, 1))
    if not pet.any():
        return 0.0, 0.0, False, 0

    colors = rgb2lab(np.moveaxis(np.asarray(image), 0, -1))
    apart = np.zeros(3)
    if background.any():
        apart = colors[pet].mean(axis=0) - colors[background].mean(axis=0)

    edge = np.ones_like(pet)
    edge[1:-1, 1:-1] = False
    sizes = np.bincount(label(pet).ravel())[1:]
    pieces = int((sizes > PIECE * pet.sum()).sum())
    return float(pet.mean()), float(np.linalg.norm(apart)), bool((pet & edge).any()), pieces


def thirds(values: np.ndarray, there: np.ndarray, text: str) -> dict[str, np.ndarray]:
    """The lowest, the middle and the highest third, named by their ends."""
    low, first, second, high = np.quantile(values[there], [0, 1 / 3, 2 / 3, 1])
    return {
        text.format(low, first): there & (values <= first),
        text.format(first, second): there & (values > first) & (values <= second),
        text.format(second, high): there & (values > second),
    }


def report(confusion: ConfusionMatrix, groups: Groups) -> dict:
    """Number of images, mIoU with its interval, and IoU of each class, for each group."""
    told: dict = {}
    for question, answers in groups.items():
        told[question] = {}
        for answer, chosen in answers.items():
            part = ConfusionMatrix(confusion.num_classes)
            part.add(confusion.per_image[torch.from_numpy(chosen)])
            told[question][answer] = {
                "images": int(chosen.sum()),
                "miou": round(part.mean_iou(), 4),
                "interval": rounded(part.bootstrap_miou()),
                "iou": dict(zip(CLASS_NAMES, rounded(part.iou()), strict=True)),
            }
    return told


def failures_table(record: dict) -> str:
    """What `report` found, a row for each group."""
    rows = [
        [f"{question}: {answer}" if answer else question, f"{group['images']:,}"]
        + ["{:.3f} ({:.3f} to {:.3f})".format(group["miou"], *group["interval"])]
        + [f"{value:.3f}" for value in group["iou"].values()]
        for question, answers in record["groups"].items()
        for answer, group in answers.items()
    ]
    head = ["photographs", "number", "mIoU (95 % interval)", *(f"IoU {c}" for c in CLASS_NAMES)]
    return markdown(head, rows)


def score(name: str, test: SegmentationDataset) -> tuple[ConfusionMatrix, dict]:
    """The counts of shipped weights on the test list, and how many images they fail on."""
    model, _ = load_model(name)
    prediction = predict_logits(model, test.batch()[0]).argmax(dim=1)
    confusion = ConfusionMatrix.of(prediction, test.pairs.masks[test.indices])
    pet = iou(confusion.per_image)[:, 0]
    return confusion, {"images": len(test), "pet IoU below 0.3": int((pet < 0.3).sum())}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", default=["pets", "pets-pretrained"])
    parser.add_argument("--out", type=Path, metavar="FOLDER", default=RECORDS)
    options = parser.parse_args(arguments)
    source = find_dataset()
    seen = load_splits(source, GROUPED_AT).test  # the same groups for every network
    groups = groups_of(seen.pairs.images, seen.pairs.masks)

    for name in options.names:
        size = load_model(name)[1]["size"]
        splits = load_splits(source, size)
        confusion, counts = score(name, splits.test)
        record = {
            "name": name,
            "seed": 0,
            "dataset": source.name,
            "split_hash": split_hash(splits),
            "size": size,
            **provenance(torch.device("cpu"), None),
            "failures": counts,
            "groups": report(confusion, groups),
        }
        path = record_path(name, 0, "failures", options.out)
        write_record(record, path)
        print(path)


if __name__ == "__main__":
    main()
