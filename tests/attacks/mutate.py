"""Seeded mutations of bytes and of JSON."""

import copy
import json
import re
from random import Random

DIGITS, DEEP = "@digits@", "@deep@"  # stand for what `json.dumps` does not write
NUMBERS = (0, -1, 1, 2, 254, 255, 256, 65535, 2**31, -(2**31), 2**63, 10**400, 0.5, 1e-9)
NUMBERS += (1e9, -1e9, 2e154, -2e154, 1e308, float("nan"), float("inf"))
TEXTS = ("", " ", "1", "nan", "1e999", "9" * 5000, "x" * 300, "\ud800", "a\0b", "can", "BOTTLE")
PATHS = ("../outside/private.json", "../outside", "/etc/passwd", "..\\outside", "C:\\x", "//x/y")
PATHS += ("/dev/zero", "http://localhost/a.png", "a.png/..", ".", "..")
OTHERS = (None, True, False, [], {}, [[1]], [None], {"a": {}}, [1, 2, 3], {"0": "a"}, DIGITS, DEEP)
HOSTILE = NUMBERS + TEXTS + PATHS + OTHERS
LONG = "9" * 5000  # more digits than Python turns into a number
NESTED = "[" * 100_000


def mutate_bytes(random: Random, content: bytes, start: int = 0, end: int | None = None) -> bytes:
    """One to three changes of bytes between `start` and `end`: set, cut out, doubled, lost."""
    changed = bytearray(content)
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        last = min(len(changed), end or len(changed))
        if last <= start:
            break
        at = random.randrange(start, last)
        length = random.choice((1, 2, 4, 16, 200))
        kind = random.randrange(9)
        if kind < 3:
            changed[at] ^= 1 << random.randrange(8)
        elif kind < 5:
            changed[at] = random.choice((0, 1, 127, 128, 255, random.randrange(256)))
        elif kind == 5:
            del changed[at : at + length]
        elif kind == 6:
            changed[at:at] = changed[at : at + length]
        elif kind == 7:
            changed[at : at + length] = random.randbytes(length)
        else:
            del changed[at:]
    return bytes(changed)


def mutate_text(random: Random, text: str) -> str:
    """A number of a text replaced by another, or a few characters changed."""
    numbers = list(re.finditer(r"-?\d+(\.\d+)?", text))
    if numbers and random.random() < 0.5:
        one = random.choice(numbers)
        new = random.choice((*map(str, NUMBERS), LONG, "", "-", "1.5.2"))
        return text[: one.start()] + new + text[one.end() :]
    content = mutate_bytes(random, text.encode())
    return content.decode(errors="replace" if random.random() < 0.5 else "ignore")


def places(value: object, place: tuple = ()) -> list[tuple]:
    """The keys and indices that lead to every value within a JSON value."""
    found = [place] if place else []
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            found += places(value[key], (*place, key))
    return found


def mutate_json(random: Random, value: object, hostile: float = 0.4) -> object:
    """A copy of a JSON value with one to three changes.

    Args:
        hostile: how often a value becomes another of `HOSTILE`; else numbers are moved, and parts
            deleted, doubled, exchanged or renamed.
    """
    value = copy.deepcopy(value)
    for _ in range(random.choice((1, 1, 2, 3))):
        found = places(value)
        if not found:
            break
        *way, last = random.choice(found)
        parent = value
        for key in way:
            parent = parent[key]
        old = parent[last]
        if random.random() < hostile:
            parent[last] = copy.deepcopy(random.choice(HOSTILE))
        elif isinstance(old, int | float) and not isinstance(old, bool) and abs(old) < 1e300:
            parent[last] = random.choice((old + 1, old - 0.5, old + 7.3, -old, old * 3, str(old)))
        elif isinstance(parent, list):
            other = random.randrange(len(parent))
            kind = random.randrange(3)
            if kind == 0:
                del parent[last]
            elif kind == 1:
                parent.insert(other, copy.deepcopy(old))
            else:
                parent[last], parent[other] = parent[other], old
        elif random.random() < 0.5:
            del parent[last]
        else:
            parent[random.choice(("", "name", str(last).upper(), "x" * 300))] = parent.pop(last)
    return value


def to_text(value: object) -> str:
    """JSON of a value, with the longest of numbers and the deepest of lists where these stand."""
    text = json.dumps(value)
    return text.replace(f'"{DIGITS}"', LONG).replace(f'"{DEEP}"', NESTED)
