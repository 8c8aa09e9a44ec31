"""The shipped networks at a larger input than in their training:

    PETS_DATA=... python tests/benchmarks/sizes.py [NAME ...]

NAME is of shipped weights, those for photographs if none is given. The validation mIoU at the
images' own size, from an input as in training and from larger ones; then, at the size that is best
there, the scores on the test list, plain and with test-time augmentation. The record goes to
helpers/studies/records/sizes/NAME-0.json.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from helpers.checkpoint import load_model
from helpers.data import SegmentationDataset, load_splits
from helpers.datasets.pets import find_dataset
from helpers.inference import predict_logits
from helpers.metrics import ConfusionMatrix
from helpers.studies.records import RECORDS, provenance, record_path, split_hash, write_record
from helpers.studies.report import original_masks
from helpers.studies.tables import Record, look_up, markdown

import torch
import torch.nn.functional as F
from facts import rounded
from torch import nn

LARGER = {"pets": (144, 160), "pets-pretrained": (256, 288)}  # divisible by 16, and by 32
RUNS = {"pets": "default U-Net", "pets-pretrained": "ImageNet encoder"}  # whose seed 0 is shipped


def own_size(model: nn.Module, dataset: SegmentationDataset, flip: bool = False) -> dict:
    """mIoU, its interval and IoU of each class, at the images' own size, some images at a time.

    flip: with test-time augmentation, see `predict_logits`.
    """
    confusion = ConfusionMatrix(len(dataset.pairs.class_names))
    truths = original_masks(dataset)

    for places in torch.arange(len(dataset)).split(64):
        logits = predict_logits(model, dataset.batch(places)[0], flip=flip)
        for of_image, truth in zip(logits, truths, strict=False):  # the truths go on
            enlarged = F.interpolate(of_image[None], truth.shape[1:], mode="bilinear")
            confusion.update(enlarged.argmax(dim=1), truth)

    return {
        "images": len(dataset),
        "miou": round(confusion.mean_iou(), 4),
        "interval": rounded(confusion.bootstrap_miou()),
        "iou": dict(zip(dataset.pairs.class_names, rounded(confusion.iou().tolist()), strict=True)),
    }


def sizes_table(records: Sequence[Record], runs: Sequence[Record]) -> str:
    """A row for each network and input size; mIoU at the images' own size.

    runs: final runs, which have the test scores at the size of the training.
    """
    shipped = {run["name"]: run for run in runs if run["seed"] == 0}
    rows = []
    for record in records:
        tested = {record["size"]: record, record["trained_at"]: shipped[RUNS[record["name"]]]}
        for size, miou in record["val"].items():
            run = tested.get(int(size))
            scores = [_with_interval(run, p) if run else "-" for p in ("test", "test_flip")]
            rows.append([f"{record['name']}.pt", f"{size} px", f"{miou:.3f}", *scores])
    head = ["weights", "input", "validation", "test (95 % interval)", "test, with mirror images"]
    return markdown(head, rows)


def _with_interval(record: Record, part: str) -> str:
    scores = look_up(record, f"{part}/own_size")
    return "{:.3f} ({:.3f} to {:.3f})".format(scores["miou"], *scores["interval"])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", default=[*LARGER], choices=[*LARGER])
    parser.add_argument("--out", type=Path, metavar="FOLDER", default=RECORDS)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    source = find_dataset()

    for name in options.names:
        model, about = load_model(name)
        found = {}
        for size in (about["size"], *LARGER[name]):
            found[size] = own_size(model, load_splits(source, size).val)["miou"]
            print(f"{name}: {size} px: {found[size]}", flush=True)

        best = max(found, key=found.__getitem__)
        splits = load_splits(source, best)
        record = {
            "name": name,
            "seed": 0,
            "dataset": source.name,
            "pairs": {part: len(pairs) for part, pairs in splits._asdict().items()},
            "split_hash": split_hash(splits),
            "size": best,
            "trained_at": about["size"],
            **provenance(torch.device("cpu"), None),
            "val": {str(size): miou for size, miou in found.items()},
            "test": {"own_size": own_size(model, splits.test)},
            "test_flip": {"own_size": own_size(model, splits.test, flip=True)},
        }
        path = record_path(name, 0, "sizes", options.out)
        write_record(record, path)
        print(path)


if __name__ == "__main__":
    main()
