import math

from helpers.checkpoint import load_model
from helpers.constants import IGNORE_INDEX
from helpers.data import SegmentationDataset, make_loader
from helpers.datasets.pets import read_list
from helpers.inference import (
    evaluate,
    memory_format,
    pick_device,
    pick_precision,
    predict,
    predict_logits,
    predict_photo,
)
from helpers.metrics import ConfusionMatrix
from helpers.transforms import normalize, open_photo, resize_image

import pytest
import torch
import torch.nn.functional as F
from torch import nn

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


class Recorder(nn.Module):
    """Gives the first channel as three classes; remembers how it was called."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.seen = []

    def forward(self, images):
        self.seen.append((len(images), self.training, torch.is_grad_enabled()))
        return self.conv(images)


class TestEvaluate:
    def test_is_one_matrix_over_all_and_the_loss_of_a_pixel(self, pairs, small):
        model, dataset = small().eval(), SegmentationDataset(pairs)
        images, masks = dataset.batch()
        masks[0, :20] = IGNORE_INDEX
        scored = evaluate(model, [(images[:7], masks[:7]), (images[7:], masks[7:])])
        with torch.no_grad():
            logits = model(images)
        expected = ConfusionMatrix.of(logits.argmax(dim=1), masks)
        assert torch.equal(scored.confusion.per_image, expected.per_image)
        loss = F.cross_entropy(logits, masks, ignore_index=IGNORE_INDEX)
        assert scored.loss == pytest.approx(loss.item(), rel=1e-5)

    def test_batches_and_workers_do_not_matter(self, pairs, small):
        model, dataset = small(), SegmentationDataset(pairs)
        a, b = (evaluate(model, make_loader(dataset, n)) for n in (1, 7))
        c = evaluate(model, make_loader(dataset, 7, num_workers=1))
        assert torch.equal(a.confusion.per_image, b.confusion.per_image)
        assert torch.equal(c.confusion.per_image, b.confusion.per_image) and c.loss == b.loss
        assert a.loss == pytest.approx(b.loss, rel=1e-5)

    def test_leaves_the_model_as_it_was(self, small):
        model = small().train()
        model.stem.eval()  # frozen by the reader
        before = {key: value.clone() for key, value in model.state_dict().items()}
        evaluate(model, [(torch.randn(2, 3, 16, 16), torch.zeros(2, 16, 16).long())])
        assert model.training and model.ups.training and not model.stem.training
        assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())

    def test_is_in_eval_mode_and_without_gradients(self):
        model = Recorder().train()
        evaluate(model, [(torch.randn(2, 3, 4, 4), torch.zeros(2, 4, 4).long())])
        assert model.seen == [(2, False, False)] and model.training

    def test_an_error_leaves_the_model_as_it_was(self, small):
        model = small().train()
        with pytest.raises(ValueError, match="not divisible"):
            evaluate(model, [(torch.randn(2, 3, 15, 16), torch.zeros(2, 15, 16).long())])
        assert model.training

    def test_in_another_precision(self, pairs, small):
        loader = [SegmentationDataset(pairs).batch()]
        plain, mixed = (evaluate(small(), loader, precision=p) for p in (None, torch.bfloat16))
        assert mixed.loss != plain.loss and mixed.loss == pytest.approx(plain.loss, rel=0.02)

    def test_pixels_that_are_all_ignored_have_no_loss(self):
        masks = torch.full((1, 4, 4), IGNORE_INDEX)
        scored = evaluate(Recorder(), [(torch.randn(1, 3, 4, 4), masks)])
        assert math.isnan(scored.loss) and math.isnan(scored.confusion.mean_iou())

    def test_nothing_to_evaluate_on_is_refused(self, small):
        with pytest.raises(ValueError, match="gives no batch"):
            evaluate(small(), [])


class TestPredict:
    def test_logits_and_probabilities_batch_by_batch(self, pairs, small):
        images, model = normalize(pairs.images), small()
        logits = predict_logits(model, images, batch_size=5)
        with torch.no_grad():
            expected = model.eval()(images)
        assert torch.allclose(logits, expected, atol=1e-5) and not logits.requires_grad
        assert torch.equal(predict(model, images, batch_size=5), logits.softmax(dim=1))

    def test_leaves_the_model_as_it_was(self):
        model = Recorder().train()
        predict_logits(model, torch.randn(5, 3, 4, 4), batch_size=2)
        assert model.seen == [(2, False, False), (2, False, False), (1, False, False)]
        assert model.training

    def test_flipping_averages_two_answers(self, pairs, small):
        images, model = normalize(pairs.images[:3]), small()
        mirrored = predict(model, images.flip(-1)).flip(-1)
        expected = (predict(model, images) + mirrored) / 2
        assert torch.allclose(predict(model, images, flip=True), expected, atol=1e-6)
        assert not torch.allclose(expected, predict(model, images), atol=1e-3)
        logits = predict_logits(model, images, flip=True)
        assert torch.allclose(logits.exp(), expected, atol=1e-6)

    def test_a_photo_is_answered_at_its_own_size(self, drawn):
        photo, model = open_photo(drawn.image_path(read_list(drawn, "test")[0][0])), Recorder()
        mask = predict_photo(photo, model, 64)
        assert mask.shape == photo.size[::-1] and mask.dtype == torch.uint8
        logits = model.eval()(normalize(resize_image(photo, 64))[None])
        enlarged = F.interpolate(logits, mask.shape, mode="bilinear", align_corners=False)
        assert torch.equal(mask, enlarged.argmax(dim=1)[0].byte()) and len(mask.unique()) > 1
        gray = predict_photo(photo.convert("L").resize((31, 57)), model, 64)
        assert gray.shape == (57, 31)

    def test_a_photo_is_answered_by_the_best_weights_unless_told(self, drawn):
        photo = open_photo(drawn.image_path(read_list(drawn, "test")[0][0]))
        best, about = load_model()
        expected = predict_photo(photo, best, about["size"])
        assert torch.equal(predict_photo(photo), expected) and about["dataset"] != "synthetic"


class TestDevice:
    def test_the_model_goes_back_to_where_it_was(self, small, monkeypatch):
        """ "meta" stands in for a GPU: a device that this machine is sure to have."""
        model, places = small().to("meta"), []
        move = nn.Module.to

        def to(self, *args, **kwargs):
            places.append(str(args[0]))
            return move(self, *args, **kwargs)

        monkeypatch.setattr(nn.Module, "to", to)
        with pytest.raises(NotImplementedError):  # nothing can be copied out of "meta"
            predict_logits(model, torch.randn(1, 3, 8, 8), "cpu")
        assert places == ["cpu", "meta"] and next(model.parameters()).device.type == "meta"

    @pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
    def test_no_gpu_where_one_is_asked_for(self):
        with pytest.raises(RuntimeError, match=r"'cuda' was asked for.* need a GPU"):
            pick_device("cuda")

    def test_a_cpu_by_any_name(self):
        assert pick_device("cpu") == pick_device(CPU) == CPU

    @pytest.mark.parametrize(
        ("cuda", "mps", "expected"),
        [(True, False, "cuda"), (False, True, "mps"), (True, True, "cuda"), (False, False, "cpu")],
    )
    def test_auto_takes_the_fastest(self, monkeypatch, cuda, mps, expected):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
        monkeypatch.setattr(torch, "empty", lambda *args, **kwargs: None)
        assert pick_device().type == expected

    @pytest.mark.parametrize("name", ["gpu", "tpu", ""])
    def test_unknown_device(self, name):
        with pytest.raises(RuntimeError, match=f"'{name}' was .* there are 'auto', 'cpu',"):
            pick_device(name)

    def test_memory_format(self):
        assert memory_format(CPU) == memory_format(CUDA) == torch.channels_last
        assert memory_format(torch.device("mps")) == torch.contiguous_format


class TestPrecision:
    def test_of_a_cpu(self):
        assert pick_precision(CPU) is pick_precision(CPU, "float32") is None
        assert pick_precision(CPU, "bfloat16") is torch.bfloat16
        assert pick_precision(CPU, "float16") is torch.float16

    @pytest.mark.parametrize(("has", "expected"), [(True, "bfloat16"), (False, "float16")])
    def test_of_a_gpu(self, monkeypatch, has, expected):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has)
        assert pick_precision(CUDA) is getattr(torch, expected)
        assert pick_precision(CUDA, "float32") is None

    def test_another_name_is_refused(self):
        with pytest.raises(ValueError, match=r"precision must be one of .*'float16'.* not 'half'"):
            pick_precision(CPU, "half")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here")
def test_a_gpu_gives_the_same_answers(pairs, small):
    model, images = small(), normalize(pairs.images)
    here, there = predict_logits(model, images), predict_logits(model, images, "cuda")
    assert torch.allclose(here, there, atol=1e-2)
    loader = [SegmentationDataset(pairs).batch()]
    assert evaluate(model, loader, device="cuda").loss == pytest.approx(
        evaluate(model, loader).loss, rel=1e-2
    )
    assert next(model.parameters()).device == CPU
