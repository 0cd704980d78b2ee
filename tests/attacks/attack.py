"""Attack the program with mutated files: `make attack`, or

python3 tests/attacks/attack.py --cases 30000
python3 tests/attacks/attack.py --kind weights --seed 17    one case, with all that it says

Each worker process may have 2 GB more than it begins with; a case that takes longer than 10 s is a
hang, as is one that ends its process. The status is 1 where anything but a right answer or one
sentence came.
"""

import argparse
import multiprocessing
import os
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent), str(TESTS.parent / "chapter12-segmentation")]
sys.path = [place for place in sys.path if Path(place).resolve() != TESTS / "attacks"]
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
for threads in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(threads, "1")

from attacks.cases import BAD, GOOD, KINDS, limited_to, run_case  # noqa: E402

SECONDS = 10  # after which a case is a hang
MEMORY = 2 * 2**30  # bytes that a worker may take beyond what its libraries do
AT_ONCE = 500  # cases of a worker process, after which another takes over
SHOWN = 5  # failing cases of a kind and an outcome that are printed


def work(kind: str, seeds: list[int], folder: str, pipe) -> None:
    """Run cases; send (seed, None, None) before and (seed, outcome, text) after each."""
    run_case(kind, -1, Path(folder))  # takes the time of importing
    with limited_to(MEMORY):
        for seed in seeds:
            pipe.send((seed, None, None))
            outcome, text = run_case(kind, seed, Path(folder), SECONDS)
            pipe.send((seed, outcome, text[:3000]))
    pipe.send(None)


def supervise(kind: str, seeds: list[int], note) -> None:
    """Run cases in processes, each after the other; `note` is called with kind and result."""
    context = multiprocessing.get_context("spawn")
    while seeds:
        with tempfile.TemporaryDirectory(prefix="attack-") as folder:
            ours, theirs = context.Pipe()
            arguments = (kind, seeds[:AT_ONCE], folder + "/case", theirs)
            process = context.Process(target=work, args=arguments, daemon=True)
            process.start()
            theirs.close()
            done = _follow(ours, kind, note)
            process.kill()
            process.join()
        seeds = seeds[AT_ONCE:] if done is None else seeds[seeds.index(done) + 1 :]


def _follow(pipe, kind: str, note) -> int | None:
    """Take a worker's results; return the seed at which it ended before its time, or None."""
    seed = None
    while True:
        try:
            # Once more as long as a case has: code of libraries hears of no alarm.
            if not pipe.poll(120 if seed is None else 2 * SECONDS):
                note(kind, (seed, "hang", "it does not hear of an alarm"))
                return seed
            result = pipe.recv()
        except EOFError:
            if seed is None:
                raise RuntimeError(f"no worker for {kind} could start") from None
            note(kind, (seed, "ended", "the process ended"))
            return seed
        if result is None:
            return None
        seed = result[0]
        if result[1] is not None:
            note(kind, result)


def report(counts: dict[str, Counter]) -> str:
    """A table of kinds and outcomes."""
    columns = [*GOOD, *BAD]
    lines = [f"{'':16}{'tried':>8}" + "".join(f"{name:>14}" for name in columns)]
    total = Counter()
    for kind in counts:
        total += counts[kind]
    for kind, count in (*counts.items(), ("sum", total)):
        numbers = "".join(f"{count[name]:>14,}" for name in columns)
        lines.append(f"{kind:16}{count.total():>8,}{numbers}")
    return "\n".join(lines)


def main() -> None:
    """Read the command line and attack."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=30_000, help="in all kinds together (30000)")
    parser.add_argument("--kind", choices=KINDS, help="of files (all)")
    parser.add_argument("--seed", type=int, help="with --kind: this case alone, and what it says")
    parser.add_argument("--first", type=int, default=0, help="the first seed (0)")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes at once")
    args = parser.parse_args()
    kinds = [args.kind] if args.kind else KINDS
    if args.seed is not None:
        if not args.kind:
            parser.error("--seed needs --kind")
        folder = Path(tempfile.mkdtemp(prefix="attack-"))
        print(*run_case(args.kind, args.seed, folder), sep="\n")
        print(f"The files are in {folder}.")
        return

    counts: dict[str, Counter] = {kind: Counter() for kind in kinds}
    shown: dict[tuple, int] = defaultdict(int)
    lock, begun = threading.Lock(), time.monotonic()

    def note(kind: str, result: tuple) -> None:
        seed, outcome, text = result
        with lock:
            counts[kind][outcome] += 1
            if outcome in BAD:
                shown[kind, outcome] += 1
                if shown[kind, outcome] <= SHOWN:
                    print(f"{kind} {seed}: {outcome}\n{text}\n", flush=True)

    share = args.cases // len(kinds)
    seeds = range(args.first, args.first + share)
    parts = [(k, list(seeds[s : s + AT_ONCE])) for s in range(0, share, AT_ONCE) for k in kinds]

    def run() -> None:
        while True:
            with lock:
                if not parts:
                    return
                kind, part = parts.pop(0)
            supervise(kind, part, note)

    runners = [threading.Thread(target=run) for _ in range(args.workers)]
    for runner in runners:
        runner.start()
    for runner in runners:
        runner.join()
    print(report(counts))
    print(f"{time.monotonic() - begun:.0f} s, {args.workers} processes at once")
    whole = all(count.total() == share for count in counts.values())
    sys.exit(not whole or any(counts[kind][outcome] for kind in kinds for outcome in BAD))


if __name__ == "__main__":
    main()
