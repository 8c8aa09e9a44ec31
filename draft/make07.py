"""Write notebook 07 on the eight arms from the old one: python make07.py OLD NEW. @@ wait for records."""
import json, sys

nb = json.load(open(sys.argv[1]))
cells = nb["cells"]
def src(i): return "".join(cells[i]["source"])
def put(i, text): cells[i]["source"] = text.strip("\n").splitlines(keepends=True)
def edit(i, *pairs):
    s = src(i)
    for old, new in pairs:
        assert s.count(old) == 1, (i, old, s.count(old))
        s = s.replace(old, new)
    put(i, s)

edit(0,
  ("Skip connections, augmentation, more training samples: which of them carries the score, and which is folklore? Here you guess first, then look at runs that differ in one thing only, and then repeat any of them yourself.",
   "Skip connections, augmentation, pretraining, more photographs: which of them carries the score, and which is folklore? Here you guess first, then look at runs that differ in one thing only, and then repeat any of them yourself."),
  ("read some forty recorded training runs", "read some fifty recorded training runs"),
  ("  2. to compare two settings fairly, with an error bar;", "  2. to compare two settings fairly: tuned alike, paired by the seed, with an interval;"),
  ("to say what skips, data, augmentation, size and pretraining were worth in these runs.", "to say what skips, width, loss, augmentation, size and pretraining were worth in these runs."),
)
put(2, '''
from statistics import mean

from helpers.constants import CLASS_COLORS, CLASS_NAMES
from helpers.data import load_splits
from helpers.datasets.pets import find_dataset
from helpers.inference import predict_logits
from helpers.metrics import ConfusionMatrix, iou
from helpers.studies.experiments import EXPERIMENTS, at_most, run_experiment
from helpers.studies.records import load_records
from helpers.studies.statistics import holm, paired_difference
from helpers.studies.tables import rates_table, spread
from helpers.teaching.checks import nb07 as check
from helpers.teaching.explorers import explore_runs
from helpers.teaching.outputs import Described
from helpers.teaching.quiz import quiz
from helpers.visualization import overlay, plot_history, to_rgb_array

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from IPython.display import Markdown
''')
put(5, '''
## How to compare

Change one thing and hold everything else: the samples, the number of steps, the schedule. Score all runs on *validation*; the test split is not for choosing.

The learning rate is the hard case, a *nuisance hyper-parameter*: nobody asks about it, but each setting may need another one, and at the baseline's rate every other setting would be judged unfairly. So a fair comparison [tunes it for each](https://github.com/google-research/tuning_playbook). Here each setting had one short *trial* at each of three rates, the same three for all, and was then run at its own best.

What follows was trained on photographs: the official training list of the Oxford-IIIT Pet dataset ([RESULTS](RESULTS.md) has the protocol).
''')
put(6, '''
records, trials = load_records("ablation"), load_records("ablation-rates")
first = next(r for r in records if r["name"] == "baseline")
print(f"{len(records)} runs and {len(trials)} trials on {first['dataset']}: {first['pairs']}")
print(f"{len(first['history']['seconds'])} epochs, {first['device']}")
print("commits:", ", ".join(sorted({r["commit"] for r in records})))
print(f"{sum(r['minutes'] for r in records + trials) / 60:.1f} hours in all")
source = find_dataset()  # where you will rerun one
''')
new_rates = [
 ("markdown", '''
**Predict:** a network that begins with trained weights, does it want a higher or a lower rate than one that begins with random ones?
''', "skip", []),
 ("code", '''
Markdown(rates_table(trials))
''', "skip", []),
 ("markdown", '''
(Validation mIoU at the input size; bold: the rate that was taken.) @@RATES The runs that follow have other seeds than the trials, 1 to 3 instead of 0: the winner of a trial owes some of its score to luck, and would bring that along.
''', "skip", []),
]
put(7, '''
The runs are short, so that all of them fit into some hours on two cores. What helps early need not be what helps in the end.

The score is the mIoU at the *photo's own size*. At the input size, a network that sees 64 px would be asked an easier question than one that sees 128 px.
''')
put(10, '''
print("mean ± standard deviation:", spread(list(baseline.values())))
''')
put(11, '''
Three runs say little about their own spread. But all settings were run with the same three seeds: a table with a row for each setting and a column for each seed.
''')
put(12, '''
table = torch.tensor([[scores[seed] for seed in baseline] for scores in of_name.values()])
settings, seeds = table.shape
left = table - table.mean(dim=1, keepdim=True)  # what the setting does is taken away
luck = (left.square().sum() / (settings * (seeds - 1))).sqrt().item()
shared = left.mean(dim=0)  # what a seed does in all settings alike
left = left - shared
noise = (left.square().sum() / ((settings - 1) * (seeds - 1))).sqrt().item()
print("the seeds' own effect:", [f"seed {s} {x:+.4f}" for s, x in zip(baseline, shared)])
print(f"standard deviation of a run: {luck:.4f}; without its seed's effect: {noise:.4f}")
print(f"two runs, two seeds, differ by more than {2 * 2**0.5 * luck:.3f} one time in twenty")
print(f"two runs, one seed, differ by more than {2 * 2**0.5 * noise:.3f} one time in twenty")
''')
put(13, '''
The difference of two runs has √2 times the deviation of one, and 95 % of a normal distribution lies within 2 deviations. Keep the first number in mind when a table has one run in each row.

@@LUCK So compare *paired*: runs of the same seed. (Both numbers assume that luck is as large in every setting.)

And these are errors of seeds alone. Other validation photographs than these 920 would add an error of their own, the same for all settings in part (notebook [05](05_measure_iou_and_accuracy.ipynb)).

## Your predictions

For each experiment, write "+" if you expect it to raise the score by more than seeds do, "-" if it lowers it, "0" if neither.
''')
edit(14, ('guesses["depth 2"] = ...', 'guesses["64 px"] = ...'))
put(15, '''
The effect of an experiment is the mean of its paired differences: its score minus the baseline's with the same seed. Its error is estimated from these very differences, and from three of them an estimate is rough. Student's *t distribution* takes that into account: the 95 % interval of a mean of three reaches 4.3 standard errors to either side, not 2.

One such interval in twenty misses the truth, and here are seven. *Holm's correction* makes the p-values (how often luck alone would do as much) larger, so that the chance of even one false alarm among all seven stays below 5 %. We call an effect "0" unless its corrected p-value is below 0.05.
''')
put(16, '''
differences = {
    name: [of_name[name][seed] - score for seed, score in baseline.items()]
    for name in of_name.keys() - {"baseline"}
}
effects = {name: paired_difference(d, [0] * len(d)) for name, d in differences.items()}
p_values = dict(zip(effects, holm([effect.p for effect in effects.values()]), strict=True))
names = sorted(effects, key=lambda name: effects[name].mean)
for name in reversed(names):
    effect, p = effects[name], p_values[name]
    sign = "0" if p >= 0.05 else "+" if effect.mean > 0 else "-"
    found = f"{effect.mean:+.3f} ({effect.low:+.3f} to {effect.high:+.3f})  p {p:.3f}  {sign}"
    print(f"{name:<22} {found}   your guess {guesses[name]}")
''')
put(18, '''
figure, ax = plt.subplots(figsize=(7, 3.6), dpi=96, layout="constrained")
ax.axvline(0, color="0.6", lw=1)
for row, name in enumerate(names):
    effect = effects[name]
    ax.plot([effect.low, effect.high], [row, row], color="C0")
    ax.plot(effect.mean, row, "o", color="C0")
    ax.plot(differences[name], [row] * len(differences[name]), ".", color="0.4")
ax.set_yticks(range(len(names)), names)
ax.set_xlabel("change of the validation mIoU, own size")
ax.set_title("One thing changed: mean and 95 % t interval (not corrected); dots: seeds", fontsize=10)
ordered = ", ".join(f"{name} {effects[name].mean:+.3f}" for name in reversed(names))
Described(figure, f"Effects with their intervals, from the best to the worst: {ordered}.")
''')
put(19, '''
@@EFFECTS (A "0" is no proof that there is no effect.)

## Skips, class by class

The mean hides who pays. **Predict:** which class loses most without skips?
''')
edit(20, ('plt.subplots(figsize=(5, 2.8), layout="constrained")', 'plt.subplots(figsize=(6, 3.2), dpi=100, layout="constrained")'),
  ('ax.set(ylabel="validation IoU at 128 px", title="Plain: with skips. Hatched: without. Dots: seeds");', '''ax.set(ylabel="validation IoU at 128 px", title="Plain: with skips. Hatched: without. Dots: seeds")
lost = (of_class("baseline") - of_class("no skips")).mean(dim=0)
words = ", ".join(f"{name} {value:.3f}" for name, value in zip(CLASS_NAMES, lost, strict=True))
Described(figure, f"Bars of each class's IoU with and without skips. What is lost: {words}.")'''))
edit(28, ('figsize=(9, 7), dpi=100', 'figsize=(10, 7.8), dpi=100'), ('        ax.set_title("" if row else title)', '''        ax.set_title("" if row else title)
Described(
    figure,
    f"Three windows on outlines: image, truth, baseline, {NAME}. The baseline draws the border as a"
    " band, or pieces of one, along the outline; the other leaves much of it out.",
    photos=True,
)'''), ("overlay(photo, mask, 0.6)", "overlay(photo, mask)"))
put(21, '''
@@SKIPS This is what skips carry: where exactly the outline runs. Without them, a band a few pixels wide has to be drawn from a bottleneck of 8 x 8 positions, each of which stands for a patch of 16 x 16 pixels.

## Rerun one yourself

Now with your own eyes: the baseline and the experiment `NAME`, on the dataset that this computer has, for a few epochs. Everything else is held fixed, the seed and the learning rate included.
''')
edit(29, ("Look for the opposite, too: the ranking was by the border only, and this is one seed of a few epochs. (With another `NAME`, look for yourself.)\n\n## How much data?\n\nThe learning curve: the same number of steps on a quarter, a half and all of the training photographs. **Predict** its shape. Would another doubling pay?",
 "Look for the opposite, too: the ranking was by the border only, and this is one seed of a few epochs. (With another `NAME`, look for yourself.)\n\n## How much data?\n\nThe learning curve: the same number of steps on a twentieth, a quarter and all of the training photographs. **Predict** its shape. Would twice as many photographs pay?"))
put(30, '''
little = load_records("little-data")
random = [r for r in little if not r["settings"]["experiment"]["weights"]]
points = [(r["pairs"]["train"], score(r)) for r in random]
points += [(first["pairs"]["train"], value) for value in baseline.values()]
counts = sorted({count for count, _ in points})
figure, ax = plt.subplots(figsize=(5, 3), dpi=96, layout="constrained")
ax.plot(*zip(*points), ".", color="0.4", label="a seed")
means = [mean(value for count, value in points if count == n) for n in counts]
ax.plot(counts, means, "o-", label="mean")
ax.set(xlabel="training photographs", xscale="log", title="Learning curve")
ax.set(ylabel="validation mIoU, own size")
ax.set_xticks(counts, counts)
ax.minorticks_off()
ax.legend(frameon=False)
words = ", ".join(f"{value:.3f} with {count:,}" for count, value in zip(counts, means, strict=True))
Described(figure, f"Mean validation mIoU over the number of training photographs: {words}.")
''')
put(31, '''
@@LITTLE (With fewer photographs, a network begins sooner to overfit, to learn them by heart, and that shows late: longer runs would draw another curve.)

## Size, and what it costs

A wider network may know more, and is slower. So is a larger input. Put them side by side.
''')
put(32, '''
sizes = ["8 channels", "baseline", "64 px", "ImageNet encoder"]
print(f"{'':<18} parameters  seconds/epoch  mIoU, own size (± SD of the seeds)")
for name in sizes:
    group = [r for r in records if r["name"] == name]
    seconds = min(min(r["history"]["seconds"]) for r in group)
    result, millions = spread([score(r) for r in group]), group[0]["parameters"] / 1e6
    print(f"{name:<18} {millions:8.2f} M  {seconds:13.1f}  {result:>14}")
''')
put(33, '''
@@SIZE The number of parameters says little about the time: most of them sit at the lowest resolution, most of the work at the highest.

## Augmentation, and why short runs mislead

**Predict:** without augmentation the network sees the same pictures again and again. Is its training loss higher or lower? And its validation loss?
''')
put(34, '''
def mean_history(name, of=records):
    """The mean curves of all seeds."""
    curves = {}
    for record in of:
        if record["name"] == name:
            for key, values in record["history"].items():
                curves.setdefault(key, []).append(values)
    return {key: torch.tensor(values).mean(dim=0).tolist() for key, values in curves.items()}


long = load_records("long")
pair = {name: mean_history(name, long) for name in ("baseline", "no augmentation")}
Described(
    plot_history(pair, first=2),
    "Losses and validation mIoU over 30 epochs, with and without augmentation. Without, the training"
    " loss falls much lower, and the validation loss turns up at the end.",
)
''')
put(35, '''
(Six times as long as the runs above, one seed each. The training loss is the sum of cross-entropy and Dice, on augmented photographs if there is augmentation; the validation loss is cross-entropy alone, on photographs as they are: compare each with its own kind.) @@LONG A run must be about as long as the one you are choosing for.

And the skips? The same question, at the same length.
''')
after35 = [("code", '''
for name in ("baseline", "no skips", "no augmentation"):
    short = mean(of_name[name].values())
    (end,) = (score(r) for r in long if r["name"] == name)
    print(f"{name:<16} 5 epochs {short:.3f}, 30 epochs {end:.3f}")
''', "skip", []),
("markdown", '''
@@LONGSKIPS

## Other weights to begin with

The last experiments start not from random weights, but from those that were trained on the synthetic pets (drawings; no photograph was needed), and from an encoder that was trained on ImageNet's photographs (notebook [09](09_start_from_a_pretrained_encoder.ipynb)).
''', "slide", [])]
put(36, '''
starts = ("baseline", "from synthetic pets", "ImageNet encoder")
Described(
    plot_history({name: mean_history(name) for name in starts}),
    "Losses and validation mIoU over five epochs from three kinds of first weights: the ImageNet"
    " encoder highest from the first epoch on, random weights lowest.",
)
''')
put(37, '''
@@CURVES Not counted is the pretraining itself. For the drawings that is computing time alone; ImageNet's 1.28 million photographs had to be labeled by hand.

Compare any three of the recorded runs. Begin with the three seeds of the baseline: this is what luck looks like. Then choose "no skips" and "no augmentation". **Predict:** how do the two loss curves look if a network is too weak (*underfitting*), and how if it learns by heart (*overfitting*)?
''')
put(38, '''
by_key = {f"{r['name']}, seed {r['seed']}": r["history"] for r in records}
by_key |= {f"{r['name']}, 30 epochs": r["history"] for r in long}
in_order = sorted(by_key, key=lambda key: (not key.startswith("baseline, seed"), key))
explore_runs({key: by_key[key] for key in in_order})
''')
put(39, '''
A network that is too weak has a high training loss from the beginning to the end. One that overfits has a training loss that goes on falling while the validation loss stops, and rises.

## What was tried for the default U-Net

Ideas that others recommend, each tried once, for 15 epochs with seed 0. (*Deep supervision*: a loss at the coarser levels, too. *Moving average*, EMA: the network that is scored is a running average of the trained one. *Crops*: photographs are not squashed, but cut.) **Predict:** which of them beats luck?
''')
put(40, '''
tried = {r["name"]: score(r) for r in load_records("tried")}
error = noise * 2**0.5  # of one pair of runs
for name in sorted(tried.keys() - {"default"}, key=lambda name: -tried[name]):
    print(f"{name:<30} {tried[name] - tried['default']:+.3f} ± {error:.3f}")
''')
put(41, '''
(The standard error is that of the short runs above.) @@TRIED

## Summary

- Change one thing, hold the rest, tune what each setting needs for itself, compare runs of the same seed, and choose on validation.
- A difference smaller than the luck of seeds is not a result, however well it fits a theory.
- @@SUMMARY
- Effects depend on the length of the run and on the amount of data. Measure on yours.
''')
edit(54, ('for name, experiment in (("both", both), ("1/2 of the pairs", None), ("no augmentation", None)):',
 'half = Experiment(fraction=0.5)\nfor name, experiment in (("both", both), ("half", half), ("no augmentation", None)):'),
 ('"pretrained on synthetic pets" is no fair experiment', '"from synthetic pets" is no fair experiment'))
edit(55, ("In runs of 30 epochs, augmentation lowered the score.", "In runs of 5 epochs, augmentation lowered the score."),
 ("In runs of 30 epochs on these pairs, it lowers the score.", "In runs of 5 epochs on these pairs, it lowers the score."))

def cell(kind, text, slide, tags, n):
    made = {"cell_type": kind, "id": f"n07-{n}", "metadata": {"slideshow": {"slide_type": slide}}, "source": text.strip("\n").splitlines(keepends=True)}
    if tags: made["metadata"]["tags"] = tags
    if kind == "code": made |= {"execution_count": None, "outputs": []}
    return made
for at, new in ((35, after35), (6, new_rates)):
    cells[at + 1:at + 1] = [cell(*c, f"{at}-{k}") for k, c in enumerate(new)]
for c in cells:
    if c["cell_type"] == "code":
        c["outputs"], c["execution_count"] = [], None
json.dump(nb, open(sys.argv[2], "w"), indent=1, ensure_ascii=False); open(sys.argv[2], "a").write("\n")
