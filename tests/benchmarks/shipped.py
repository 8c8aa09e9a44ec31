"""Make what the repository ships: the synthetic pets, weights in 16 bits, their sums, the banner.

    python tests/benchmarks/shipped.py archive      draws helpers/datasets/synthetic.zip
    python tests/benchmarks/shipped.py synthetic    draws more pets, trains on them, ships, banner
    PETS_DATA=... python tests/benchmarks/shipped.py photos     ships the recipe's run with seed 0

The last needs runs/ as `experiments.py recipe` left it.
"""

import hashlib
import sys
import zipfile
from pathlib import Path

from drawing import draw_files
from helpers.checkpoint import WEIGHTS, load_model, read_checkpoint, save_checkpoint
from helpers.data import Pairs, SegmentationDataset, decode, describe, load_splits, make_loader
from helpers.datasets import synthetic
from helpers.datasets.pets import PetFolder, find_dataset
from helpers.files import atomic, home
from helpers.inference import evaluate, predict
from helpers.model import UNet
from helpers.training import TrainingConfig, fit
from helpers.transforms import default_augmentation
from helpers.visualization import plot_samples

import torch

SIZE, BANNER = 128, Path(__file__).parents[2] / "notebooks" / "banner.png"
DRAWN, EPOCHS, SEED = 1110, 16, 1  # 30 of each breed to train on, drawn with another seed
NOTE = (
    b"Drawn by a program (tests/benchmarks/drawing): not photographs, not the official dataset.\n"
)
KEYS = "model_config dataset size class_names class_colors config val_miou epoch".split()


def draw_archive() -> None:
    """The 407 pairs as one archive, the same bytes at each call with the same libraries."""
    with atomic(synthetic.ARCHIVE) as partial, zipfile.ZipFile(partial, "w") as archive:
        files = [(synthetic.MARKER, NOTE), *draw_files()]
        for path, content in sorted(files):
            info = zipfile.ZipInfo(f"oxford-iiit-pet/{path}", date_time=(2026, 1, 1, 0, 0, 0))
            info.external_attr = 0o644 << 16
            archive.writestr(info, content)  # stored: JPEGs and PNGs are compressed already
    print(f"{synthetic.ARCHIVE.name}: {synthetic.ARCHIVE.stat().st_size / 1e6:.2f} MB")


def draw_more(root: Path) -> PetFolder:
    """Other drawings than the archive's 407, on disk."""
    folder = root / "oxford-iiit-pet"
    if not folder.is_dir():
        with atomic(folder) as partial:
            for path, content in [(synthetic.MARKER, NOTE), *draw_files(DRAWN, SEED)]:
                (partial / path).parent.mkdir(parents=True, exist_ok=True)
                (partial / path).write_bytes(content)
    return find_dataset(root)


def train_synthetic() -> Path:
    """Train on all pairs of the larger drawing; the archive's validation pairs choose the epoch."""
    more = draw_more(home() / "data" / f"synthetic-{DRAWN}")
    both = [decode(more, split, SIZE) for split in ("trainval", "test")]
    names = tuple(f"seed {SEED}: {name}" for pairs in both for name in pairs.names)
    images, masks = (
        torch.cat([getattr(pairs, key) for pairs in both]) for key in ("images", "masks")
    )
    train = SegmentationDataset(
        Pairs(more.name, names, images, masks), augment=default_augmentation()
    )
    val = load_splits(find_dataset(), SIZE).val

    torch.manual_seed(0)
    folder = home() / "runs" / "shipped-synthetic"
    fit(
        UNet(),
        make_loader(train, shuffle=True),
        make_loader(val),
        TrainingConfig(epochs=EPOCHS, precision="bfloat16"),
        folder=folder,
        resume=True,
        about=describe(train, val),
    )
    return folder / "best.pt"


def ship(state: dict, path: Path) -> None:
    """Weights in 16 bits and what is known of them; then the sums of all shipped files."""
    weights = {
        key: value.half() if value.is_floating_point() else value
        for key, value in state["model"].items()
    }
    save_checkpoint(path, {"model": weights, **{key: state[key] for key in KEYS}})
    sums = {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in WEIGHTS.glob("*.pt")
    }
    lines = [f"{digest}  {name}\n" for name, digest in sorted(sums.items())]
    (WEIGHTS / "SHA256SUMS").write_text("".join(lines), encoding="utf-8")


def draw_banner(source: PetFolder) -> None:
    """Eight test drawings with the shipped weights' predictions."""
    test = load_splits(source, SIZE).test
    model, _ = load_model("synthetic")
    chosen = torch.linspace(0, len(test) - 1, 8).long()
    predictions = predict(model, test.batch(chosen)[0]).argmax(dim=1)
    figure = plot_samples(test.pairs.images[chosen], predictions, columns=8)
    figure.savefig(BANNER, dpi=80)


def main() -> None:
    if sys.argv[1] == "archive":
        return draw_archive()

    source = find_dataset()
    if sys.argv[1] == "synthetic":
        best, path = train_synthetic(), WEIGHTS / "synthetic.pt"
    else:  # the first run, not a pick among several
        best, path = source.runs / "recipe" / "recipe-0" / "best.pt", WEIGHTS / "oxford-561.pt"
    ship(read_checkpoint(best), path)
    if source.is_synthetic:
        draw_banner(source)

    test = make_loader(load_splits(source, SIZE).test)
    miou = evaluate(load_model(path)[0], test).confusion.mean_iou()
    print(f"{path.name}, as stored in 16 bits: test mIoU {miou:.3f}")


if __name__ == "__main__":
    main()
