"""Two trainings at once on the same cores: python tests/benchmarks/together.py

Images per second of the default U-Net, alone and two at once, each in a process of its own with as
many threads as torch takes. `import helpers` lets waiting threads sleep; OMP_WAIT_POLICY=ACTIVE in
front of the command shows how it would be otherwise. Target: each at most 2.5 times slower.

    --seconds 10 --no-target
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from statistics import harmonic_mean


def work(seconds: float) -> None:
    """Be ready, wait for a line on standard input, train, print the speed."""
    with redirect_stdout(sys.stderr):  # standard output is for the other process
        from helpers.datasets.pets import find_dataset
        from helpers.studies.experiments import Experiment

        from speed import Trainee  # imports helpers, then torch

        trainee = Trainee(Experiment(), find_dataset(), 64, passes=10**4, precision="float32")
        trainee.train_speed()  # warm up
    print("ready", flush=True)
    input()

    speeds, end = [], time.monotonic() + seconds
    while not speeds or time.monotonic() < end:
        speeds.append(trainee.train_speed())
    print(harmonic_mean(speeds))


def speeds(count: int, seconds: float) -> list[float]:
    """Images per second of so many processes that train at the same time."""
    command = [sys.executable, __file__, "--work", "--seconds", str(seconds)]
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    workers = [
        subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(count)
    ]

    # All begin when the last one is ready.
    for worker in workers:
        assert worker.stdout.readline() == "ready\n", "a worker failed: its message stands above"
    for worker in workers:
        worker.stdin.write("go\n")
        worker.stdin.flush()
    return [float(worker.communicate()[0]) for worker in workers]


def main(arguments: Sequence[str] | None = None) -> float:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--work", action="store_true", help="be one of the processes")
    parser.add_argument("--no-target", action="store_true", help="measure only")
    options = parser.parse_args(arguments)
    if options.work:
        work(options.seconds)
        return 0.0

    alone, both = speeds(1, options.seconds)[0], speeds(2, options.seconds)
    slower = alone / min(both)
    print(f"alone      {alone:6.1f} images/s")
    print(f"two at once{both[0]:6.1f} and {both[1]:.1f} images/s: {slower:.1f} times slower")
    assert options.no_target or slower <= 2.5, "target: at most 2.5 times slower"
    return slower


if __name__ == "__main__":
    main()
