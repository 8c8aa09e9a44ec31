from helpers.model import UNet
from helpers.studies.experiments import Experiment, build_network

import pytest
import torch
from peers import PEERS, HoverslamUNet, milesial_unet, network_of
from torch import nn

PARAMETERS = {  # in millions, as their authors give them; of the last two, as counted here
    "hoverslam's U-Net, reimplemented": 2.7,
    "milesial's U-Net, reimplemented": 31.0,
    "H0rvex's U-Net, reimplemented": 7.7,
    "SMP's Unet, ResNet-18": 14.3,
    "torchvision's LR-ASPP, MobileNetV3": 3.2,
}


def count(model):
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_is_built_by_its_name_and_can_be_trained(name):
    model = build_network(Experiment(network=network_of(name)))
    assert count(model) / 1e6 == pytest.approx(PARAMETERS[name], abs=0.05)

    logits = model.train()(torch.randn(2, 3, 128, 128))
    assert logits.shape == (2, 3, 128, 128)

    # A gradient reaches every parameter, and not only as zeros.
    (logits * torch.randn_like(logits)).sum().backward()
    without = [key for key, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


@pytest.mark.parametrize("name", PEERS)
def test_it_begins_with_random_weights(name):
    """Two are built: with weights from a file or the network, they would be alike."""
    first, second = (nn.utils.parameters_to_vector(PEERS[name]().parameters()) for _ in range(2))
    assert not torch.equal(first, second)


def test_milesial_has_as_many_parameters_as_reported():
    """https://github.com/milesial/Pytorch-UNet with two classes and bilinear=False."""
    ours = milesial_unet()
    assert count(UNet(**ours.config | {"num_classes": 2})) == 31_037_698


def test_what_tells_hoverslams_from_ours():
    model = HoverslamUNet()
    kinds = [type(layer) for layer in model.modules()]
    assert nn.ConvTranspose2d not in kinds and kinds.count(nn.Upsample) == 4
    first = [type(layer) for layer in model.downs[0]]
    assert first[:3] == [nn.BatchNorm2d, nn.ReLU, nn.Conv2d] and first[-2] is nn.MaxPool2d

    # Each half doubles or halves: 128 px are 8 px at the bottom.
    sizes = []
    model.downs[-1].register_forward_hook(lambda _m, _i, output: sizes.append(output.shape))
    model.eval()(torch.zeros(1, 3, 128, 128))
    assert sizes == [(1, 256, 8, 8)]
