"""Wrong answers by machine, and what the checks say of them: python tests/benchmarks/mutants.py

From the solution of each exercise, mutmut's operators make mutants: a number one higher, another
sign, an argument left out. Ten of them, chosen by the seed, go through the exercise's check three
times; one refusal is enough. Mutants that pass are listed. Those that change no result which the
exercise asks for were judged by hand and stand in JUDGED, with the reason.

    --only 03 05.2      exercises whose numbers begin so
    --each 10           mutants of each
    --seed 0            of the choice, and of what the checks draw

Target: of the mutants that change a result, at least 95 % are refused. Exits with 1 otherwise.
"""

import argparse
import ast
import difflib
import random
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from helpers.data import Splits, load_splits
from helpers.datasets import synthetic
from helpers.datasets.pets import PetFolder, find_dataset
from helpers.teaching.checks import nb04, nb05, nb06, verdict
from helpers.teaching.checks.lines import repaired

import libcst
import nbformat
import torch
from mutmut.mutation.file_mutation import MutationVisitor, deep_replace
from mutmut.mutation.mutators import mutation_operators
from mutmut.mutation.pragma_handling import IgnoredCode

sys.path.append(str(Path(__file__).resolve().parents[1] / "teaching"))
from test_checks import NOTEBOOKS, Reader, solution_of, stand_ins, tags

TARGET, CALLS, SECONDS = 0.95, 3, 20
FAULTY = {"04": nb04.FAULTY, "05": nb05.FAULTY, "06": nb06.FAULTY}

# By exercise, each with its reason, the lines of mutants that are right, too.
BETTER = "any mask that beats the mean mask is right, and this one does"
DEFAULT = "resize is bilinear by default"
FALSE = "None is as false as False"
INPLACE = "it saves memory, the values are the same"
LAYOUT = "the layout in memory changes, the values do not"
STRICT = "a guard alone: what is zipped stays the same"
JUDGED = {
    "01.4": {
        BETTER: [
            "guess = torch.where(frequency[0] >= 0.4, 0, torch.where(frequency[0] > 0.3, 2, 1))",
            "guess = torch.where(frequency[0] > 0.4, 0, torch.where(frequency[0] >= 0.3, 2, 1))",
            "guess = torch.where(frequency[0] > 0.4, 0, torch.where(frequency[0] > 1.3, 2, 1))",
        ]
    },
    "02.3": {
        "one draw in 2**24 is 0.5": ["if torch.rand(1) <= 0.5:"],
        "of a mask (H, W), 1 is the last dimension": [
            "image, mask = image.flip(-1), mask.flip(+1)"
        ],
    },
    "02.4": {
        "a guard for photos 43 times as long as wide": [
            "width, height = (max(2, round(side * scale)) for side in image.size)"
        ],
        DEFAULT: [
            "image = v2.functional.resize(image, [height, width], antialias=True)",
            "image = v2.functional.resize(image, [height, width], InterpolationMode.BILINEAR, )",
        ],
    },
    "02.6": {"who trains sets the epoch": ["self.epoch = 1"]},
    "03.1": {
        FALSE: [
            "nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=None),",
            "nn.Conv2d(out_channels, out_channels, kernel_size=3, padding=1, bias=None),",
        ],
        INPLACE: ["nn.ReLU(inplace=None),", "nn.ReLU(inplace=False),"],
    },
    "03.3": {
        "the last one is not used": ["c = [base_channels * 2**level for level in range(depth + 2)]"]
    },
    "04.2": {
        LAYOUT: [
            "images = images.to(device, memory_format=None)  # channels last",
            "images = images.to(device, )  # channels last",
        ]
    },
    "04.3": {"gradients may be cleared first": ['order = "DHFBECAG"']},
    "06.2": {
        "a single region is the largest": ["if count >= 1:"],
        "region 0 is background already": [
            "cleaned[torch.from_numpy((regions != largest) & (regions >= 0))] = 1"
        ],
    },
    "06.3": {
        "one draw more, and the number is the notebook's": [
            "def overconfidence(confidence, right, generator, times=1001):"
        ]
    },
    "07.2": {
        "another guard against rounding": ["return math.ceil(2 * (3 * luck / effect) ** 2 + 1e-9)"]
    },
    "09.2": {
        STRICT: [
            "pairs = zip(skips[::-1], channels, strict=None)",
            "pairs = zip(skips[::-1], channels, )",
            "pairs = zip([last, *channels], channels, strict=None)",
            "pairs = zip([last, *channels], channels, )",
            "skips = [layer(f) for layer, f in zip(self.lateral, features[::-1], strict=None)]",
            "skips = [layer(f) for layer, f in zip(self.lateral, features[::-1], )]",
            "skips = [layer(f) for layer, f in zip(self.lateral, features[::-1], strict=False)]",
            "for up, skip in zip(self.ups, [*skips, self.stem(images)], strict=None):",
            "for up, skip in zip(self.ups, [*skips, self.stem(images)], ):",
            "for up, skip in zip(self.ups, [*skips, self.stem(images)], strict=False):",
        ]
    },
}
EQUIVALENT = {
    number: {line: reason for reason, lines in reasons.items() for line in lines}
    for number, reasons in JUDGED.items()
}


def of_code(source: str) -> list[str]:
    """Programs that differ from this one by one of mutmut's operators each."""
    visitor = MutationVisitor(mutation_operators, IgnoredCode(set(), set(), set()))
    module = libcst.MetadataWrapper(libcst.parse_module(source)).visit(visitor)
    made = [
        deep_replace(module, mutation.original_node, mutation.mutated_node).code
        for mutation in visitor.mutations
    ]
    return [code for code in dict.fromkeys(made) if code != source and readable(code)]


def readable(source: str) -> bool:
    try:
        compile(source, "<mutant>", "exec")
    except SyntaxError:
        return False
    return True


def of_order(name: str, order: str) -> Iterator[str]:
    """Answers with two letters exchanged."""
    for i in range(len(order)):
        for j in range(i):
            letters = list(order)
            letters[i], letters[j] = letters[j], letters[i]
            yield f'{name} = "{"".join(letters)}"'


def of_repair(name: str, repair: dict[int, str], faulty: str) -> Iterator[str]:
    """Answers that leave a repair out, or change one as if it were code of the whole program."""
    for number in repair:
        yield written(name, {k: line for k, line in repair.items() if k != number})

    program = repaired(faulty, repair)
    for mutant in [*of_code(program), *of_parameters(program)]:
        pairs = enumerate(zip(program.splitlines(), mutant.splitlines(), strict=True), start=1)
        changed = {k: new.strip() for k, (old, new) in pairs if new != old}
        if changed.keys() <= repair.keys():
            yield written(name, repair | changed)


def of_parameters(source: str) -> Iterator[str]:
    """Programs in which a function has lost one parameter, or a default. mutmut leaves them."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.FunctionDef):
            continue
        lines, row = source.splitlines(), node.lineno - 1
        inside = lines[row].split("(", 1)[1].rsplit(")", 1)[0]
        parts = [part.strip() for part in inside.split(",")]
        shorter = [parts[:k] + parts[k + 1 :] for k in range(len(parts))]
        shorter += [[part.split("=")[0] for part in parts]]
        for fewer in shorter:
            lines[row] = source.splitlines()[row].replace(inside, ", ".join(fewer))
            if fewer != parts:
                yield "\n".join(lines)


def written(name: str, repair: dict[int, str]) -> str:
    """An answer, line by line as the notebooks write it."""
    return "\n".join([f"{name} = {{", *(f"    {k}: {line!r}," for k, line in repair.items()), "}"])


def definition(solution: str, names: set[str]) -> str:
    """Imports and what defines these names; not the lines that show what they are good for."""
    kept = []
    for node in ast.parse(solution).body:
        defined = {getattr(node, "name", None)}
        if isinstance(node, ast.Assign):
            defined = {target.id for target in node.targets if isinstance(target, ast.Name)}
        if isinstance(node, ast.Import | ast.ImportFrom) or defined & names:
            kept.append(ast.get_source_segment(solution, node))
    return "\n\n\n".join(kept) + "\n"


def mutants_of(number: str, solution: str, check: str, reader: Reader) -> tuple[str, list[str]]:
    """The answer that a solution defines, which the reader runs, and its mutants."""
    (call,) = (node for node in ast.walk(ast.parse(check)) if isinstance(node, ast.Call))
    names = [arg.id for arg in call.args if isinstance(arg, ast.Name)]
    source = definition(solution, set(names))
    reader.run(source)

    answer = reader.names[names[0]]
    if isinstance(answer, str):
        return f'{names[0]} = "{answer}"', [*of_order(names[0], answer)]
    if isinstance(answer, dict):
        made = of_repair(names[0], answer, FAULTY[number[:2]])
        return written(names[0], answer), [*dict.fromkeys(made)]
    return source, of_code(source)


def difference(original: str, mutant: str) -> str:
    """The lines of a mutant that the original does not have."""
    lines = [*difflib.ndiff(original.splitlines(), mutant.splitlines())]
    new = [line[2:].strip() for line in lines if line.startswith("+ ")]
    gone = [line[2:].strip() for line in lines if line.startswith("- ")]
    return " / ".join(new) or f"without {' / '.join(gone)}"


def passes(mutant: str, number: str, check: str, reader: Reader, seed: int) -> bool:
    """Whether a check calls an answer right, each time; one that does not end is not right."""

    def too_long(*_: object) -> None:
        raise TimeoutError(f"no answer within {SECONDS} s")

    signal.signal(signal.SIGALRM, too_long)
    try:
        for call in range(CALLS):
            signal.alarm(SECONDS)
            verdict.SEED = seed + call
            reader.run(mutant)
            reader.run(check)
            if verdict.FOUND[number][0] != verdict.RIGHT:
                return False
    except Exception:  # whatever a mutant raises where it is defined
        return False
    finally:
        signal.alarm(0)
        verdict.SEED = None
    return True


def judged(number: str, source: str, made: list[str], passed: list[str], tried: list[str]) -> int:
    """Tell of the mutants that passed. Returns how many of them change a result."""
    known, wrong = EQUIVALENT.get(number, {}), 0
    for mutant in passed:
        line = difference(source, mutant)
        wrong += line not in known
        print(f"    {f'right, too ({known[line]})' if line in known else 'PASSED'}: {line}")

    # What was judged by hand must still be so.
    refused = {difference(source, mutant) for mutant in tried if mutant not in passed}
    for line in known:
        if line not in {difference(source, mutant) for mutant in made}:
            print(f"    no longer made: {line}")
        elif line in refused:
            print(f"    called equivalent, but refused: {line}")
    return wrong


def data(folder: Path) -> tuple[Splits, PetFolder]:
    """The synthetic pets, small, as the lessons have them."""
    synthetic.extract(folder)
    source = find_dataset(folder)
    return load_splits(source, 64, None, folder / "cache"), source


def main(
    arguments: Sequence[str] | None = None, given: tuple[Splits, PetFolder] | None = None
) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", default=[""])
    parser.add_argument("--each", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)

    totals = [0, 0, 0]  # tried, refused, passed and wrong
    with tempfile.TemporaryDirectory() as folder:
        splits, source = given or data(Path(folder))
        for path in NOTEBOOKS:
            if any(path.name[:2] == only[:2] or not only for only in options.only):
                for counts in of_notebook(path, splits, source, options):
                    totals = [a + b for a, b in zip(totals, counts, strict=True)]

    tried, refused, wrong = totals
    rate = refused / max(1, refused + wrong)
    print(
        f"{tried} mutants: {refused} refused, {tried - refused - wrong} are right, too,"
        f" {wrong} wrong ones passed. Of those that change a result, {rate:.1%} are refused."
    )
    return int(rate < TARGET)


def of_notebook(
    path: Path, splits: Splits, source: PetFolder, options: argparse.Namespace
) -> Iterator[tuple[int, int, int]]:
    """For each exercise of a notebook: how many mutants were tried, refused, passed and wrong."""
    cells, reader = nbformat.read(path, as_version=4).cells, Reader()
    reader.run(next(cell.source for cell in cells if cell.cell_type == "code"))  # imports
    reader.names |= stand_ins(path.name[:2], splits, source)

    for i, cell in enumerate(cells):
        if "exercise" not in tags(cell):
            continue
        number, check = cell.metadata.exercise, cells[i + 1].source
        reader.run(cell.source)
        right, made = mutants_of(number, solution_of(cells, number), check, reader)
        if not number.startswith(tuple(options.only)):
            continue
        assert passes(right, number, check, reader, options.seed), f"{number}: {right}"

        # Some of them, by the seed; afterwards the right answer, which later exercises use.
        tried = made
        if len(made) > options.each:
            tried = random.Random(f"{options.seed} {number}").sample(made, options.each)
        passed = [m for m in tried if passes(m, number, check, reader, options.seed)]
        reader.run(right)

        refused = len(tried) - len(passed)
        print(f"{number}: {len(tried)} of {len(made)} mutants, {refused} refused", flush=True)
        yield len(tried), refused, judged(number, right, made, passed, tried)


if __name__ == "__main__":
    sys.exit(main())
