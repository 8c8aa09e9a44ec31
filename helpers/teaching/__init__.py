"""What surrounds the lessons: exercises that check themselves, explorers, quizzes, grading."""

from pathlib import Path

SERIES = Path(__file__).resolve().parents[2] / "notebooks"  # beside the package, in a clone
