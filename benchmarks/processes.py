"""One training in one and in several processes, a core each: processes.md and processes.png.

python3 benchmarks/processes.py          # some ten minutes on two cores
python3 benchmarks/processes.py --try    # only see whether it runs

What the processes have to tell each other goes through the loopback interface. Needs JAX and Linux.
"""

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
if __package__ in (None, ""):
    sys.path.insert(0, str(PROJECT))

from benchmarks.bench import describe_run, warn_if_busy  # noqa: E402
from utils.files import replace_whole  # noqa: E402
from utils.history import read_rows  # noqa: E402

HERE = Path(__file__).resolve().parent
EPOCHS, PICTURES = 4, 160  # the first epoch compiles, and is not counted
BATCH = 8
TRAINING = (
    f"--train --model unet-same --narrow 4 --preset quick --no-grow --height 96 --width 128 "
    f"--epochs {EPOCHS} --pictures-per-epoch {PICTURES} --batch-size {BATCH} --verbose 0 "
    "--workers 1 --validation-split 0.002"
)
PAGE = """# One training in several processes

Written by `python3 benchmarks/processes.py`: `unet-same`, a quarter as wide, batches of {batch}
pictures of 96×128 in all, on JAX. Each process has a core of its own; the median of {counted}
epochs, in brackets the smallest and the largest. Memory is that of the process that has the most.

![Pictures a second, and memory, against processes](processes.png)

| processes | pictures a second | of one | GB each |
|---:|---:|---:|---:|
{table}

Measured on {machine}; commit {commit}, {date}.
"""


def train(number: int, epochs: int) -> tuple[list[float], float]:
    """Seconds of each epoch but the first, and the GB of the largest process."""
    with tempfile.TemporaryDirectory() as work:
        command = [sys.executable, str(PROJECT / "fcn-12.3.1.py"), *TRAINING.split()]
        command += ["--save-dir", work, "--epochs", str(epochs)]
        if number > 1:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            command += ["--distribute", "multihost", "--coordinator", f"127.0.0.1:{port}"]
            command += ["--processes", str(number)]
        running = []
        for index, core in zip(range(number), sorted(os.sched_getaffinity(0)), strict=False):
            own = ["--process-id", str(index)] if number > 1 else []
            running.append(
                subprocess.Popen(
                    command + own,
                    env={**os.environ, "KERAS_BACKEND": "jax"},
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    preexec_fn=partial(os.sched_setaffinity, 0, {core}),
                )
            )
        most = 0
        for process in running:
            errors = process.stderr.read()
            _, status, used = os.wait4(process.pid, 0)
            if status:
                sys.exit(errors.decode())
            most = max(most, used.ru_maxrss)
        (history,) = Path(work).glob("*-history.csv")
        return [row["seconds"] for row in read_rows(history)][1:], most * 1024 / 1e9


def draw(points: list[tuple], path: Path) -> None:
    """Pictures a second and GB against processes."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
    numbers, rates, memory = zip(*points, strict=True)
    axes[0].plot(numbers, [PICTURES / statistics.median(each) for each in rates], "o-")
    one = PICTURES / statistics.median(rates[0])
    axes[0].plot(numbers, [one * number for number in numbers], "--", color="0.6", label="ideal")
    axes[0].set_ylabel("pictures a second")
    axes[0].legend()
    axes[1].plot(numbers, memory, "o-")
    axes[1].set_ylabel("GB of the largest process")
    for axis in axes:
        axis.set(xlabel="processes", xticks=numbers)
        axis.set_ylim(0, 1.1 * axis.get_ylim()[1])
    with replace_whole(path) as unfinished:
        figure.savefig(unfinished, dpi=100)
    plt.close(figure)


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--try", dest="tiny", action="store_true", help="two epochs, none written")
    args = parser.parse_args()
    run = describe_run()
    warn_if_busy(run)
    points = []
    for number in range(1, len(os.sched_getaffinity(0)) + 1):
        points.append((number, *train(number, 2 if args.tiny else EPOCHS)))
        print(*points[-1], flush=True)
    if args.tiny:
        return
    lines, one = [], statistics.median(points[0][1])
    for number, seconds, memory in points:
        rates = [
            PICTURES / each for each in (statistics.median(seconds), max(seconds), min(seconds))
        ]
        rate = "{:.2f} ({:.2f} to {:.2f})".format(*rates)
        lines.append(
            f"| {number} | {rate} | {one / statistics.median(seconds):.2f} | {memory:.2f} |"
        )
    draw(points, HERE / "processes.png")
    page = PAGE.format(
        batch=BATCH,
        counted=EPOCHS - 1,
        table="\n".join(lines),
        **{name: run[name] for name in ("machine", "commit", "date")},
    )
    with replace_whole(HERE / "processes.md") as unfinished:
        unfinished.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
