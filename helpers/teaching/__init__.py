"""What surrounds the lessons: exercises that check themselves, explorers, quizzes, grading."""
