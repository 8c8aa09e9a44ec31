"""The clinic: every fault shows where it is said to show, and nothing tells it before."""

import json
import re

from helpers.teaching import clinic, mine, ward
from helpers.teaching.clinic import AGAINST, DIAGNOSES, Case, Ward, answer

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

KINDS = {kind.__name__: kind for kind in ward.PATIENTS}
FAULTY = [name for name, kind in KINDS.items() if kind.step]
TELLTALE = re.compile(
    r"softmax|normali[sz]|eval\b|train\(\)|mirror|sort|exif|orientation|reshape|permute|optimizer\."
    r"|parameter|strict|schedule|rotate|rotation|float16|overflow|bilinear|clamp|255\b.*class|leak|copy|copies",
    re.IGNORECASE,
)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    from helpers.datasets import synthetic
    from helpers.datasets.pets import find_dataset

    root = tmp_path_factory.mktemp("clinic")
    synthetic.extract(root)
    return find_dataset(root)


@pytest.fixture(scope="module")
def hospital(source):
    """A ward whose trainings take a few steps: what most tests need."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ward, "PAIRS", 24)
        for kind in (ward.Patient, *ward.PATIENTS):
            patch.setattr(kind, "epochs", 2)
        patch.setattr(clinic, "_CASES", {})
        clinic._collected.cache_clear()
        yield Ward(source, 0)
    clinic._collected.cache_clear()


@pytest.fixture(autouse=True)
def kept(tmp_path, monkeypatch):
    """Answers go to a folder of the test's own."""
    monkeypatch.setenv("UNET_HOME", str(tmp_path))
    return tmp_path


def admit(hospital: Ward, name: str) -> Case:
    kind = {"sound": ward.Patient, "example": ward.Example, **KINDS}[name]
    known = clinic._admitted(hospital._folders, kind, 1 + list(KINDS).index(name), "X")
    return Case("X", known._patient, (known.photos, known.masks))


def mended(case: Case) -> Case:
    return Case("X", case._patient.mended(), (case.photos, case.masks))


# By diagnosis, what an instrument says: True where the fault is, False where it is not.
SIGNS = {
    "clamp": lambda c: 255 not in c.training()[1],
    "bilinear": lambda c: clinic.touching(c.training()[1]) > clinic.touching(c.masks) + 0.02,
    "sorting": lambda c: fit(c) < 0.5,
    "reshape": lambda c: clinic.alike(c.training()[0]) < 0.6 * clinic.alike(c.photos.float()),
    "twice": lambda c: c.training()[0].std() > 3 * c.validation()[0].std(),
    "softmax": lambda c: clinic.perfect_loss(c) > 0.5,
    "rate": lambda c: max(c.curve.rate) > 0.1,
    "overflow": lambda c: not np.isfinite(list(clinic.gradients(c).values())).all(),
    "missing": lambda c: clinic.moved(c)[0] < clinic.moved(c)[1],
    "strict": lambda c: clinic.agreeing(c)[0] < clinic.agreeing(c)[1],
    "schedule": lambda c: clinic.steps_per_rate(c) == 1,
    "mode": lambda c: clinic.apart(c) > 0.01,
    "raw": lambda c: c.enter(c.photos).min() >= 0,
    "leak": lambda c: clinic.copies(c)[0] > 0,
    "gray": lambda c: c.picture(c.predict(c.photos[:1])[0]).max() <= 2,
    "labels": lambda c: bool((c.training()[1] == 3).any()),
    "exif": lambda c: 0.3 < fit(c) < 0.7,
}


def fit(case: Case) -> float:
    """The fraction of training masks that are those of their images' names, upright."""
    patient, right = case._patient, ward.Patient(case._patient.folders, case._patient.seed)
    folder = patient.folders.training
    sound = [
        np.array_equal(np.array(patient.open(folder.photos[photo])), upright)
        and np.array_equal(folder.masks[mask], folder.masks[photo])
        for photo, mask in patient.pairs(folder)
        for upright in [np.array(right.open(folder.photos[photo]))]
    ]
    return sum(sound) / len(sound)


@pytest.mark.parametrize("name", KINDS)
def test_each_patient_shows_its_fault_and_no_other(hospital, name):
    case = admit(hospital, name)
    shown = {diagnosis for diagnosis, sign in SIGNS.items() if sign(case)}
    assert shown == {case._patient.name} - {"healthy"}


@pytest.mark.parametrize("name", FAULTY)
def test_the_fix_is_the_sound_step_and_takes_the_fault_away(hospital, name):
    case = mended(admit(hospital, name))
    assert not {diagnosis for diagnosis, sign in SIGNS.items() if sign(case)}


def test_every_fault_and_several_healthy_ones_are_there():
    names = [kind.name for kind in ward.PATIENTS]
    assert set(DIAGNOSES) - set(names) == {"rate", "labels"}  # in the example, and in none
    assert names.count("healthy") == 4 and len(names) == len(KINDS) == 19
    assert set(AGAINST) == set(DIAGNOSES)
    assert all(bool(kind.step) == (kind.name != "healthy") for kind in ward.PATIENTS)
    assert all(kind.complaint and kind.why for kind in ward.PATIENTS)
    assert all(kind.step in vars(kind) for kind in ward.PATIENTS if kind.step)


@pytest.mark.parametrize("name", KINDS)
def test_nothing_tells_the_fault_before_the_answer(hospital, name):
    case = admit(hospital, name)
    figure = clinic.plot_case(case, hospital.sound.curve)
    plt.close(figure)
    words = [text.get_text() for text in figure.findobj(lambda part: hasattr(part, "get_text"))]
    public = [member for member in dir(case) if not member.startswith("_")]
    shown = [repr(case), str(case), case.complaint, clinic.describe(case), *words, *public]
    shown += [type(case).__doc__, repr(case.model).split("(")[0]]
    assert not TELLTALE.search(" ".join(shown)), TELLTALE.search(" ".join(shown))
    assert re.fullmatch(r"Patient\d\d", name)


@pytest.mark.parametrize("name", KINDS)
def test_right_is_right_and_wrong_does_not_name_it(hospital, name, monkeypatch):
    monkeypatch.setattr(ward.Patient, "mended", lambda self: self)  # trains no second time
    case = admit(hospital, name)
    right = case._patient.name
    for key in DIAGNOSES:
        found = answer(case, key)
        assert found.right == (key == right)
        if key != right:
            assert DIAGNOSES[key] in found.text and DIAGNOSES[right] not in found.text
            assert "<pre" not in found.html and len(found.text) > 60
        elif case._patient.step:
            assert found.html.count("<pre ") == 2 and "<img alt=" in found.html


def test_the_code_shown_is_the_code_that_ran(hospital):
    case = admit(hospital, "Patient03")
    assert "logits.softmax(dim=1)" in clinic._code(case._patient)
    assert type(case._patient).loss is not ward.Patient.loss
    assert type(case._patient.mended()).loss is ward.Patient.loss


def test_a_copy_is_handed_out(hospital):
    case = hospital["A"]
    before = case.predict(case.photos[:2])
    for value in case.model.parameters():
        value.data.zero_()
    assert torch.equal(case.predict(case.photos[:2]), before)


def test_a_case_names_what_it_takes(hospital):
    case = hospital["A"]
    with pytest.raises(ValueError, match=r"take photos\[:1\]"):
        case.predict(case.photos[0])
    with pytest.raises(ValueError, match=r"not \(2, 64, 64\): take \[0\]"):
        case.picture(case.predict(case.photos[:2]))


def test_the_seed_shuffles(source, hospital):
    orders = [Ward(source, seed)._order for seed in range(20)]
    assert all(sorted(order.values()) == list(range(19)) for order in orders)
    assert len({tuple(order.values()) for order in orders}) == 20
    assert Ward(source, 3)._order == orders[3]
    for order in orders:
        first = [ward.PATIENTS[k].name for k in list(order.values())[: clinic.FIRST]]
        assert "healthy" in first
    with pytest.raises(KeyError, match="there are A, B"):
        hospital["Z"]


def test_the_form_answers_and_remembers(hospital, kept):
    visit = hospital.visit("A")
    right = hospital["A"]._patient.name
    wrong = next(key for key in DIAGNOSES if key not in (right, "healthy"))
    visit.button.click()
    assert "Choose something first" in visit.feedback.value

    visit.choice.value = "a cold"
    visit.button.click()
    assert "choose among healthy" in visit.feedback.value
    visit.choice.value = wrong
    visit.button.click()
    assert "Not this" in visit.feedback.value
    visit.choice.value = DIAGNOSES[right]
    visit.button.click()
    assert "Right" in visit.feedback.value
    assert json.loads((mine.folder() / "clinic.json").read_text()) == {"0": {"A": right}}
    assert hospital.visit("A").choice.value == DIAGNOSES[right]


def test_whatever_goes_wrong_the_form_says_it(hospital, kept, monkeypatch, caplog):
    def full(*_):
        raise OSError("no space left")

    visit = hospital.visit("A")
    visit.choice.value = "healthy"
    monkeypatch.setattr(hospital, "answer", full)
    visit.button.click()
    assert visit.feedback.value == "<p>OSError: no space left</p>"
    assert "in full" in caplog.text  # the traceback, too


@pytest.mark.parametrize("content", ["", "[1]", "{broken", '{"0": 3}', '{"0": {"A": "nothing"}}'])
def test_a_broken_file_of_answers_is_no_error(hospital, kept, content):
    mine.folder().mkdir(parents=True)
    (mine.folder() / "clinic.json").write_text(content)
    assert hospital.visit("A").choice.value == ""
    hospital.answer("A", "rate")
    assert hospital.answers()["A"] == "rate"


def test_a_saved_form_needs_no_kernel(hospital):
    shown = hospital.visit("A")._repr_mimebundle_()
    assert "<img alt=" in shown["text/html"] and "Run this cell" in shown["text/html"]
    assert "Patient A" in shown["text/plain"]


def test_an_answer_without_widgets(hospital):
    assert "Not this" in repr(hospital.answer("A", "The learning rate is too high"))
    with pytest.raises(ValueError, match="choose among healthy"):
        hospital.answer("A", "a cold")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--count 0 --out x.md", "--count: invalid choice: 0"),
        ("--count -5 --out x.md", "--count: invalid choice: -5"),
        ("--count 99 --out x.md", "--count: invalid choice: 99"),
        ("--out .", ". is a folder: name a file"),
        ("--out one_file/x.md", "cannot write to one_file (File exists): make the folder writable"),
    ],
)
def test_sheets_that_could_not_be_written_are_refused_before_any_training(
    flags, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one_file").touch()
    monkeypatch.setattr(clinic, "Ward", lambda *_: pytest.fail("a patient was trained"))
    with pytest.raises(SystemExit):
        clinic.main(["sheets", *flags.split()])
    assert message in capsys.readouterr().err


def test_sheets(hospital, source, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(clinic, "find_dataset", lambda: source)
    clinic.main(["sheets", "--count", "2", "--out", str(tmp_path / "sheets.md")])
    text = (tmp_path / "sheets.md").read_text()
    assert text.count("# Patient ") == 2 and "# Key" not in text
    for label in "AB":
        assert hospital[label].complaint in text
    assert text.count("data:image/png") == text.count("data:image/jpeg") == 2  # and the batch
    assert all(text.count(f"- [ ] {words}") == 2 for words in DIAGNOSES.values())
    clinic.main(["sheets", "--count", "2", "--out", str(tmp_path / "key.md"), "--key"])
    key = (tmp_path / "key.md").read_text().partition("# Key, seed 0")[2]
    assert DIAGNOSES[hospital["B"]._patient.name] in key
    assert "2 patients" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Patient05", "Patient10", "Patient13"])
def test_some_fixes_are_seen_in_the_score(source, name):
    """At full length, on new photos; other faults cost less than another seed does."""
    case = admit(Ward(source, 0), name)
    gain = clinic.score(mended(case)).mean_iou() - clinic.score(case).mean_iou()
    assert gain > 0.02
