"""Measuring side by side: contestants in processes of their own, asked in turn.

Two runs of a program minutes apart differ by more than what is to be measured: other programs come
and go, the processor heats up and slows down. So the contestants are all started and warmed up
first, and then take turns, A B C A B C. What slows the machine for a while slows them all, and the
ratio of neighbouring turns says what a ratio of two averages does not. Each has its own process,
since threads, precision and peak memory belong to a process. Only those that would not fit into the
memory together are started, warmed up and ended one by one, in every round.

Who has waited for the others is cold: PyTorch has given its memory back, and a training step takes
1.2 times, a prediction 1.5 times as long as in a loop. So their turns begin with steps that are not
counted, and then count several.

A contestant is a program that calls `serve`; it answers each line on its standard input, with the
numbers of steps in it, by a line of JSON on its standard output.
"""

import importlib.util
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

READY = 1800  # seconds to get ready and warm up in; `torch.compile` takes minutes


@dataclass
class Task:
    """What a contestant does in a turn.

    Attributes:
        run: a step; returns when all is computed.
        count: how many pictures, batches, ... `run` does; seconds are told for one of them.
        warm_up: called once before the first turn; `run` itself unless given. The first call builds
            graphs and fills caches, which is a cost of its own.
        facts: numbers that need no clock, by name.
    """

    run: Callable[[], object]
    count: int = 1
    warm_up: Callable[[], object] | None = None
    facts: dict[str, float] = field(default_factory=dict)


def serve(prepare: Callable[[], Task | str]) -> None:
    """Be a contestant: prepare and warm up, then do and time a turn for each line that comes in.

    Args:
        prepare: makes the task ready, or says in a few words why it cannot be done here.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer

    def answer(**content) -> None:
        print(json.dumps(content), file=answers, flush=True)

    task = prepare()
    if isinstance(task, str):
        answer(missing=task)
        return
    (task.warm_up or task.run)()
    answer(facts=task.facts)
    for line in sys.stdin:
        uncounted, counted = map(int, line.split())
        for _ in range(uncounted):
            task.run()
        start = time.perf_counter()
        for _ in range(counted):
            task.run()
        seconds = time.perf_counter() - start
        answer(seconds=seconds / (counted * task.count), peak_mb=peak_memory())


def peak_memory() -> float:
    """The most memory that this process has had at once, in MB (10^6 bytes)."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux; there getrusage also counts the process that started this one
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # bytes on macOS


def alternate(
    commands: dict[str, list[str]],
    rounds: int,
    needs: dict[str, str],
    together: bool = True,
    environment: dict[str, str] | None = None,
    uncounted: int = 0,
    counted: int = 1,
) -> dict[str, dict]:
    """Start the contestants, then let them take turns.

    Args:
        commands: the program of each contestant and its arguments, by the contestant's name.
        rounds: turns of each.
        needs: a package that a contestant cannot do without, by the contestant's name.
        together: start all, then let them take turns; False starts and ends each one for every
            turn, for those that would not fit into the memory beside each other.
        environment: variables of the contestants besides those of this process.
        uncounted: steps that a turn begins with, after which the contestant is warm again.
        counted: steps of a turn that are timed after them.

    Returns:
        By contestant `{"seconds": [of a step, one a turn], "peak_mb": float, "facts": {...}}`, or
        `{"missing": reason}` for one that lacks its package, is not ready in time or failed.
    """
    results, running = {}, {}
    variables = {**os.environ, **(environment or {})}
    with tempfile.TemporaryDirectory() as logs:

        def start(name: str) -> None:
            log = Path(logs) / name
            with open(log, "w") as errors:
                pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": errors}
                process = subprocess.Popen(
                    commands[name], text=True, env=variables, start_new_session=True, **pipes
                )
            running[name] = process, log
            if select.select([process.stdout], [], [], READY)[0]:
                answer = _receive(name, running)
            else:
                answer = {"missing": f"not ready after {READY} s"}
            if "missing" in answer:
                _end(name, running)
                results[name] = answer
            else:
                results.setdefault(name, {"seconds": [], **answer})

        def turn(name: str) -> None:
            answer = _ask(name, running, f"{uncounted} {counted}\n")
            if "missing" in answer:
                results[name] = answer
            else:
                result = results[name]
                result["seconds"].append(answer["seconds"])
                result["peak_mb"] = max(answer["peak_mb"], result.get("peak_mb", 0.0))

        for name in commands:
            package = needs.get(name)
            if package and importlib.util.find_spec(package) is None:
                results[name] = {
                    "missing": f"{package} is not installed; see requirements/benchmark.txt"
                }
        try:
            # One after the other: two that warm up at once disturb each other.
            for name in commands if together else ():
                if name not in results:
                    start(name)
            for _ in range(rounds):
                for name in commands:
                    if not together and "missing" not in results.get(name, {}):
                        start(name)
                    if name in running:
                        turn(name)
                    if not together:
                        _end(name, running)
        finally:
            for name in list(running):
                _end(name, running)
    return results


def _end(name: str, running: dict) -> None:
    """End a contestant and the compilers that it started, if it has not ended by itself."""
    if name in running:
        process, _ = running.pop(name)
        with suppress(PermissionError):  # macOS: it has ended, and nobody has asked how
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def _ask(name: str, running: dict, line: str) -> dict:
    """Let one contestant take its turn."""
    process, _ = running[name]
    try:
        process.stdin.write(line)
        process.stdin.flush()
    except BrokenPipeError:
        pass  # it has ended; `_receive` says why
    return _receive(name, running)


def _receive(name: str, running: dict) -> dict:
    """A contestant's answer; one that has ended is taken out of `running`."""
    process, log = running[name]
    line = process.stdout.readline()
    if line:
        return json.loads(line)
    del running[name]
    process.communicate()
    if process.returncode == -signal.SIGKILL:
        return {"missing": "killed by the system, as when memory runs out"}
    last = log.read_text(errors="replace").strip().splitlines()[-1:]
    return {"missing": f"ended with status {process.returncode}: {' '.join(last)}"}
