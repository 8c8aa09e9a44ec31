import copy
import shlex
from dataclasses import asdict

from helpers.studies.experiments import Experiment
from helpers.studies.records import load_records
from helpers.studies.tables import by_name, passes
from helpers.train import parser
from helpers.training import TrainingConfig

import matplotlib.pyplot as plt
import pytest
import tables
from curves import COLORS, MARKS, plot_peers
from minutes import minutes_until, peers_table, speed_of, speed_table
from peers import PEERS, network_of
from results import (
    DRAWN,
    NO_RECORD,
    OWN_IMAGES,
    RECORDED,
    SECTIONS,
    at_an_end,
    each_seed,
    head_start,
    not_run,
    provenance,
    results_page,
    train_command,
)
from stand_in import stand_in, trained_record
from tables import FIGURES, PAGES, RESULTS, ROOT, draw_figures, drawn_from, fill_tables


@pytest.fixture(scope="module")
def trained(drawn):
    return trained_record(drawn)


def run(trained, name, seed=0, network="UNet", **changes):
    """A run of the default size on the photographs, as a stand-in."""
    made = stand_in(trained, name, seed, dataset=RECORDED, size=128, **changes)
    made["settings"]["experiment"] |= {"network": network, "model": {}, "size": 128}
    return made


def column(table, name):
    """The cells of a column, by the first cell of their row."""
    head, _, *rows = (line.strip("|").split("|") for line in table.splitlines())
    place = [cell.strip() for cell in head].index(name)
    return {row[0].strip(): row[place].strip() for row in rows}


PEER = "SMP's Unet, ResNet-18"
SPEEDS = {  # so many images per second that an epoch of 600 takes 1 and 2 minutes
    "name": "machine",
    "dataset": RECORDED,
    "device": "a CPU",
    "precision": "float32",
    "versions": {"torch": "2"},
    "edition": "0.3",
    "commit": "c0ffee",
    "date": "2026-11-30",
    "networks": {
        "ours": {"network": "UNet", "training": 10.0, "evaluation": 40.0},
        "theirs": {"network": network_of(PEER), "training": 5.0, "evaluation": 20.0},
    },
}
for case in SPEEDS["networks"].values():
    case |= {"model": {}, "size": 128, "precision": "float32", "parameters": 2_000_000}
    case["rounds"] = {kind: [case[kind] - 1, case[kind] + 2] for kind in ("training", "evaluation")}


VALIDATED = {"96": 0.1, "128": 0.3}


@pytest.fixture
def peers(trained):
    """Three runs of ours, one of a peer; four epochs and two."""
    made, pairs = [], {"train": 600, "val": 9, "test": 37}
    for seed, miou in enumerate((0.70, 0.71, 0.72)):
        val = {"history__val_miou": [0.2, 0.5, 0.6, 0.7], "history__seconds": [1.0] * 4}
        made.append(run(trained, "ours", seed, test__miou=miou, pairs=pairs, **val))
    val = {"history__val_miou": [0.3, 0.55], "val__miou": 0.55}
    theirs = run(trained, PEER, 0, network_of(PEER), test__miou=0.6, pairs=pairs, **val)
    return [*made, theirs]


def test_peers_at_equal_minutes(peers):
    table = peers_table(peers, SPEEDS)
    assert column(table, "minutes") == {"ours": "4.0", PEER: "4.0"}
    assert column(table, "test mIoU") == {"ours": "0.710 ± 0.010", PEER: "0.600"}
    difference = column(table, "difference to ours (95 % interval)")
    assert difference == {"ours": "", PEER: "-0.100"}  # of the seed that both have
    assert column(table, "ours had its validation score after") == {"ours": "", PEER: "3.0 min"}
    assert column(table, "epochs") == {"ours": "4", PEER: "2"}

    # Each seed has its own goal; a seed that one of the two lacks has none.
    ours, (theirs,) = by_name(peers)["ours"], by_name(peers)[PEER]
    assert minutes_until(ours, [theirs, theirs | {"seed": 7}], SPEEDS) == "3.0 min"
    second = stand_in(theirs, PEER, 1, history__val_miou=[0.3, 0.7])
    assert minutes_until(ours, [theirs, second], SPEEDS) == "3.5 min"
    better = stand_in(theirs, PEER, history__val_miou=[0.3, 0.71])
    assert minutes_until(ours, [better, second], SPEEDS) == "not reached"
    assert minutes_until(ours, [theirs | {"seed": 7}], SPEEDS) == "-"


def test_epochs_of_a_table_are_passes_over_the_pairs(peers):
    """A run of samples has as many "epochs" as validations, whatever their length."""
    some = stand_in(peers[0], "ours", settings__experiment__samples=1500)
    assert passes(peers[0]) == "4" and passes(some) == "10"
    assert passes(stand_in(some, "ours", settings__experiment__samples=500)) == "3.3"


def test_a_rate_at_an_end_of_the_list_is_named(trained):
    def trials(name, *mious):
        rates = zip(("1e-3", "3e-3", "1e-2"), mious, strict=True)
        return [run(trained, f"{name}, {rate}", val__miou=miou) for rate, miou in rates]

    low, middle, high = trials("a", 3, 2, 1), trials("b", 1, 3, 2), trials("c", 1, 2, 3)
    told = "perhaps better still beyond it: a; c."
    assert at_an_end([*low, *middle, *high]).endswith(told)
    assert at_an_end(middle) == ""
    assert at_an_end([*middle, *low[:1]]) == ""  # its other trials are yet to come


def test_a_speed_is_that_of_the_same_network_at_the_same_size(peers):
    assert speed_of(peers[0], SPEEDS) == 10 and speed_of(peers[-1], SPEEDS) == 5
    changes = {"size": 192, "model": {"base_channels": 32}, "network": "another:Net"}
    for key, value in changes.items():
        other = stand_in(peers[0], "other", **{f"settings__experiment__{key}": value})
        with pytest.raises(KeyError, match="was not measured"):
            speed_of(other, SPEEDS)
    assert speed_of(peers[0] | {"precision": "bfloat16"}, SPEEDS) == 10  # as the machine was timed
    with pytest.raises(KeyError, match="was not measured"):
        speed_of(peers[0], SPEEDS | {"precision": "bfloat16"})


def test_networks_without_a_run_are_named(peers, trained):
    others = [name for name in PEERS if name != PEER]
    assert not_run(peers).strip() == f"No run was made yet of: {'; '.join(others)}."
    assert not_run([*peers, *(run(trained, name) for name in others)]) == ""


def test_the_curves_of_peers_are_over_minutes(peers):
    figure = plot_peers(peers, SPEEDS)
    plt.close(figure)

    ours, theirs = figure.axes[0].lines
    assert list(ours.get_xdata()) == [1, 2, 3, 4] and list(theirs.get_xdata()) == [2, 4]
    assert list(ours.get_ydata()) == pytest.approx([0.2, 0.5, 0.6, 0.7])


def test_each_precision_of_a_measurement_is_named():
    """The machine's own, and that of a network with another one."""
    networks = {"a": {"precision": "float32"}, "b": {"precision": "bfloat16"}}
    made = SPEEDS | {"networks": networks, "edition": "2"}
    assert "precision: bfloat16, float32" in provenance([made])


def test_speeds():
    table = speed_table([SPEEDS])
    assert column(table, "training") == {"ours": "10.0 (9.0 to 12.0)", "theirs": "5.0 (4.0 to 7.0)"}
    assert column(table, "parameters")["ours"] == "2.00 M"


# The page.


@pytest.fixture
def studies(trained, peers):
    """Stand-ins for all studies."""
    made = {"results": [run(trained, "default U-Net", s, test__miou=0.61 + s) for s in (0, 1)]}
    made |= {"little-data": [run(trained, "random, 5 %")], "baselines": [run(trained, "mean mask")]}
    made |= {
        "peers": peers,
        "peers-rates": [run(trained, "ours, 3e-3")],
        "speed": [copy.deepcopy(SPEEDS)],
    }
    made |= {"ablation": [run(trained, name, s) for name in ("baseline", "64 px") for s in (1, 2)]}
    made |= {"ablation-rates": [run(trained, "64 px, 3e-3")]}
    made |= {"sizes": [run(trained, "pets") | {"trained_at": 96, "val": VALIDATED}]}
    made |= {"tried": [run(trained, "default")], "encoder": [run(trained, "one rate")]}
    count = {"relative_error": -0.02, "absolute_relative_error": 0.03}
    drawn = stand_in(trained, "5 images, random", dataset=DRAWN) | {"images": 5, "count": count}
    made |= {OWN_IMAGES: [drawn]}
    facts = {"without_a_pet": ["a", "b"], "pairs": {"trainval": 3000, "test": 37}}
    return made | {"dataset": [{"dataset": RECORDED} | facts]}


def loader(studies):
    def load(study):
        if study not in studies:
            raise FileNotFoundError(study)
        return studies[study]

    return load


def section(page, title):
    return page.split(f"## {title}\n\n")[1].split("\n\n## ")[0]


def test_a_section_without_its_records_says_so_and_nothing_else(studies):
    page = results_page(loader({}))
    for part in SECTIONS:
        assert section(page + "\n\n## ", part.title).strip() == NO_RECORD

    # One study of several is not enough; and those of another dataset are none.
    del studies["peers-rates"]
    studies["tried"][0]["dataset"] = "synthetic"
    page = results_page(loader(studies))
    assert section(page, "Peers at equal minutes") == section(page, "What was tried") == NO_RECORD
    assert page.count(NO_RECORD) == 2


def test_a_whole_page(studies):
    page = results_page(loader(studies))
    assert NO_RECORD not in page
    assert "1.110 ± 0.707" in section(page, "Final runs")
    assert "(2 of 3,037)" in section(page, "The protocol")
    assert "37 to test" in section(page, "The protocol")
    assert f"| {PEER} |" in section(page, "Peers at equal minutes")
    assert "\npython tests/benchmarks/speed.py\n" in section(page, "Speed")
    made_by = section(page, "Final runs").split("<summary>Made by</summary>")[1]
    assert made_by.count("python -m helpers.train") == 1 and "# and seed 1\n" in made_by
    assert studies["results"][0]["device"] in made_by
    own = section(page, "Images of one's own")
    assert "| 5 images, random | 1 |" in own and "own_images.py --folder" in own
    assert "dataset: drawn cells" in own


def test_the_scores_behind_a_mean_are_told(trained):
    first, second = run(trained, "a", 1, val__miou=0.61), run(trained, "a", 2, val__miou=0.625)
    other = run(trained, "b", 2, val__miou=0.5)
    told = each_seed([second, other, first], "val/miou")
    assert "| a | 0.6100 | 0.6250 |\n| b | - | 0.5000 |" in told
    assert each_seed([second, other], "val/miou") == ""


def test_what_other_weights_save_is_told_by_epochs(trained):
    random = run(trained, "default U-Net", history__val_miou=[0.1, 0.4, 0.3, 0.5])
    begun = run(trained, "default U-Net from synthetic pets", history__val_miou=[0.2, 0.35])
    better = run(begun, "default U-Net from synthetic pets", history__val_miou=[0.6])
    told = head_start([random, begun])
    assert "seed 0: 0.350 after 2 epochs, in epoch 2 of 4. (There" in told
    assert told.endswith("Their own training is not counted.)")
    assert "0.600 after 1 epochs, in none of 4 epochs. (There" in head_start([random, better])
    assert head_start([random]) == ""

    # 0.35 lies in the middle between complete runs of one and of four epochs: the geometric mean.
    shorter = run(trained, "default U-Net, 20 epochs", history__val_miou=[0.2])
    told = head_start([random, begun, shorter])
    assert "runs of 1 and 4 epochs from random weights (seed 0) reach 0.200 and 0.500:" in told
    assert told.endswith("0.350 would take 2 epochs.")
    assert "would take" not in head_start([random, better, shorter])
    assert "would take" not in head_start([random, begun, shorter | {"seed": 1}])


def halved(report):
    """The same with every number halved."""
    if isinstance(report, dict):
        return {key: halved(value) for key, value in report.items()}
    if isinstance(report, list):
        return list(map(halved, report))
    return report / 2 if isinstance(report, float) else report


@pytest.mark.parametrize("title", [part.title for part in SECTIONS])
def test_what_a_section_shows_is_in_its_records(studies, title):
    """With half of all scores and speeds in the records, the section is another."""
    before = section(results_page(loader(studies)), title)
    for record in (record for records in studies.values() for record in records):
        for part in {"test", "test_flip", "val", "networks"} & record.keys():
            record[part] = halved(record[part])
    assert section(results_page(loader(studies)), title) != before


@pytest.mark.parametrize(
    "experiment",
    [
        Experiment(),
        Experiment(network="variants:DeepUNet", model={"depth": 5, "skips": False}, size=192),
        Experiment(
            network="PretrainedUNet", model={"channels": [64, 32, 16, 16, 8]}, fraction=0.05
        ),
        Experiment(augment="none", batch_size=8, weights="synthetic"),
    ],
)
def test_a_command_gives_the_settings_again(trained, experiment):
    training = TrainingConfig(epochs=7, learning_rate=1e-3, encoder_rate=0.3, seed=5)
    settings = {"training": asdict(training), "experiment": asdict(experiment)}
    record = stand_in(trained, "a name, with 5 %", 5, settings=settings)
    command = train_command(record, "study")

    before, after = command.split("python -m helpers.train ")
    assert before == ("PYTHONPATH=tests/benchmarks " if ":" in experiment.network else "")
    options = vars(parser().parse_args(shlex.split(after)))
    options["model"] = dict(options["model"])
    told = asdict(experiment) | asdict(training) | {"name": "a name, with 5 %", "device": "cpu"}
    del told["training"]
    assert {key: options[key] for key in told} == told
    assert options["test"] and options["flip"] and str(options["threads"]) in record["device"]
    assert options["out"].as_posix() == "runs/study/a-name-with-5-5"

    del record["test_flip"]
    record["device"], record["dataset"] = "NVIDIA H100", RECORDED
    command = train_command(record, "study", seed=6)
    assert "--flip" not in command and "--device cuda" in command and "--data pets" in command
    assert "--seed 6" in command


def test_figures_are_drawn_when_their_records_change(studies, tmp_path):
    draw_figures(tmp_path, loader(studies))
    assert {path.name for path in tmp_path.iterdir()} == set(FIGURES)
    (first, second) = (tmp_path / name for name in FIGURES)
    before = first.stat().st_mtime_ns, second.stat().st_mtime_ns, drawn_from(first)

    draw_figures(tmp_path, loader(studies))
    assert (first.stat().st_mtime_ns, second.stat().st_mtime_ns) == before[:2]

    studies["peers"][0]["history"]["val_miou"][0] = 0.3
    draw_figures(tmp_path, loader(studies))
    assert drawn_from(first) != before[2] and second.stat().st_mtime_ns == before[1]

    draw_figures(tmp_path, loader({}))
    assert not list(tmp_path.iterdir())


# What is in the repository.


def test_results_are_those_of_the_records():
    made = results_page(load_records)
    assert RESULTS.read_text(encoding="utf-8") == made, "run python tests/benchmarks/tables.py"


@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_those_of_the_records(name):
    found, expected = drawn_from(RESULTS.parent / name), tables.digest_of(FIGURES[name][0])
    assert found == expected, "run python tests/benchmarks/tables.py"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_tables_are_those_of_the_records(page):
    text = page.read_text(encoding="utf-8")
    assert fill_tables(text, load_records) == text, "run python tests/benchmarks/tables.py"


@pytest.mark.parametrize("name", [*tables.TABLES, "scores of default U-Net"])
def test_a_page_is_filled(studies, name):
    page = f"before\n<!-- table: {name} -->\nold\n<!-- end -->\nafter"
    filled = fill_tables(page, loader(studies))
    assert filled.startswith(f"before\n<!-- table: {name} -->\n\n| ")
    assert filled.endswith(" |\n\n<!-- end -->\nafter") and "old" not in filled
    assert fill_tables(filled, loader(studies)) == filled
    none = f"before\n<!-- table: {name} -->\n\n{NO_RECORD}\n\n<!-- end -->\nafter"
    assert fill_tables(filled, loader({})) == none
    with pytest.raises(KeyError):
        fill_tables(page.replace(name, "no such"), loader(studies))


def test_peers_have_a_color_each():
    assert len(set(COLORS)) == len(COLORS) == len(MARKS) >= len(PEERS) + 2
