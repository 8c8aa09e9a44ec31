"""The plan of a U-Net: its numbers are those of networks that are built and run."""

from helpers.model import UNet
from helpers.teaching.unet_plan import UNetPlan, plot_plan

import pytest
import torch
from torch import nn

PLANS = [
    UNetPlan(),
    UNetPlan(64, 8, 3),
    UNetPlan(32, 4, 1, kernel=1),
    UNetPlan(64, 3, 2, kernel=5),
    UNetPlan(96, 2, 5),
]
every_plan = pytest.mark.parametrize("plan", PLANS, ids=str)


def build(plan: UNetPlan) -> UNet:
    """The planned network; the helper's UNet has 3x3 kernels, so others are put in their place."""
    network = UNet(base_channels=plan.base_channels, depth=plan.depth)
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Conv2d) and child.kernel_size == (3, 3):
                k = plan.kernel
                conv = nn.Conv2d(
                    child.in_channels, child.out_channels, k, padding=k // 2, bias=False
                )
                setattr(module, name, conv)
    return network


@every_plan
def test_parameters_are_those_of_the_network(plan):
    network = build(plan)
    assert sum(plan.parameters) == sum(p.numel() for p in network.parameters())
    of_bottleneck = sum(p.numel() for p in network.downs[-1].parameters())
    assert plan.parameters[-1] == of_bottleneck


@every_plan
def test_activations_are_what_autograd_keeps(plan):
    network, kept = build(plan).train(), {}
    weights = {p.untyped_storage().data_ptr() for p in network.parameters()}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights and tensor.ndim == 4:
            kept[storage.data_ptr()] = storage  # held, so that no other takes its place
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits = network(torch.randn(2, 3, plan.size, plan.size))
    assert logits.requires_grad
    assert sum(storage.nbytes() for storage in kept.values()) == 2 * sum(plan.activations)


@pytest.mark.parametrize(
    "plan",
    [UNetPlan(64, 2, 1), UNetPlan(128, 2, 2, kernel=5), UNetPlan(128, 2, 3), UNetPlan(64, 2, 2, 1)],
    ids=str,
)
def test_receptive_field_is_where_the_gradient_is_not_zero(plan):
    network = build(plan).double().eval()
    for parameter in network.parameters():
        parameter.data.abs_().clamp_(min=0.01)  # nothing cancels
    for down in network.downs:
        down[0] = nn.AvgPool2d(2)  # a maximum would hide three of four pixels
    middle = plan.size // 2
    for position in (middle, middle + 1, middle + 3):
        image = torch.ones(1, 3, plan.size, plan.size, dtype=torch.float64, requires_grad=True)
        network(image)[0, 0, position, position].backward()
        seen = image.grad[0].sum(dim=(0, 1)).nonzero().flatten()
        assert (int(seen.min()), int(seen.max())) == plan.receptive_interval(position)


@pytest.mark.parametrize(
    "numbers", [(100, 16, 4, 3), (128, 16, 4, 2), (128, 0, 4, 3), (128, 16, 0, 3)]
)
def test_impossible_plans_are_refused(numbers):
    with pytest.raises(ValueError, match=r"divisible|odd"):
        UNetPlan(*numbers)


@every_plan
def test_the_drawing_is_to_scale(plan):
    figure = plot_plan(plan, torch.zeros(3, plan.size, plan.size))
    boxes = figure.axes[0].patches[: 2 * plan.depth + 1]
    assert len([box for box in boxes if box.get_width() > 0]) == 2 * plan.depth + 1
    top = max(boxes, key=lambda box: box.get_height())
    for box in boxes:
        level = round(top.get_height() / box.get_height())
        assert box.get_width() == pytest.approx(level * top.get_width())
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert f"{plan.channels[-1]} x {plan.sizes[-1]} x {plan.sizes[-1]}" in texts
