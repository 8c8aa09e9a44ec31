"""How mutants of solutions are made, and what mutants.py tells of those that pass."""

from helpers.teaching.checks import nb06, verdict

import mutants
import pytest
import test_checks


def test_mutants_are_the_answer_with_one_change():
    made = mutants.of_code("def half(n):\n    return n / 2\n")
    assert "def half(n):\n    return n * 2\n" in made and "def half(n):\n    return n / 3\n" in made
    assert len({*made}) == len(made)

    assert [*mutants.of_order("order", "ABC")] == [f'order = "{o}"' for o in ("BAC", "CBA", "ACB")]

    # A repair is left out, or a parameter of it, or the default of one.
    repair = {4: "def keep(_layer, _inputs, output, name=name):"}
    made = [*mutants.of_repair("repair", repair, nb06.FAULTY)]
    assert made[0] == "repair = {\n}" and len(made) > 4
    assert any("output, name):" in mutant for mutant in made)


def test_demonstrations_are_not_mutated():
    solution = "import math\n\n\ndef f(x):\n    return x\n\n\nn = 3\nprint(f(n))\n"
    assert mutants.definition(solution, {"f"}) == "import math\n\n\ndef f(x):\n    return x\n"


def test_a_mutant_that_does_not_end_is_refused(monkeypatch):
    reader = test_checks.Reader()
    reader.run("from helpers.teaching.checks import nb05 as check")
    ask = "check.shifted_iou(f)"
    monkeypatch.setattr(mutants, "SECONDS", 1)
    assert mutants.passes("f = lambda n: (n - 1) / (n + 1)", "05.4", ask, reader, seed=0)
    assert not mutants.passes("f = lambda n: n", "05.4", ask, reader, seed=0)
    assert not mutants.passes("f =", "05.4", ask, reader, seed=0)
    assert not mutants.passes("def f(n):\n    while True: pass", "05.4", ask, reader, seed=0)
    assert verdict.SEED is None


def test_what_passes_is_listed_and_counts(splits, drawn, monkeypatch, capsys):
    given, one = (splits, drawn), ["--only", "07.2", "--each", "1000"]
    assert mutants.main(one, given) == 0
    told = capsys.readouterr().out
    assert "right, too (another guard" in told
    assert "07.1" not in told and "100.0% are refused" in told

    known = {"07.2": {"return 1": "made up", "return math.ceil(None)": "made up"}}
    monkeypatch.setattr(mutants, "EQUIVALENT", known)
    mutants.main(one, given)
    told = capsys.readouterr().out
    assert "PASSED: return math.ceil(" in told and "no longer made: return 1" in told
    assert "called equivalent, but refused: return math.ceil(None)" in told

    monkeypatch.setattr(mutants, "TARGET", 0.99)
    assert mutants.main(one, given) == 1


@pytest.mark.parametrize("number", mutants.EQUIVALENT)
def test_what_was_judged_belongs_to_an_exercise(number):
    assert number in {*test_checks.WRONG}
