"""The networks that there are, in a table."""

import zoo


def print_models() -> None:
    """Print a line per network: name, parameters for 4 classes, year, paper."""
    width = max(map(len, zoo.MODELS))
    print(f"{'--model':{width}}  {'parameters':>11}  year  paper")
    for name, entry in zoo.MODELS.items():
        print(f"{name:{width}}  {entry.parameters:>11,}  {entry.year}  {entry.paper}")
