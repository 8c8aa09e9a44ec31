"""An image at its own size, by the rule that its checkpoint keeps."""

from helpers.inference import predict_logits, predict_photo
from helpers.model import UNet
from helpers.tiling.prediction import predict_image, predict_strips
from helpers.transforms import normalize

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torchvision.transforms.v2.functional import pil_to_tensor


def rows_of(image):
    pixels = np.asarray(image)
    return lambda top, bottom: pixels[top:bottom]


@pytest.fixture
def small():
    def build(num_classes=3):
        torch.manual_seed(0)
        return UNet(num_classes, base_channels=4, depth=2)

    return build


class TestPredictImage:
    """By the rule that the checkpoint keeps."""

    @pytest.fixture
    def photo(self):
        pixels = torch.randint(0, 256, (7, 9, 3), dtype=torch.uint8).numpy()
        return Image.fromarray(pixels).resize((180, 100))

    def test_without_a_scale_it_is_squashed(self, photo, small):
        model = small()
        expected = predict_photo(photo, model, 64)
        for about in ({"size": 64}, {"size": 64, "scale": None}):
            assert torch.equal(predict_image(photo, model, about), expected)
        strips = predict_strips(rows_of(photo), (100, 180), model, {"size": 64})
        found = torch.cat([logits.argmax(dim=0) for logits in strips])
        assert (found == expected).float().mean() > 0.98  # resized by Pillow, to one level of 255

    def test_with_a_scale_of_1_it_is_as_it_is(self, photo, small):
        model = small()
        mask = predict_image(photo, model, {"size": 64, "scale": 1.0})
        logits = predict_logits(model, normalize(pil_to_tensor(photo))[None])
        assert mask.dtype == torch.uint8 and mask.shape == (100, 180)
        assert (mask == logits.argmax(dim=1)[0]).float().mean() > 0.999

    def test_with_another_it_is_resized_and_the_logits_back(self, photo, small):
        model = small()
        mask = predict_image(photo, model, {"size": 32, "scale": 0.4})
        half = photo.resize((72, 40), Image.Resampling.BILINEAR)
        logits = predict_logits(model, normalize(pil_to_tensor(half))[None])
        enlarged = F.interpolate(logits, (100, 180), mode="bilinear", align_corners=False)
        assert (mask == enlarged.argmax(dim=1)[0]).float().mean() > 0.999

    def test_tiles_are_never_smaller_than_in_training(self):
        seen = []

        def note(network, inputs):
            seen.append((inputs[0].shape[2], network.training, torch.is_grad_enabled()))

        model, image = UNet(base_channels=4, depth=2), Image.new("RGB", (200, 100))
        model.register_forward_pre_hook(note)
        about = {"size": 32, "scale": 1.0}
        for tile, expected in ((8, 32), (48, 48), (None, 100)):
            seen.clear()
            list(predict_strips(rows_of(image), (100, 200), model, about, tile=tile))
            assert set(seen) == {(expected, False, False)}

    def test_in_another_precision(self, photo, small):
        about, model = {"size": 64, "scale": 1.0}, small()
        whole = (rows_of(photo), (100, 180), model, about)
        (plain,) = predict_strips(*whole)
        (mixed,) = predict_strips(*whole, precision=torch.bfloat16)
        assert mixed.dtype == torch.float32 and not torch.equal(mixed, plain)
        assert torch.allclose(mixed, plain, atol=0.1)
