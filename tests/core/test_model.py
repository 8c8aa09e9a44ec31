from helpers.model import DoubleConv, Down, UNet, Up

import pytest
import torch
from torch import nn


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def pass_through(block: DoubleConv) -> DoubleConv:
    """The same block, in eval() mode, with convolutions that give on their first input channel."""
    for conv in (block[0], block[3]):
        nn.init.zeros_(conv.weight)
        conv.weight.data[0, 0, 1, 1] = 1
    return block.eval()


class TestDoubleConv:
    def test_shape_and_parameters(self):
        block = DoubleConv(3, 8)
        assert block(torch.randn(2, 3, 20, 24)).shape == (2, 8, 20, 24)
        assert count(block) == 3 * 8 * 9 + 8 * 8 * 9 + 4 * 8  # no bias, two normalizations

    def test_values_by_hand(self):
        """Averages, and normalizations that do nothing: a constant image keeps its middle."""
        block = DoubleConv(1, 1).eval()
        for conv in (block[0], block[3]):
            nn.init.constant_(conv.weight, 1 / 9)
        out = block(torch.full((1, 1, 7, 7), 2.0))
        assert torch.allclose(out[0, 0, 3, 3], torch.tensor(2.0), atol=1e-4)
        assert torch.allclose(out[0, 0, 0, 0], torch.tensor(2 * 25 / 81), atol=1e-4)  # padding: 0

    def test_normalizes_before_each_relu(self):
        """In training, each channel has mean 0 and variance 1 before ReLU: so half of it is 0."""
        block, seen = DoubleConv(3, 4), []
        for norm in (block[1], block[4]):
            norm.register_forward_hook(lambda module, inputs, output: seen.append(output.clone()))
        out = block(5 + 3 * torch.randn(4, 3, 16, 16))
        for normalized in seen:
            assert normalized.mean(dim=(0, 2, 3)).abs().max() < 1e-4
            assert (normalized.var(dim=(0, 2, 3)) - 1).abs().max() < 1e-2
        assert torch.equal(out, seen[-1].relu()) and (out == 0).float().mean() > 0.3


class TestDown:
    def test_halves_by_the_maximum(self):
        block = Down(1, 1)
        pass_through(block[1])
        image = torch.tensor([[[[1.0, 2.0, 5.0, 0.0], [3.0, 4.0, 0.0, 0.0]]]])
        assert torch.allclose(block(image), torch.tensor([[[[4.0, 5.0]]]]), atol=1e-3)


class TestUp:
    @pytest.mark.parametrize("bilinear", [False, True])
    @pytest.mark.parametrize("skips", [False, True])
    def test_shape_and_parameters(self, bilinear, skips):
        block = Up(8, 4, skips=skips, bilinear=bilinear)
        out = block(torch.randn(2, 8, 5, 6), torch.randn(2, 4, 10, 12))
        assert out.shape == (2, 4, 10, 12)
        up = 8 * 4 * (1 if bilinear else 4) + 4
        assert count(block) == up + (8 if skips else 4) * 4 * 9 + 4 * 4 * 9 + 4 * 4

    def test_by_default_upsampling_is_learned(self):
        assert isinstance(Up(8, 4).up, nn.ConvTranspose2d) and Up(8, 4).skips

    def test_bilinear_upsampling_is_torchs(self):
        x = torch.randn(1, 8, 5, 6)
        up = Up(8, 4, bilinear=True).up
        larger = nn.functional.interpolate(x, (10, 12), mode="bilinear", align_corners=False)
        assert torch.equal(up(x), up[1](larger))

    def test_the_skip_comes_first_in_the_concatenation(self):
        block, skip = Up(2, 1), torch.rand(1, 1, 4, 4)
        pass_through(block.conv)
        assert torch.allclose(block(torch.randn(1, 2, 2, 2), skip), skip, atol=1e-4)

    def test_without_skips_the_skip_is_not_used(self):
        block = Up(2, 1, skips=False).eval()
        x = torch.randn(1, 2, 2, 2)
        a, b = (block(x, torch.randn(1, 1, 4, 4)) for _ in range(2))
        assert torch.equal(a, b) and not torch.equal(a, block(2 * x, torch.randn(1, 1, 4, 4)))


class TestUNet:
    def test_logits_have_the_size_of_the_image(self):
        assert UNet(3, 5, 4, 2)(torch.randn(2, 3, 20, 28)).shape == (2, 5, 20, 28)

    def test_parameters_of_the_published_architecture(self):
        assert count(UNet(base_channels=64, depth=4)) == pytest.approx(31.0e6, rel=2e-3)

    def test_parameters_of_the_default(self):
        assert count(UNet()) == 1_942_611

    def test_parameters_by_hand(self):
        def double(i, o):
            return i * o * 9 + o * o * 9 + 4 * o

        up = 8 * 4 * 4 + 4 + double(8, 4)
        assert count(UNet(3, 2, 4, 1)) == double(3, 4) + double(4, 8) + up + 4 * 2 + 2

    def test_is_the_parts_put_together(self):
        """The forward pass written out for depth 2; the head is a plain sum over channels."""
        model, images = UNet(base_channels=4, depth=2).eval(), torch.randn(2, 3, 16, 16)
        first = model.stem(images)
        second = model.downs[0](first)
        bottleneck = model.downs[1](second)
        x = model.ups[1](model.ups[0](bottleneck, second), first)
        weight, bias = model.head.weight[:, :, 0, 0], model.head.bias
        logits = torch.einsum("kc,nchw->nkhw", weight, x) + bias[:, None, None]
        assert torch.allclose(model(images), logits, atol=1e-5)
        assert logits.min() < 0 < logits.max()  # no activation at the end

    def test_skips_reach_the_output(self):
        """With the bottleneck silenced, the image decides through the skips, and only there."""
        for skips in (True, False):
            model = UNet(base_channels=4, depth=2, skips=skips).eval()
            nn.init.zeros_(model.downs[-1][1][4].weight)  # the last norm before the first step up
            a, b = (model(torch.randn(1, 3, 16, 16)) for _ in range(2))
            assert torch.equal(a, b) != skips

    def test_every_parameter_learns(self):
        model = UNet(base_channels=4, depth=2)
        model(torch.randn(2, 3, 16, 16)).square().mean().backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())

    @pytest.mark.parametrize(
        ("shape", "fits"), [((20, 16), "24 x 16"), ((16, 30), "16 x 32"), ((1, 7), "8 x 8")]
    )
    def test_other_sizes_are_refused_with_the_mend(self, shape, fits):
        message = rf"{shape[0]} x {shape[1]} is not divisible by 2\*\*depth = 8: .* to {fits}"
        with pytest.raises(ValueError, match=message):
            UNet(base_channels=4, depth=3)(torch.randn(1, 3, *shape))

    def test_config_rebuilds_the_model(self):
        model = UNet(1, 2, 4, 2, skips=False, bilinear=True)
        twin = UNet(**model.config)
        twin.load_state_dict(model.state_dict())
        image = torch.randn(1, 1, 8, 8)
        assert torch.equal(twin.eval()(image), model.eval()(image))
        assert twin.config == model.config != UNet().config

    @pytest.mark.parametrize("wrong", [{"depth": 0}, {"base_channels": 0}])
    def test_nonsense_is_refused(self, wrong):
        with pytest.raises(ValueError, match="at least 1"):
            UNet(**wrong)
        UNet(depth=1, base_channels=1)
