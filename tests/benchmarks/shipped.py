"""Make what the repository ships: the synthetic pets, weights in 16 bits, their sums, the banner.

    python tests/benchmarks/shipped.py archive      draws helpers/datasets/synthetic.zip
    python tests/benchmarks/shipped.py synthetic    draws more pets, trains on them, ships, banner
    PETS_DATA=... python tests/benchmarks/shipped.py NAME RUN   ships a run of `helpers.train`

RUN is its folder, with best.pt and a record.json that has test scores; NAME is "pets" or
"pets-pretrained". In 16 bits, the test mIoU may differ by 0.001 from the record's, else nothing is
shipped.
"""

import hashlib
import json
import sys
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

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
LOSS_ALLOWED = 0.001  # of mIoU, by storing weights in 16 bits
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


def packed(state: dict) -> dict:
    """Weights in 16 bits and what is known of them.

    Kernels only: variances of batch normalization can lie beyond the largest half, 65,504.
    """
    weights = {
        key: value.half() if value.ndim > 1 else value for key, value in state["model"].items()
    }
    return {"model": weights, **{key: state[key] for key in KEYS}}


def ship(state: dict, path: Path) -> None:
    """Write what `packed` gave, and the sums of all shipped files."""
    save_checkpoint(path, state)
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
        path = WEIGHTS / "synthetic.pt"
        ship(packed(read_checkpoint(train_synthetic())), path)
        draw_banner(source)
        print(f"{path.name}, as stored in 16 bits: test mIoU {score(path, source):.3f}")
    else:
        ship_run(WEIGHTS / f"{sys.argv[1]}.pt", Path(sys.argv[2]), source)


def ship_run(path: Path, run: Path, source: PetFolder) -> None:
    """Ship the best weights of a run, if 16 bits keep its score."""
    state = packed(read_checkpoint(run / "best.pt"))
    with TemporaryDirectory() as folder:
        trial = Path(folder) / path.name
        save_checkpoint(trial, state)
        miou = score(trial, source)

    recorded = json.loads((run / "record.json").read_text(encoding="utf-8"))["test"]["miou"]
    print(f"{path.name}: test mIoU {miou:.4f} in 16 bits, {recorded:.4f} in the record")
    if abs(miou - recorded) > LOSS_ALLOWED:
        raise SystemExit("16 bits lose too much: nothing was shipped")
    ship(state, path)


def score(path: Path, source: PetFolder) -> float:
    """The test mIoU of shipped weights."""
    model, about = load_model(path)
    test = make_loader(load_splits(source, about["size"]).test)
    return evaluate(model, test).confusion.mean_iou()


if __name__ == "__main__":
    main()
