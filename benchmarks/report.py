"""Measurements to a Markdown table: medians with their spread, and ratios against the goals."""

import statistics
from dataclasses import dataclass, field

COLUMNS = ("ours", "plain", "torch")
PYTORCH = {"torch": "eager", "compiled": "compiled"}  # its contestants, and their names in a cell
PAGE = """# What was measured

Written by `make bench`; raw numbers are in `results.json`, and `runner.py` tells how it is done.
Medians, and in brackets the smallest and the largest value. A ratio is the median, over the rounds,
of what the other took by what ours took in the same round; the rounds of each row stand at the
end, and one round has no spread. A round of training steps or predictions counts several, after
some that are not counted, since who has waited for the others is cold; seconds are for one.
*Plain* is stock Keras in float32, or the chapter's way; ours is in the precision that
`--precision auto` takes, named at the end, and PyTorch in the same, channels last: the better by
its median of *eager*, as it comes, and *compiled* by `torch.compile`, in its default mode and for
the one size. Compiling is not counted.
{earlier}
| what | ours | plain | ratio | PyTorch | ratio | goal |
|---|---:|---:|---:|---:|---:|---|
{table}

{bound}The most memory that each process had at once:

| row | ours | plain | PyTorch, eager | compiled, with compiling |
|---|---:|---:|---:|---:|
{memory}

Measured on (and in brackets the rounds, × the steps that each counted where they were several):

{runs}
"""
BOUND = """The least that the arithmetic alone takes: the multiply-accumulates of the layers, for a
step of training three times those of a prediction, at the speed of a product of two matrices of
2000×2000 in the same turns and in our precision. Behind that, what share of each one's seconds it
is; the rest is batch normalisation, ReLU, maps that are read and written, and kernels that are
less fast than such a product.

| row | GMAC | GMAC a second | bound | ours | plain | PyTorch |
|---|---:|---:|---:|---:|---:|---:|
{lines}

"""
EARLIER = """
Measured before this was so, without `torch.compile` and with one step a round, which after waiting
is harder on PyTorch than on Keras: {rows}.
"""


@dataclass(frozen=True)
class Line:
    """A line of the table.

    Attributes:
        what: the first cell.
        value: "seconds", "per_second", "peak_mb", or the name of a fact.
        columns: which contestant stands in the column "ours", "plain" and "torch"; in the last one
            "compiled" where it is better.
        goals: how many times less than "plain" and "torch" ours is to be.
        limit: what ours is to stay below, or for "per_second" above.
    """

    what: str
    value: str = "seconds"
    columns: dict[str, str] = field(default_factory=lambda: {name: name for name in COLUMNS})
    goals: dict[str, float] = field(default_factory=dict)
    limit: float | None = None


def write_page(lines_of: dict[str, list[Line]], results: dict[str, dict]) -> str:
    """The Markdown page of results.

    Args:
        lines_of: the lines of each row by its name, in the order of the table.
        results: by row `{"contestants": from runner.alternate, "turn": {"uncounted": number,
            "counted": number}, "run": {"commit": ..., ...}}`, without "turn" in rows that were
            measured long ago; a row that was never measured is missing.
    """
    measured = {row: results[row] for row in lines_of if row in results}
    table, bound, memory, earlier, runs = [], [], [], [], {}
    for row, result in measured.items():
        contestants = result["contestants"]
        table += table_lines(lines_of[row], contestants)
        if "seconds" in contestants["ours"] and "seconds" in contestants.get("matmul", {}):
            bound.append(_bound_line(row, contestants))
        if row.startswith(("train", "predict", "evaluate")):
            names = (*COLUMNS, "compiled")
            cells = [_cell(contestants.get(name, {}), "peak_mb") for name in names]
            memory.append(f"| {row} | {' | '.join(cells)} |")
        if "torch" in contestants and "turn" not in result:
            earlier.append(row)
        rounds, steps = len(contestants["ours"].get("seconds", [])), result.get("turn", {})
        counted = f" × {steps['counted']}" if steps.get("counted", 1) > 1 else ""
        runs.setdefault(_sentence(result["run"]), []).append(f"{row} ({rounds}{counted})")
    return PAGE.format(
        table="\n".join(table),
        earlier=EARLIER.format(rows=", ".join(earlier)) if earlier else "",
        bound=BOUND.format(lines="\n".join(bound)) if bound else "",
        memory="\n".join(memory),
        runs="\n".join(f"- {', '.join(rows)}: {run}" for run, rows in runs.items()),
    )


def _bound_line(row: str, contestants: dict[str, dict]) -> str:
    """The least that a step could take, and what share of each one's seconds that is."""
    gmac = contestants["ours"]["facts"]["gmac"]
    products = contestants["matmul"]["seconds"]  # of a GMAC

    def share(result: dict) -> str:
        seconds = result.get("seconds")
        if not seconds:
            return "–"
        shares = [100 * gmac / ratio for ratio in ratios(products, seconds)]
        return f"{statistics.median(shares):.0f} %"

    speed = 1 / statistics.median(products)
    three = contestants["ours"], contestants.get("plain", {}), _better(contestants)[0]
    cells = [_digits(gmac), _digits(speed), f"{_digits(gmac / speed)} s", *map(share, three)]
    return f"| {row} | {' | '.join(cells)} |"


def table_lines(lines: list[Line], contestants: dict[str, dict]) -> list[str]:
    """The lines of one row in Markdown; `contestants` is what `runner.alternate` returned."""
    return [_line(line, contestants) for line in lines]


def ratios(ours: list[float], other: list[float]) -> list[float]:
    """How many times as much the other took, round by round."""
    return [b / a for a, b in zip(ours, other, strict=True)]


def _values(result: dict, value: str) -> list[float]:
    """One number a round, or the only one there is."""
    if value == "seconds":
        return result["seconds"]
    if value == "per_second":
        return [1 / seconds for seconds in result["seconds"]]
    return [result["peak_mb"] if value == "peak_mb" else result["facts"][value]]


def _better(contestants: dict[str, dict]) -> tuple[dict, str]:
    """PyTorch's better way by the median of its seconds, and what its cell says besides."""
    ways = {way: contestants[name] for name, way in PYTORCH.items() if name in contestants}
    measured = {way: result for way, result in ways.items() if "seconds" in result}
    if len(ways) < 2 or not measured:
        return next(iter(ways.values()), {}), ""
    best = min(measured, key=lambda way: statistics.median(measured[way]["seconds"]))
    failed = [f"; {way}: {ways[way]['missing']}" for way in ways if way not in measured]
    return measured[best], f", {best}" + "".join(failed).replace("|", "/")


def _cell(result: dict, value: str) -> str:
    if "seconds" not in result:
        return result.get("missing", "–").replace("|", "/")
    values = _values(result, value)
    middle = _number(statistics.median(values), value)
    if len(values) == 1:
        return middle
    low, high = (_number(x, value, unit=False) for x in (min(values), max(values)))
    return f"{middle} ({low}–{high})"


def _number(number: float, value: str, unit: bool = True) -> str:
    """Three digits and a unit."""
    name = {"seconds": " s", "per_second": " /s"}.get(value, " MB")
    return _digits(number) + name if unit else _digits(number)


def _digits(number: float) -> str:
    """Three of them, or all of a large whole number."""
    return f"{number:#.3g}".rstrip(".") if abs(number) < 1000 else f"{number:,.0f}"


def _line(line: Line, contestants: dict[str, dict]) -> str:
    found = {column: contestants.get(name, {}) for column, name in line.columns.items()}
    ours, note = found["ours"], ""
    if "torch" in line.columns:
        found["torch"], note = _better(contestants)
    cells = [line.what, _cell(ours, line.value)]
    goals = []  # each with what became of it
    if line.limit is not None:
        above, verdict = line.value == "per_second", "not measured"
        if "seconds" in ours:
            middle = statistics.median(_values(ours, line.value))
            verdict = _verdict(middle >= line.limit if above else middle < line.limit)
        goals.append(f"{'at least' if above else 'under'} {line.limit:g}: {verdict}")
    for column in ("plain", "torch"):
        other, ratio, verdict = found.get(column, {}), "–", "not measured"
        if "seconds" in ours and "seconds" in other:
            all_ratios = ratios(_values(ours, line.value), _values(other, line.value))
            middle, low, high = statistics.median(all_ratios), min(all_ratios), max(all_ratios)
            spread = f" ({_digits(low)}–{_digits(high)})" if len(all_ratios) > 1 else ""
            ratio = f"{_digits(middle)}×{spread}"
            verdict = _verdict(middle >= line.goals.get(column, 0))
        if column in line.goals:
            goals.append(f"{line.goals[column]:g}×: {verdict}")
        cells += [_cell(other, line.value) + (note if column == "torch" else ""), ratio]
    cells.append("; ".join(goals))
    return "| " + " | ".join(cells) + " |"


def _verdict(met: bool) -> str:
    return "met" if met else "**missed**"


def _sentence(run: dict) -> str:
    """What is known of a run, as a sentence."""
    versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
    quick = ", half the rounds" if run.get("quick") else ""
    # Rows that were measured before these were noted have none.
    precision = f", ours in {run['precision']}" if "precision" in run else ""
    return (
        f"{run['machine']}{precision}; {versions}; commit {run['commit']}, "
        f"{run['date']}; load before the run {run['load']:.1f}{quick}"
    )
