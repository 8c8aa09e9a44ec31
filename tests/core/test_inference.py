from helpers.datasets.pets import read_list
from helpers.inference import predict, predict_photo
from helpers.model import UNet
from helpers.transforms import normalize, resize_image

import torch
from PIL import Image


def small() -> UNet:
    torch.manual_seed(1)
    return UNet(base_channels=4, depth=2)


def test_predict_gives_probabilities(splits):
    images = torch.stack([splits.val[i][0] for i in range(3)])
    probabilities = predict(small(), images, device=torch.device("cpu"), batch_size=2)
    assert probabilities.shape == (3, 3, 64, 64)
    assert torch.allclose(probabilities.sum(dim=1), torch.ones(3, 64, 64))


def test_flipping_averages_two_answers(splits):
    images = torch.stack([splits.val[i][0] for i in range(3)])
    model = small()
    expected = (predict(model, images, "cpu") + predict(model, images.flip(-1), "cpu").flip(-1)) / 2
    assert torch.equal(predict(model, images, "cpu", flip=True), expected)
    assert not torch.equal(expected, predict(model, images, "cpu"))


def test_a_photo_is_answered_at_its_own_size(drawn):
    photo = Image.open(drawn.image_path(read_list(drawn, "test")[0][0]))
    model = small()
    mask = predict_photo(model, photo, 64, "cpu")
    assert mask.shape == photo.size[::-1] and mask.dtype == torch.uint8
    logits = model(normalize(resize_image(photo, 64))[None])
    enlarged = torch.nn.functional.interpolate(logits, mask.shape, mode="bilinear")
    assert torch.equal(mask, enlarged.argmax(dim=1)[0].byte())
    gray = predict_photo(model, photo.convert("L").resize((31, 57)), 64, "cpu")
    assert gray.shape == (57, 31)
