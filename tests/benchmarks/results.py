"""RESULTS.md, section by section: fixed words, and what the run records say."""

import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median

from helpers.studies.experiments import Experiment
from helpers.studies.records import record_path
from helpers.studies.report import BAND_RADIUS
from helpers.studies.tables import (
    OWN_SIZE,
    Record,
    baselines_table,
    breeds_table,
    by_name,
    comparison_table,
    details_table,
    epochs,
    little_data_table,
    look_up,
    markdown,
    own_images_table,
    rates_table,
    runs_table,
)
from helpers.training import TrainingConfig

from minutes import peers_table, speed_table
from peers import PEERS
from sizes import sizes_table

Load = Callable[[str], list[Record]]
DATASET = "Oxford-IIIT Pet, official split (224 px copy)"
RECORDED = "Oxford-IIIT Pet (full)"  # what records call it
OWN_IMAGES, DRAWN = "own-images", "drawn cells"  # a study on another dataset
NO_RECORD = "no record yet"
ENCODER_BASELINE = "one rate"
ONE_RUN = (
    "One run each, which decides little: a difference of up to about 0.02 can be luck, by the\n"
    'spread of the runs of "What makes it work" (notebook 07 computes it).'
)
SEVERAL = "Where a row has one run, a difference decides little."
USUAL = TrainingConfig()


def results_page(load: Load) -> str:
    """The whole page. load gives the records of a study, or raises FileNotFoundError."""
    load = of_the_dataset(load)
    shown: dict[tuple[str, ...], str] = {}
    parts = [f"# Results\n\n{OPENING}", f"## The protocol\n\n{protocol(load)}"]
    for section in SECTIONS:
        try:
            studies = [load(study) for study in section.studies]
        except FileNotFoundError:
            text = NO_RECORD
        else:
            text = section.write(*studies)
            if section.studies in shown:
                text += f'\n\nThese are the runs of "{shown[section.studies]}".'
            else:
                named = {study for earlier in shown for study in earlier}  # further up
                listed = {
                    name: records
                    for name, records in zip(section.studies, studies, strict=True)
                    if name not in named or name == section.studies[0]
                }
                text += f"\n\n{made_by(listed)}"
                shown[section.studies] = section.title
        parts.append(f"## {section.title}\n\n{text}")
    return "\n\n".join(parts) + "\n"


def of_the_dataset(load: Load) -> Load:
    """Load records, those of other datasets left out."""

    def chosen(study: str) -> list[Record]:
        dataset = DRAWN if study == OWN_IMAGES else RECORDED
        if records := [record for record in load(study) if record["dataset"] == dataset]:
            return records
        raise FileNotFoundError(f"{study} has no record of {dataset}")

    return chosen


OPENING = f"""\
Every number in a table or a figure on this page is made from the run records in
[helpers/studies/records](../helpers/studies/records) by `python tests/benchmarks/tables.py`; none
is typed. All of it but the last section is of one dataset: **{DATASET}**.

Each section ends with the commands that make its rows again: `PETS_DATA` names the folder that
holds `oxford-iiit-pet/`. They stand in one list, too, which can be worked off as a whole, by
several processes, and goes on where it was cut off:
`python tests/benchmarks/runs.py run --folder runs/all`, and `list` in place of `run` shows it. What
has a record in this repository counts as done there: delete the record to make it again."""


def protocol(load: Load) -> str:
    """How every score on the page was made."""
    return f"""\
- **Photographs.** {DATASET}: all pairs of the official lists. The photographs were scaled to a
  shorter side of at most 224 px, by way of a copy that had been squashed to squares of 512 px, with
  LANCZOS, and saved as JPEG of quality 85; the trimaps are the official ones, scaled with NEAREST.
  "Own size" below is the size of these files, not of the official ones: a score at own size can be
  compared on this page only. At an input size up to 224 px, scores are of the same photographs as
  those of others on the official test list, but of a copy whose photographs and masks were scaled
  before, and compressed again: what that changes was not measured, so read differences of a
  hundredth with care. At a larger input, where the copy is enlarged, a row is to be compared with
  those of this page only.
- **Recipe**, where a table or a command says nothing else: the input is the image squashed to a
  square, normalized by ImageNet's mean and deviation; random flips, affine maps and colors
  (`default_augmentation`); batches of {Experiment().batch_size}; AdamW with a weight decay of
  {USUAL.weight_decay:g}; a learning rate of one cycle, with {USUAL.learning_rate:g} at its top;
  cross-entropy + Dice as the loss; gradients scaled down to a norm of {USUAL.clip_norm:g}.
- **Split.** The official trainval list is split 75:25 by breed, with a fixed seed
  (`helpers.data.load_splits`){_counts(load)}. Every choice (an epoch, a learning rate, a setting)
  is made on validation. The official test list takes part in none. A run of "Final runs", "Little
  data" and "Peers" is scored on it at its end; shipped weights twice more, for the card and at a
  larger input.
- **Masks.** Three classes: pet, background, border ("not classified" in the official words, and a
  class of its own here). They are resized with NEAREST_EXACT, which takes the value in the middle
  of each cell.
- **Trimaps without a pet.** Some official trimaps are all background{_without(load)}. They stay in,
  as they are. In the one confusion matrix their pixels count as any; in the per-image mIoU, classes
  that are neither in the truth nor in the prediction are left out.
- **Repeated photographs.** Some photographs stand in the dataset twice, under other
  names{_repeated(load)}. All stay in, so that scores can be compared with those of others; what
  they change was not measured.
- **Files.** Some official files named .jpg are PNGs: files are read by their content. In the
  224 px copy, all are JPEGs.
- **Which weights.** Those of the epoch with the highest validation mIoU, in `eval()` mode, in the
  precision of the training. So a validation score is the best of several, which raises it. And the
  photographs of the test list are others: there the same weights score
  otherwise{_apart(load)}. So never set a score on the one list beside one on the other. Scores in
  tables are computed in float32.
- **Scores.** mIoU is the mean over the three classes of the IoU from one confusion matrix over
  all pixels of the split. Beside it: the per-image mIoU (the mean of every image's own), the pixel
  accuracy, and the mIoU of pixels at most {BAND_RADIUS} px from an outline: from a change of class
  in the true mask, so on both sides of the border, too. At the input size
  first; then at the images' own size, with the logits enlarged bilinearly, which is what networks
  of different input sizes can be compared by. "With mirror images" is test-time augmentation: the
  mean of the probabilities for an image and for its mirror image.
- **Spread.** Behind a mean over the seeds stands, after ±, their sample standard deviation: the
  luck of training. Intervals in brackets behind a score are 95 % bootstrap intervals over the
  images, for the choice of photographs, their ends averaged over the seeds: the typical interval of
  one run. Images count as independent; where several show one animal, it is too narrow.
- **Differences** are paired by seed. Their 95 % intervals and p-values are those of the paired
  t-test; p is corrected by Holm for the number of comparisons in its table, the intervals are not:
  judge by p. What a pair shares is the order of the batches, and the draws of the augmentation and
  of the first weights where these are alike. Three seeds are few: two degrees of freedom, and
  differences taken to be normal. So an interval is wide, and a p above 0.05 is no proof of no
  difference. (Equal p in a table come from Holm's rule that none is below the one before, and that
  none is above 1.) One seed has neither.
  They hold for these photographs: another choice of photographs to score would add an error.
- **Learning rates.** In "Peers" and in "What makes it work", each network gets its own, the best on
  validation of the same list of three, in one shorter trial each, which stands beside the
  comparison. Where the lowest or the highest of the three was best, one beyond it might be better
  still. And a short trial may favor a rate that is too low for the longer run: compare "ours" in
  "Peers" with "10 minutes, bfloat16", the same network at a higher rate. Elsewhere it
  is the one that the table or the command names, not tuned for each row.
- **Minutes** in a table are those of its runs, with the validation. Several of them shared a
  machine, and not all machines are alike: they are no measure of speed, "Speed" is. In "Peers" they
  are computed."""


def _there(load: Load, study: str) -> list[Record]:
    """The records of a study; none where there are none yet."""
    try:
        return load(study)
    except FileNotFoundError:
        return []


def _counts(load: Load) -> str:
    """How many pairs there are, once a final run says so."""
    if not (runs := _there(load, "results")):
        return ""
    told = ": {train:,} pairs to train on, {val:,} to choose by, {test:,} to test"
    return told.format(**runs[0]["pairs"])


def _apart(load: Load) -> str:
    """How far runs that were scored on both lists are apart: test minus validation."""
    runs = [run for study in ("results", "little-data", "peers") for run in _there(load, study)]
    gains = [run["test"]["miou"] - run["val"]["miou"] for run in runs]
    return f" (test minus validation: {min(gains):+.3f} to {max(gains):+.3f})" if gains else ""


def _without(load: Load) -> str:
    """How many trimaps have no pet, once the dataset was counted."""
    if not (dataset := _there(load, "dataset")):
        return ""
    (facts,) = dataset
    return f" ({len(facts['without_a_pet'])} of {sum(facts['pairs'].values()):,})"


def _repeated(load: Load) -> str:
    """How many photographs there are twice, once the dataset was counted."""
    if not (dataset := _there(load, "dataset")):
        return ""
    (facts,) = dataset
    if not (found := facts.get("repeated")):
        return ""
    return (
        f": {found['images']} show what another one shows, in {found['groups']} groups;"
        f" {found['groups_in_both_lists']} of these reach from trainval into the test list"
    )


def results_section(records: list[Record]) -> str:
    return f"""\
Final runs, scored on the test list. mIoU here is at each network's own input size. "10 minutes" are
as many whole epochs as fit into 10 minutes of training alone on the machine of "Speed" with two
threads, validation not counted. The minutes in the table are as the runs went, beside others:
alone, bfloat16 was the faster one there ("Speed"). The seeds of "default U-Net" and of "default
U-Net from synthetic pets" were not all trained in one precision (see "Made by"): their ± holds
that, too. Seed 2 of "ImageNet encoder" had one thread in its first eleven epochs, then two. Epochs
and minutes of a run that goes on from shipped weights come on top of those of the run that made
them.

{runs_table(records)}{head_start(records)}

More scores of the same runs. The first three are at the photographs' own size, and can be compared
from row to row; the others are at the input size, and can be where that is the same. The ceiling is
what the true masks score that are squashed to the input size and enlarged again.

{details_table(records)}"""


def sizes_section(records: list[Record], runs: list[Record]) -> str:
    return f"""\
The shipped weights, with a larger input than in their training: what does it change where nothing
is trained anew? mIoU at the photographs' own size. The input that was best on validation was scored
on the test list. (The test scores at the size of the training are those of seed 0 of the final
runs, whose weights were not yet stored in 16 bits. A gain that the choice on validation made, and
luck with it, need not come back on the test list.)

{sizes_table(records, runs)}"""


def head_start(records: list[Record]) -> str:
    """How long random weights take to the score that those for synthetic pets lead to."""
    runs = by_name(records)
    random, begun = (runs.get(f"default U-Net{rest}", []) for rest in ("", " from synthetic pets"))
    of_seed = {record["seed"]: record["history"]["val_miou"] for record in random}
    lines = []
    for record in begun:
        if record["seed"] not in of_seed:
            continue
        best, curve = max(record["history"]["val_miou"]), of_seed[record["seed"]]
        first = next((k for k, miou in enumerate(curve, start=1) if miou >= best), None)
        when = f"in epoch {first} of {len(curve)}" if first else f"in none of {len(curve)} epochs"
        planned = len(record["history"]["val_miou"])
        lines.append(f"seed {record['seed']}: {best:.3f} after {planned} epochs, {when}")
    if not lines:
        return ""
    return (
        "\n\nThe best validation mIoU from the weights for synthetic pets, and when the run from"
        " random weights first has as much: "
        + "; ".join(lines)
        + ". (There it is in mid-schedule, at a high rate. A run of so many epochs would probably"
        " score higher at its end, so this may be more than the weights save. Their own training is"
        " not counted.)" + complete_runs(runs.get("default U-Net, 20 epochs", []), random, begun)
    )


def complete_runs(shorter: list[Record], longer: list[Record], begun: list[Record]) -> str:
    """How long a complete run from random weights would be that ends with the score of `begun`.

    Between two such runs of the same seed, linearly in the logarithm of the epochs.
    """
    studies = (shorter, longer, begun)
    curves = [{r["seed"]: r["history"]["val_miou"] for r in records} for records in studies]
    lines = []
    for seed in sorted(set.intersection(*map(set, curves))):
        (few, low), (many, high), (_, goal) = ((len(c[seed]), max(c[seed])) for c in curves)
        if low < goal < high:
            epochs = few * (many / few) ** ((goal - low) / (high - low))
            lines.append(
                f" Complete runs of {few} and {many} epochs from random weights (seed {seed}) reach"
                f" {low:.3f} and {high:.3f}: between them, linearly in the logarithm of the epochs,"
                f" {goal:.3f} would take {epochs:.0f} epochs."
            )
    return "".join(lines)


def baselines_section(records: list[Record]) -> str:
    return f"""\
What needs no network, chosen on trainval and scored on the test list, both squashed to 128 px.
"Mean mask" says at each position what is most frequent there, "color alone" what is most frequent
for each of 16 x 16 x 16 colors, "best ellipse" always the same ellipse with a border around it,
the best of a grid of sizes.

{baselines_table(records)}"""


def breeds_section(records: list[Record]) -> str:
    return f"""\
Test mIoU by breed: those that the best of the final runs is best and worst at, about 100
photographs each. The last row is of each run's own best and worst of all 37 breeds; the largest and
the smallest of 37 noisy numbers tend to lie farther apart than the breeds do.

{breeds_table(records)}"""


def little_data_section(records: list[Record]) -> str:
    return f"""\
Of the training split, every so many-th pair is used, so many times an epoch that the steps are as
many as with all; validation and test are whole: all {records[0]["pairs"]["val"]:,} validation masks
choose the epoch, whatever the number of training pairs. Which pairs are left does not depend on the
seed, so the spread does not hold that choice. ImageNet's weights are in the encoder of a
PretrainedUNet; the other rows are of the default U-Net. A run has {epochs(records)} epochs, which
is short. The learning rate is the usual one, of which ImageNet's encoder has 0.3, and so not tuned:
in the shorter trials of "What makes it work" it suits synthetic weights, and random ones less. Test
mIoU at the input size:

{little_data_table(records)}

![Test mIoU against the number of training pairs, a line for each kind of weights to begin
with](results_little_data.png)"""


def peers_section(records: list[Record], rates: list[Record], speeds: list[Record]) -> str:
    return f"""\
Networks of others in our own loop: the same pairs, input size, batches, augmentation, loss,
optimizer and schedule. Each takes the learning rate that was best on validation in a shorter
trial, of one pass at least, which is nearly a whole run of the slowest (the second table). Minutes
are turned into steps, at the speed that each network has in training in {speeds[0]["precision"]},
alone and in turn, on {speeds[0]["device"]}: so the runs could be made anywhere, in the precision
that "Made by" names. All see every pair at least once.
The speeds are medians of rounds; the slowest and the fastest of these are up to {apart(speeds[0])}
of the median apart ("Speed"), and so may the minutes be.
Epochs are passes over all pairs. The best of five validations, one after each fifth of the time,
gives the weights; so a time until a score was had is an upper bound. Validation itself is not
counted, nor is the time of weights that ours begins with. Halfway, at a high learning rate, a
network scores lower than a run of half the length would end with. Differences and times are over
the seeds that both have.

What is called a reimplementation was written anew from what its repository shows
([peers.py](../tests/benchmarks/peers.py) has the links and what differs), and is not trained by
its authors' recipe: these numbers say how a network fares in our loop, not how good its project
is. And they favor ours: the loop is the one that this series made for its own network; for the
others, only the learning rate was chosen. So few minutes favor fast networks, and those of SMP and
torchvision mostly begin with ImageNet's weights, not with random ones: "ours, pretrained" has an
advantage here that they were denied.

{peers_table(records, speeds[0])}{each_seed(records, "test/miou")}{not_run(records)}

![Validation mIoU against minutes of training, a line for each network](results_peers.png)

Learning rates, validation mIoU.{at_an_end(rates)}

{rates_table(rates)}"""


def apart(speeds: Record) -> str:
    """How far the rounds of one network's training lie apart at most, beside their median."""
    rounds = [network["rounds"]["training"] for network in speeds["networks"].values()]
    return f"{max((max(some) - min(some)) / median(some) for some in rounds):.0%}"


def at_an_end(rates: list[Record]) -> str:
    """Whose best rate is the lowest or the highest of the list: beyond it may be a better one."""
    trials: dict[str, dict[float, float]] = {}
    for record in sorted(rates, key=lambda r: r["settings"]["training"]["learning_rate"]):
        name, rate = record["name"].rsplit(", ", 1)
        trials.setdefault(name, {})[float(rate)] = record["val"]["miou"]
    done = max(map(len, trials.values()))
    ends = [
        name
        for name, of in trials.items()
        if len(of) == done > 1 and max(of, key=of.__getitem__) in (min(of), max(of))
    ]
    if not ends:
        return ""
    return f" Best at an end of the list, so perhaps better still beyond it: {'; '.join(ends)}."


def not_run(records: list[Record]) -> str:
    """The networks of `PEERS` that no record is of, so that nobody takes them for forgotten."""
    missing = [name for name in PEERS if name not in by_name(records)]
    return f"\n\nNo run was made yet of: {'; '.join(missing)}." if missing else ""


def ablation_section(records: list[Record], rates: list[Record]) -> str:
    return f"""\
One thing is changed at a time, and all else is kept, but for the learning rate, which each takes
as was best on validation (the second table). Validation mIoU at the images' own size, paired by
seed. (The true masks, squashed to the input size and enlarged again, score {_ceilings(records)}.)
Runs are short: what is slow at first but better in the end loses here.

{comparison_table(records)}{each_seed(records, OWN_SIZE)}

Learning rates, validation mIoU at the input size:

{rates_table(rates)}"""


def _ceilings(records: list[Record]) -> str:
    """What the true masks of each input size score at own size."""
    found = {record["size"]: record["val"]["own_size"]["ceiling"] for record in records}
    return ", ".join(f"{found[size]:.3f} at {size} px" for size in sorted(found))


def each_seed(records: list[Record], keys: str) -> str:
    """A folded table of the scores behind the means; nothing where all runs have one seed."""
    seeds = sorted({record["seed"] for record in records})
    if len(seeds) == 1:
        return ""
    rows = []
    for name, runs in by_name(records).items():
        scores = {run["seed"]: f"{look_up(run, keys):.4f}" for run in runs}
        rows.append([name, *(scores.get(seed, "-") for seed in seeds)])
    table = markdown(["mIoU of seed", *map(str, seeds)], rows)
    return f"\n\n<details>\n<summary>Each seed</summary>\n\n{table}\n\n</details>"


def how_many(records: list[Record]) -> str:
    """What a comparison of these runs can tell."""
    counts = {len(runs) for runs in by_name(records).values()}
    return ONE_RUN if counts == {1} else SEVERAL if 1 in counts else "Several seeds each."


def tried_section(records: list[Record]) -> str:
    return f"""\
What is known to help others, one thing at a time; what showed no clear gain is not in `helpers`
([variants.py](../tests/benchmarks/variants.py) has it). Validation mIoU at the images' own size.
(A network with a moving average has its parameters twice: those in training, and their average.)
{how_many(records)}

{comparison_table(records, "default")}"""


def encoder_section(records: list[Record]) -> str:
    return f"""\
How to train a U-Net whose encoder begins with ImageNet's weights (notebook 09), and what it reaches
with random ones. Validation mIoU at the images' own size. The rate in the table is the decoder's;
the name says what part of it the encoder gets. {how_many(records)}

{comparison_table(records, ENCODER_BASELINE)}"""


def speed_section(records: list[Record]) -> str:
    return f"""\
Images per second in training (loading and augmentation included) and in evaluation, each network
alone on the machine, in turn; medians over the rounds, and the slowest and the fastest one.

{speed_table(records)}"""


def own_images_section(records: list[Record]) -> str:
    return f"""\
Of **drawn cells**, not of photographs (notebook 10): microscope images of 256 px, cut into tiles of
128 px. Every run sees as many tiles, whatever the number of labeled images; a seed chooses these,
too. 20 images of 4 other dishes choose the epoch, whose labels are not counted. Scores are those of
60 images of 12 dishes that are in neither. "Synthetic" are the weights for synthetic pets;
ImageNet's are in the encoder of a PretrainedUNet. Where nothing is said, a run begins with the
former and has the default loss. Nobody has tuned the learning rate. Objects are regions cut at
necks; the error of the count is the mean over the dishes, "of an image" is without its sign. Errors
of seeds can cancel in a mean: look at the ±.

{own_images_table(records)}"""


@dataclass(frozen=True)
class Section:
    """A heading, the studies whose records it needs, and what it makes of them."""

    title: str
    studies: tuple[str, ...]
    write: Callable[..., str]


SECTIONS = [
    Section("Final runs", ("results",), results_section),
    Section("A larger input than in training", ("sizes", "results"), sizes_section),
    Section("Without a network", ("baselines",), baselines_section),
    Section("Breeds", ("results",), breeds_section),
    Section("Little data", ("little-data",), little_data_section),
    Section("Peers at equal minutes", ("peers", "peers-rates", "speed"), peers_section),
    Section("What makes it work", ("ablation", "ablation-rates"), ablation_section),
    Section("What was tried", ("tried",), tried_section),
    Section("Training a pretrained encoder", ("encoder",), encoder_section),
    Section("Speed", ("speed",), speed_section),
    Section("Images of one's own", (OWN_IMAGES,), own_images_section),
]


# Of studies that helpers.train alone does not make.
SCRIPTS = {
    "speed": "speed.py",
    "baselines": "facts.py",
    "sizes": "sizes.py",
    OWN_IMAGES: "own_images.py --folder runs/own",
}


def made_by(studies: dict[str, list[Record]]) -> str:
    """A folded paragraph: the commands that make the records again, and where they were made."""
    lines = []
    for study, records in studies.items():
        if study in SCRIPTS:
            lines.append(f"python tests/benchmarks/{SCRIPTS[study]}")
            continue
        for runs in by_name(records).values():
            alike: dict[str, list[int]] = {}  # but for the seed
            for run in runs:
                alike.setdefault(train_command(run, study, 0), []).append(run["seed"])
            for first, *rest in alike.values():
                line = next(train_command(run, study) for run in runs if run["seed"] == first)
                more = f"seed{'s' * (len(rest) > 1)} {', '.join(map(str, rest))}"
                lines.append(f"{line}  # and {more}" if rest else line)

    made = [record for records in studies.values() for record in records]
    about = [f"- {line}" for line in provenance(made)]
    folded = ["<details>", "<summary>Made by</summary>", "", "```", *lines, "```", "", *about]
    return "\n".join([*folded, "", "</details>"])


def provenance(records: Sequence[Record]) -> list[str]:
    """Devices and threads, dates, commits, versions, the split: each once."""

    def each(key: str) -> str:
        return ", ".join(sorted({str(record[key]) for record in parts if key in record}))

    parts = [p for r in records for p in (r, *r.get("networks", {}).values())]
    dates = sorted(record["date"] for record in records)
    units = sorted({name for record in records for name in record.get("bfloat16", ())})
    versions = {f"{name} {number}" for r in records for name, number in r["versions"].items()}
    return [
        f"device: {'; '.join(sorted({record['device'] for record in records}))}",
        f"precision: {each('precision')}",
        *([f"units of the CPU for bfloat16: {', '.join(units)}"] if units else []),
        f"dates: {dates[0]} to {dates[-1]}",
        f"commits: {each('commit')}",
        f"versions: {', '.join(sorted(versions))}; edition {each('edition')}",
        f"dataset: {each('dataset').replace(RECORDED, DATASET)}; split: {_splits(records)}",
    ]


def _splits(records: Sequence[Record]) -> str:
    """The hashes of their splits, unless each run has its own."""
    hashes = sorted({record["split_hash"] for record in records if "split_hash" in record})
    return f"{len(hashes)} different ones" if len(hashes) > 3 else ", ".join(hashes) or "-"


def train_command(record: Record, study: str, seed: int | None = None) -> str:
    """The call of `helpers.train` that makes a record again: what differs from the defaults.

    seed: another one than the record's.
    """
    training, experiment = record["settings"]["training"], record["settings"]["experiment"]
    seed = record["seed"] if seed is None else seed
    out = record_path(record["name"], seed, study).stem
    data = "synthetic" if record["dataset"] == "synthetic" else "pets"
    words = ["--data", data, "--out", f"runs/{study}/{out}", "--name", record["name"]]

    for given, usual in ((experiment, asdict(Experiment())), (training, asdict(TrainingConfig()))):
        for key, value in given.items():
            if key not in ("model", "training", "seed") and value != usual[key]:
                made_here = key == "weights" and value.endswith(".pt")  # by another run
                value = f"runs/{value}" if made_here else value
                words += [f"--{key.replace('_', '-')}", str(value)]
    words += ["--seed", str(seed)]
    if experiment["model"]:
        words += ["--model", *(f"{key}={value}" for key, value in experiment["model"].items())]

    on_cpu = re.match(r"cpu.* (\d+) threads", record["device"])
    words += ["--device", "cpu", "--threads", on_cpu[1]] if on_cpu else ["--device", "cuda"]
    words += ["--test"] * ("test" in record) + ["--flip"] * ("test_flip" in record)

    # What these scripts add, MODULE:NAME, is found on the path.
    own = any(":" in experiment[key] for key in ("network", "augment"))
    path = "PYTHONPATH=tests/benchmarks " if own else ""
    return f"{path}python -m helpers.train {shlex.join(words)}"
