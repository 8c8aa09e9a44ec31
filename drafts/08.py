# %% [markdown]
# # 08. Break it on purpose
#
# Most networks that "do not work" are broken in one of a dozen ways, and few of those raise an error. Here each is planted for you. You see the symptom, you say what is wrong, and then you see the mend.
#
# - **What you will do**: build five small instruments, and diagnose fifteen planted faults with them.
# - **What you will learn**:
#   1. to tell faults in the labels by the loss, by values, and by looking;
#   2. to tell faults in the training loop by overfitting one batch;
#   3. to tell faults at prediction from faults in training;
#   4. to distrust a score that is too good, or that depends on the batch size;
#   5. to estimate the memory that training needs, and to measure it.
# - **What you need**: notebooks [02](02_turn_pairs_into_batches.ipynb) to [05](05_measure_iou_and_accuracy.ipynb). No GPU.
# - **Time**: about 1 minute on 2 CPU cores

# %% [markdown]
# The faults are in the cells below, not in `helpers`, which do it right.

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torchvision.transforms import InterpolationMode, v2

from helpers.checkpoint import find_checkpoint, load_model
from helpers.data import CLASS_COLORS, CLASS_NAMES, IGNORE_INDEX, default_augmentation, denormalize, load_splits
from helpers.metrics import ConfusionMatrix
from helpers.model import UNet
from helpers.quiz import quiz
from helpers.source import find_dataset
from helpers.training import predict
from helpers.visualization import plot_samples

# %% [markdown]
# What you may change.

# %%
IMAGE_SIZE = 64
PAIRS = 16
STEPS = 60
SEED = 0

# %% [markdown]
# ## Five instruments
#
# A few pairs, small, and a tiny network: every experiment here takes a second or two.

# %%
source = find_dataset()
train, val, test = load_splits(source, IMAGE_SIZE)
images, masks = train.__getitems__(list(range(PAIRS)))  # (N, 3, H, W), (N, H, W)


def tiny(num_classes=3):
    torch.manual_seed(SEED)
    return UNet(num_classes=num_classes, base_channels=8, depth=3)


# %% [markdown]
# **1. Look** at what enters the network: types, values, and the picture.


# %%
def look(images, masks):
    print("images", tuple(images.shape), images.dtype, f"{images.min():.2f} to {images.max():.2f}")
    print("masks ", tuple(masks.shape), masks.dtype, "values", masks.unique().tolist())
    return plot_samples(denormalize(images[:6]), masks[:6])


look(images, masks)

# %% [markdown]
# **2. The first loss**, which should be near ln 3 = 1.10. **3. Overfit** one batch: a sound network, loss and loop learn a few pairs by heart.


# %%
def cross_entropy(logits, masks):
    return F.cross_entropy(logits, masks, ignore_index=IGNORE_INDEX)


def overfit(model, images, masks, loss_function=cross_entropy, clear=True, rate=1e-2):
    """The losses of STEPS steps on one batch; the first is the first loss."""
    optimizer, losses = torch.optim.AdamW(model.train().parameters(), lr=rate), []
    for _ in range(STEPS):
        loss = loss_function(model(images), masks)
        if clear:
            optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


healthy = tiny()
sound = overfit(healthy, images, masks)
print(f"first loss {sound[0]:.2f}, after {STEPS} steps {sound[-1]:.2f}")
assert abs(sound[0] - 1.1) < 0.4 and sound[-1] < 0.4

# %% [markdown]
# **4. Gradients, block by block**: where they are zero, nothing is learned. **5. A baseline**: what "background everywhere" scores.


# %%
def gradients(model):
    return {
        name: torch.stack([p.grad.norm() for p in part.parameters()]).norm().item()
        for name, part in model.named_children()
    }


def score(answers, masks):
    confusion = ConfusionMatrix()
    confusion.update(answers, masks)
    return f"accuracy {confusion.pixel_accuracy():.3f}, mIoU {confusion.mean_iou():.3f}"


print({name: round(value, 3) for name, value in gradients(healthy).items()})
print("all background:", score(torch.ones_like(masks), masks))

# %% [markdown]
# ## Faults in the labels
#
# ### Case 1
#
# A colleague read the trimaps herself. With three classes PyTorch raised an error; with four classes it runs, and the loss falls. **Diagnose** before you open the answer: which instrument shows it?

# %%
theirs = masks + 1  # how she read them
try:
    cross_entropy(tiny()(images), theirs)
except IndexError as error:
    print("three classes: IndexError:", error)
losses = overfit(tiny(num_classes=4), images, theirs)
print(f"four classes: first loss {losses[0]:.2f}, then {losses[-1]:.2f}; values {theirs.unique().tolist()}")

# %% [markdown]
# <details><summary>Diagnosis and mend</summary>
#
# The labels are 1 to 3, as in the file: one was never subtracted. The values show it, and the first loss: near ln 4 = 1.39. Four classes hide the error and add one that never occurs; as an IoU of 0 it would cost a quarter of the mean. Mend: subtract 1, and keep three classes.
#
# </details>
#
# ### Case 2
#
# "Target 255 is out of bounds", said PyTorch. A forum advised `masks.clamp(max=2)`, and the error was gone. What has been done?

# %%
torch.manual_seed(SEED)
augmented = load_splits(source, IMAGE_SIZE, default_augmentation()).train
moved_images, moved = augmented.__getitems__(list(range(PAIRS)))
try:
    F.cross_entropy(tiny()(moved_images), moved)
except IndexError as error:
    print("IndexError:", error)
clamped = moved.clamp(max=2)
print(f"border: {(masks == 2).float().mean():.1%} before augmentation, {(clamped == 2).float().mean():.1%} after clamp")
look(moved_images, clamped)

# %% [markdown]
# <details><summary>Diagnosis and mend</summary>
#
# 255 marks what augmentation has moved into view and what has no label. Clamped, it becomes 2: all the gray corners are now border, as the picture shows. Mend: `ignore_index=255` in the loss, and the same in the metric. An error that goes away by changing the data was a message about the data.
#
# </details>
#
# ### Case 3
#
# The masks come from a drawing program, as color pictures. What does the error mean?

# %%
palette = np.array([[int(color[i : i + 2], 16) for i in (1, 3, 5)] for color in CLASS_COLORS], dtype=np.uint8)
picture = Image.fromarray(palette[masks[0].numpy()])  # a color picture, as the program saved it
as_read = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].long()  # (1, 3, H, W)
try:
    cross_entropy(tiny()(images[:2])[:1], as_read)
except (RuntimeError, ValueError) as error:
    print(type(error).__name__, str(error)[:110])
print("distinct colors:", np.unique(np.array(picture).reshape(-1, 3), axis=0).tolist())

# %% [markdown]
# <details><summary>Diagnosis and mend</summary>
#
# The loss wants one class number for each pixel, (N, H, W), and gets three color values. (As these happen to have the shape of the logits, PyTorch takes them for probabilities of classes, which would have to be decimal numbers. With another number of classes the message is about dimensions.) Averaging the channels or taking one of them gives numbers that are not classes. Mend: look every color up, below. It works only while the colors are exact: a picture that was saved as JPEG has hundreds of them along each edge, and must be drawn again.
#
# </details>

# %%
colors = np.array(picture)
classes = np.full(colors.shape[:2], IGNORE_INDEX)
for number, color in enumerate(palette):
    classes[(colors == color).all(axis=-1)] = number
assert (classes != IGNORE_INDEX).all(), "there are colors that belong to no class"
print("equal to the mask:", bool((torch.from_numpy(classes) == masks[0]).all()))

# %% [markdown]
# ### Case 4
#
# Training looks perfect: the first loss is right, one batch is learned by heart. On validation pairs the network is poor. Which of the five instruments is left?

# %%
flipped = torch.where(torch.arange(PAIRS)[:, None, None, None] % 2 == 0, images.flip(-1), images)
losses = overfit(tiny(), flipped, masks)
print(f"first loss {losses[0]:.2f}, after {STEPS} steps {losses[-1]:.2f}")
look(flipped, masks)

# %% [markdown]
# <details><summary>Diagnosis and mend</summary>
#
# Every other photo is mirrored, and its mask is not. No number shows it, because a network can learn wrong masks by heart as well as right ones. The picture does, at once. Mend: transform both by one call, with the mask declared as `tv_tensors.Mask` (notebook 02).
#
# </details>
#
# ### Case 5
#
# Since the masks are made in another pipeline, there are thin lines of background inside the pets. Nobody drew them.

# %%
large = load_splits(source, 128).train.__getitems__([0])[1]  # (1, 128, 128)
smooth = v2.functional.resize(large.float(), [48, 48], InterpolationMode.BILINEAR).round().long()
exact = v2.functional.resize(large, [48, 48], InterpolationMode.NEAREST_EXACT)
invented = (smooth == 1) & (F.max_pool2d((exact == 1).float(), 3, stride=1, padding=1) == 0)
print(f"background that is not there: {int(invented.sum())} pixels; border {int((exact == 2).sum())} pixels")
plot_samples(torch.ones(2, 3, 48, 48), torch.cat([smooth, exact]), ["theirs", "ours"])

# %% [markdown]
# <details><summary>Diagnosis and mend</summary>
#
# The masks were resized bilinearly. Between pet (0) and border (2), the average rounds to 1: background. Mend: `InterpolationMode.NEAREST_EXACT`.
#
# </details>
#
# ### Case 6
#
# A network that was fine for a year fails on a new camera.

# %%
photo = torch.randn(1, 3, 70, 100)
try:
    healthy(photo)
except (RuntimeError, ValueError) as error:
    print(type(error).__name__, error)

# %% [markdown]
# <details><summary>Diagnosis and mend</summary>
#
# Halved three times, 70 gives 35, 17, 8, and 8 doubled is 16, not 17: the sizes differ at the skip. Mend: pad to a multiple of 2 to the power of the depth, predict, and cut the padding off again, below. Resizing works, too, and changes the aspect.
#
# </details>

# %%
height, width = photo.shape[-2:]
padded = F.pad(photo, (0, -width % 8, 0, -height % 8), mode="reflect")
logits = healthy.eval()(padded)[..., :height, :width]
print(tuple(photo.shape), "->", tuple(padded.shape), "->", tuple(logits.shape))
assert logits.shape[-2:] == photo.shape[-2:]

# %% [markdown]
# ## Faults in the training loop
#
# ### Case 7
#
# "It trains, but slowly, and the loss stops at a half." The loss function is below. **Predict** how low it can get before you run it.


# %%
def their_loss(logits, masks):
    return F.cross_entropy(logits.softmax(dim=1), masks, ignore_index=IGNORE_INDEX)


slow = tiny()
softmax_twice = overfit(slow, images, masks, their_loss)
print(f"first loss {softmax_twice[0]:.2f}, after {STEPS} steps {softmax_twice[-1]:.2f}, sound: {sound[-1]:.2f}")
print("lowest possible:", round(-torch.tensor([1.0, 0.0, 0.0]).log_softmax(dim=0)[0].item(), 3))

# %% [markdown]
# <details><summary>Diagnosis and mend</summary>
#
# `cross_entropy` applies the softmax itself; here it is applied twice. The "logits" that reach it lie between 0 and 1, so even a perfect answer gives the right class no more than e / (e + 2) = 0.58. The first loss does not betray it; overfitting one batch does. Mend: hand over logits.
#
# </details>
#
# ### Case 8
#
# The same network, data and learning rate as the sound one. What is missing in the loop?

# %%
uncleared = overfit(tiny(), images, masks, clear=False)
figure, ax = plt.subplots(figsize=(5, 2.6), layout="constrained")
for name, losses in (("sound", sound), ("case 7", softmax_twice), ("case 8", uncleared)):
    ax.plot(losses, label=name)
ax.set(xlabel="step", ylabel="loss", title="One batch, three loops", ylim=(0, None))
ax.legend(frameon=False)
# %% [markdown]
# <details><summary>Diagnosis and mend</summary>
#
# `optimizer.zero_grad()`. Gradients add up in `.grad`, so that each step goes on in the direction of all steps before, like a ball without friction: the loss falls, and then swings or stalls instead of settling. Adam hides the growing size of the sum (it divides by it) but not its stale direction. Mend: clear before each `backward()`.
#
# </details>
#
# ### Case 9
#
# One number is changed, step by step. What do the gradients say about the second run, and about the third? What would have stopped both at once?

# %%
for rate in (0.1, 1e4, 1e20):
    model = tiny()
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    losses = []
    for _ in range(6):
        loss = cross_entropy(model(images), masks)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    print(f"rate {rate:g}:", " ".join(f"{loss:.3g}" for loss in losses))
    print("  gradients", {name: f"{value:.2g}" for name, value in gradients(model).items()})

# %% [markdown]
# <details><summary>Diagnosis and mend</summary>
#
# The learning rate. In the second run one step has thrown the weights so far that the ReLUs behind them give 0 for everything: their gradients are 0, and only the head still learns. In the third, numbers overflow, and a single `nan` spreads through every sum. No later step brings the weights back from either. Mend: a smaller rate, clipped gradients, and a loop that stops at a loss that is not finite, as `fit` does. Other sources of `nan`: the logarithm of 0 (case 7's cousin, softmax and logarithm in two steps), a batch whose pixels are all ignored (0/0), float16 without a scaled loss.
#
# </details>
#
# ### Case 10
#
# After a few steps the accuracy is not bad for a beginning. The picture of the answers has almost one color.

# %%
model = tiny()
optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
for _ in range(4):
    loss = cross_entropy(model(images), masks)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
answers = model.train()(images).argmax(dim=1)
counts = torch.bincount(answers.flatten(), minlength=3) / answers.numel()
print(score(answers, masks), {name: f"{share:.1%}" for name, share in zip(CLASS_NAMES, counts, strict=True)})
print("all background:", score(torch.ones_like(masks), masks))

# %% [markdown]
# <details><summary>Diagnosis and mend</summary>
#
# Nearly every pixel is called background, because the first thing that pays is to learn how frequent the classes are. The accuracy looks like a beginning, and is the baseline. The mIoU says so. Here the network has only been trained too little: train on, or raise the rate. If it stays like this, look for a cause: labels that do not fit the photos, a learning rate that is far too low or high, one class that outweighs all others in the loss (then add Dice, or weights).
#
# </details>
#
# ## Faults at prediction
#
# ### Case 11
#
# The trained network of this series, three times on the same test pairs. The score depends on how many images share a batch. What was forgotten?

# %%
model, about = load_model(find_checkpoint(source))
test_pairs = load_splits(source, 128).test
test_images, test_masks = test_pairs.__getitems__(list(range(64)))
for batch_size in (1, 4, 64):
    model.train()
    with torch.no_grad():
        answers = torch.cat([model(part).argmax(dim=1) for part in test_images.split(batch_size)])
    print(f"batches of {batch_size:>2}: {score(answers, test_masks)}")

# %% [markdown]
# <details><summary>Diagnosis and mend</summary>
#
# `model.eval()`. In `train()` mode, batch normalization uses the mean and variance of the batch at hand: an image's answer depends on its neighbors. (It also moves the running statistics with each batch, so that the trained network is now changed; below it is loaded again.) Mend: `eval()` before every prediction, `train()` before every epoch.
#
# </details>

# %%
model, about = load_model(find_checkpoint(source))  # in eval() mode
reference = predict(model, test_images).argmax(dim=1)
print("eval():", score(reference, test_masks))

# %% [markdown]
# ### Case 12
#
# In the demonstration for the client, the same weights are far worse than in the report. The mode is right. Compare what enters.

# %%
raw = test_pairs.pairs.images[test_pairs.indices[:64]]  # uint8
for name, entering in (("report", test_images), ("demo", raw.float() / 255)):
    channels = entering.mean(dim=(0, 2, 3))
    answers = predict(model, entering).argmax(dim=1)
    print(f"{name:<7} mean of the channels {[f'{m:+.2f}' for m in channels]}  {score(answers, test_masks)}")

# %% [markdown]
# <details><summary>Diagnosis and mend</summary>
#
# The demonstration divides by 255 and forgets to subtract the mean and divide by the deviation. No error: the shapes agree. Mend: one function for both, `helpers.data.normalize`. The same fault in other clothes: BGR for RGB (OpenCV), another resize, a JPEG of a screenshot.
#
# </details>
#
# ## Faults in the score
#
# ### Case 13
#
# A validation score that makes everybody happy. It was measured on pairs "that are not in the training list". Names are disjoint, that was checked.

# %%
net = tiny()
overfit(net, images, masks)
unseen_images, unseen_masks = val.__getitems__(list(range(PAIRS)))
their_images, their_masks = torch.cat([unseen_images, images.flip(-1)]), torch.cat([unseen_masks, masks.flip(-1)])
for name, some, truth in (("theirs", their_images, their_masks), ("ours", unseen_images, unseen_masks)):
    print(f"{name:<7} {len(some)} pairs: {score(predict(net, some).argmax(dim=1), truth)}")

# %% [markdown]
# <details><summary>Diagnosis and mend</summary>
#
# Half of their validation pairs are training photos, mirrored and saved under new names. Names cannot show that; pixels can. Mend: compare the pictures themselves, mirrored ones included, below; split before anything is copied or augmented; keep photos of one animal, one video or one patient on one side.
#
# </details>


# %%
def fingerprint(image):
    return min(part.numpy().tobytes() for part in (image, image.flip(-1)))  # the same for a mirror image


known = {fingerprint(image) for image in images}
print(
    "theirs:",
    sum(fingerprint(image) in known for image in their_images),
    "of",
    len(their_images),
    "are training photos",
)
assert not any(fingerprint(image) in known for image in unseen_images)

# %% [markdown]
# ### Case 14
#
# Two people score the same answers and get different mIoUs. Each averages "over the list". Who is right?


# %%
def average_over_batches(answers, masks, batch_size):
    results = []
    for some, truth in zip(answers.split(batch_size), masks.split(batch_size), strict=True):
        confusion = ConfusionMatrix()
        confusion.update(some, truth)
        results.append(confusion.mean_iou())
    return sum(results) / len(results)


for batch_size in (1, 3, 12, 64):
    print(f"mean over batches of {batch_size:>2}: {average_over_batches(reference, test_masks, batch_size):.4f}")

# %% [markdown]
# <details><summary>Diagnosis and mend</summary>
#
# IoU is a ratio, and the mean of ratios is not the ratio of the sums. So an average over batches depends on the batch size, which has nothing to do with the network (and gives a short last batch as much weight as a full one). Two definitions are sound: one matrix for the whole list (here the last line, all 64 in one batch), or one for each image (the first). Mend: keep counts, divide once, and name which of the two it is.
#
# </details>
#
# ## Out of memory
#
# ### Case 15
#
# A GPU says "out of memory" at batches of 64. What takes the memory, the weights? **Estimate** before you measure. Training keeps, for each 3x3 convolution, its input, and for the normalization and ReLU behind it about two maps of the size of its output, until the backward pass has used them.


# %%
def estimate(size, base_channels, depth):
    """Bytes kept for one image: three maps for each of the two convolutions of every DoubleConv."""
    values = 0
    for level in range(depth + 1):
        blocks = 1 if level == depth else 2  # the encoder's, and the decoder's
        values += blocks * 2 * 3 * base_channels * 2**level * (size // 2**level) ** 2
    return 4 * values


def measure(model, size, batch_size=2):
    """Bytes that autograd keeps for one image, each storage counted once."""
    kept = {}
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}

    def keep(tensor):
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model.train()(torch.randn(batch_size, 3, size, size)).sum()
    return sum(size for pointer, size in kept.items() if pointer not in weights) / batch_size


# %% [markdown]
# A U-Net with the paper's 64 channels, and ours; for Adam, weights, gradients and two moments are four numbers for each parameter.

# %%
for base_channels in (16, 64):
    network = UNet(base_channels=base_channels)
    for_weights = 4 * 4 * sum(p.numel() for p in network.parameters()) / 1e6
    guess, found = estimate(128, base_channels, 4) / 1e6, measure(network, 128) / 1e6
    print(
        f"{base_channels} channels, 128 px: weights and Adam {for_weights:.0f} MB; maps of one image: "
        f"estimated {guess:.0f} MB, measured {found:.0f} MB; a batch of 64: {64 * found / 1000:.1f} GB"
    )

# %% [markdown]
# <details><summary>Diagnosis and mend</summary>
#
# The maps, most of them at full resolution: they grow with the batch, and with the square of the image's side. In this order: a smaller batch (with accumulated gradients, notebook 04), mixed precision (maps of half the size), a smaller input, fewer channels. If memory runs out at *evaluation*, the cause is another: a forgotten `no_grad()`, or losses that are summed as tensors and keep their graphs alive. If it runs out after many steps, something is kept that should not be.
#
# </details>
#
# ## Summary
#
# - Before training: look at a batch, check its values and types, and compare the first loss with ln C.
# - Overfit one batch. If that fails, the fault is in the network, the loss or the loop, and not in the amount of data.
# - If it succeeds and validation is poor: look again (images and masks apart), then think of overfitting.
# - At prediction: the same preprocessing, `eval()` mode, no gradients.
# - A score is sound if it does not depend on the batch size, beats the baselines, and comes from pictures that training has not seen.

# %% [markdown]
# You have been through the whole series: from a clone to a network that you built, trained, measured, and can repair. Back to the [README](../README.md)
