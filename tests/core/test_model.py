from helpers.model import DoubleConv, Down, UNet, Up

import pytest
import torch
from torch import nn


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


class TestDoubleConv:
    def test_shape_and_parameters(self):
        block = DoubleConv(3, 8)
        assert block(torch.randn(2, 3, 20, 24)).shape == (2, 8, 20, 24)
        assert count(block) == 3 * 8 * 9 + 8 * 8 * 9 + 4 * 8  # two convolutions without bias, two norms

    def test_values_by_hand(self):
        """Averaging kernels and norms that do nothing: the center of a constant image keeps its value."""
        block = DoubleConv(1, 1).eval()
        for conv in (block[0], block[3]):
            nn.init.constant_(conv.weight, 1 / 9)
        out = block(torch.full((1, 1, 7, 7), 2.0))
        assert torch.allclose(out[0, 0, 3, 3], torch.tensor(2.0), atol=1e-4)
        assert torch.allclose(out[0, 0, 0, 0], torch.tensor(2 * 25 / 81), atol=1e-4)  # zero padding at the corner

    def test_is_not_negative(self):
        assert (DoubleConv(3, 4)(torch.randn(1, 3, 8, 8)) >= 0).all()


class TestDown:
    def test_shape(self):
        assert Down(4, 8)(torch.randn(2, 4, 16, 24)).shape == (2, 8, 8, 12)

    def test_pools_the_maximum_first(self):
        block = Down(1, 1)
        image = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
        assert block[0](image).item() == 4


class TestUp:
    @pytest.mark.parametrize("bilinear", [False, True])
    @pytest.mark.parametrize("skips", [False, True])
    def test_shape(self, bilinear, skips):
        block = Up(8, 4, skips=skips, bilinear=bilinear)
        assert block(torch.randn(2, 8, 5, 6), torch.randn(2, 4, 10, 12)).shape == (2, 4, 10, 12)

    def test_skip_comes_first_in_the_concatenation(self):
        """Convolution that passes its first input channel only: the output is the skip, whatever x is."""
        block = Up(2, 1).eval()
        first, second = block.conv[0], block.conv[3]
        for conv in (first, second):
            nn.init.zeros_(conv.weight)
            conv.weight.data[0, 0, 1, 1] = 1
        skip = torch.rand(1, 1, 4, 4)
        assert torch.allclose(block(torch.randn(1, 2, 2, 2), skip), skip, atol=1e-4)

    def test_without_skips_the_skip_is_not_used(self):
        block = Up(2, 1, skips=False).eval()
        x = torch.randn(1, 2, 2, 2)
        assert torch.equal(block(x, torch.randn(1, 1, 4, 4)), block(x, torch.randn(1, 1, 4, 4)))


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

    def test_skips_reach_the_output(self):
        """With the bottleneck silenced, the image still decides the logits through the skips, and only then."""
        for skips, differs in ((True, True), (False, False)):
            model = UNet(base_channels=4, depth=2, skips=skips).eval()
            nn.init.zeros_(model.downs[-1][1][4].weight)  # the last norm before the first step up
            a, b = (model(torch.randn(1, 3, 16, 16)) for _ in range(2))
            assert (not torch.equal(a, b)) == differs

    def test_every_parameter_learns(self):
        model = UNet(base_channels=4, depth=2)
        model(torch.randn(2, 3, 16, 16)).square().mean().backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())

    @pytest.mark.parametrize(("shape", "name"), [((20, 16), "height 20"), ((16, 30), "width 30")])
    def test_other_sizes_are_refused_with_the_mend(self, shape, name):
        with pytest.raises(ValueError, match=rf"{name} is not divisible by 2\*\*depth = 8: resize or pad it to"):
            UNet(base_channels=4, depth=3)(torch.randn(1, 3, *shape))

    def test_config_rebuilds_the_model(self):
        model = UNet(1, 2, 4, 2, skips=False, bilinear=True)
        UNet(**model.config).load_state_dict(model.state_dict())

    def test_nonsense_is_refused(self):
        with pytest.raises(ValueError, match="at least 1"):
            UNet(depth=0)
