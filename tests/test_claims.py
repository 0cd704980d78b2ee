"""What overviews say, held against results."""

from pathlib import Path

import pytest

import zoo
from tools import claims
from tools.claims import CLAIMS, Claim, found, verdicts
from tools.comparison import COLUMNS, MORE
from tools.untrained_claims import UNTRAINED


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: f"{claim.method}: {claim.text}")
def test_claims_can_be_decided(claim):
    for name, by in ((claim.one, claim.by), (claim.other, claim.other_by or claim.by)):
        assert name in zoo.MODELS or claims.VARIANTS[name][0] in zoo.MODELS
        assert by in COLUMNS | MORE
    assert (claim.one, claim.by) != (claim.other, claim.other_by or claim.by)
    assert claim.expected in claims.WORDS


def test_what_no_training_decides_is_tested():
    for *said, file, test in UNTRAINED:
        assert all(said) and bool(file) == bool(test)
        source = (Path(__file__).parent / f"{file}.py").read_text() if file else f"def {test}("
        assert f"def {test}(" in source, test


def test_what_has_hardly_learnt_is_told(monkeypatch):
    """0.4 and less are not a quarter of the way from 0.2 to 1.0; means over seeds."""
    rows = rows_of(a=[1.0, 1.0, 1.0], b=[0.39, 0.37, 0.43], c=[0.41, 0.41, 0.39])
    rows = [row | {"background_miou": 0.2} for row in rows]
    assert claims.hardly_learnt(rows) == ["b"] and claims.hardly_learnt([]) == []
    idle = [row | {"background_miou": 0.38} for row in rows_of(a=[0.38] * 3, b=[0.39] * 3)]
    assert claims.hardly_learnt(idle) == ["a", "b"]
    assert lines_of(monkeypatch, rows).endswith("| holds (b: hardly learnt) |")
    assert lines_of(monkeypatch, rows[:3] + rows[6:]).endswith("| is open |")


def test_a_difference_within_the_spread_is_none():
    assert found([0.5, 0.6], [0.45, 0.5]) == "="  # 0.075 apart, 0.1 from seed to seed
    assert found([0.5, 0.6], [0.4, 0.41]) == ">"
    assert found([0.4], [0.41]) == "<" and found([3], [3]) == "="


def lines_of(monkeypatch, rows, expected=">"):
    monkeypatch.setattr(claims, "CLAIMS", [Claim("A", "is", "a", "b", "dataset_miou", expected)])
    return verdicts(rows, COLUMNS).split("\n")[2]


def rows_of(**values):
    return [{"name": name, "dataset_miou": value} for name in values for value in values[name]]


def test_what_is_said_of_the_claim(monkeypatch):
    far = rows_of(a=[0.9, 0.91, 0.9], b=[0.1, 0.11, 0.1])
    assert lines_of(monkeypatch, far).endswith("a 0.900 0.910 0.900, b 0.100 0.110 0.100 | holds |")
    assert lines_of(monkeypatch, far, "<").endswith("| does not hold: more |")
    near = rows_of(a=[0.5, 0.6, 0.5], b=[0.5, 0.61, 0.5])
    assert lines_of(monkeypatch, near).endswith("| no difference |")
    assert lines_of(monkeypatch, near, "=").endswith("| holds: no difference |")


def test_what_was_not_measured_is_open(monkeypatch):
    none = lines_of(monkeypatch, rows_of(a=[0.5]))
    assert none.endswith("| not yet: b: dataset mIoU | is open |")
    one = lines_of(monkeypatch, rows_of(a=[0.5], b=[0.4]))
    assert one.endswith("| is open; with one seed: holds |")
    two = lines_of(monkeypatch, rows_of(a=[0.5, 0.51], b=[0.4, 0.41, 0.4]))
    assert two.endswith("| is open; with 2 seeds: holds |")
    # Whether a difference is none is not to be seen with one.
    one = lines_of(monkeypatch, rows_of(a=[0.401], b=[0.4]), "=")
    assert one.endswith("| is open; with one seed: more |")
    monkeypatch.setattr(claims, "CLAIMS", [Claim("A", "is", "c", "d", "dataset_miou")])
    assert verdicts(rows_of(a=[0.5]), COLUMNS).count("\n") == 2  # no word on what nobody asked for


def test_a_network_may_be_held_against_itself(monkeypatch):
    claim = Claim("A", "is", "a", "a", "crf_dataset_miou", ">", "dataset_miou")
    monkeypatch.setattr(claims, "CLAIMS", [claim])
    rows = [
        {"name": "a", "dataset_miou": before, "crf_dataset_miou": after}
        for before, after in ((0.5, 0.53), (0.6, 0.63), (0.55, 0.58))
    ]
    line = verdicts(rows, COLUMNS | MORE).split("\n")[2]
    # Each seed gains as much, and seeds lie further apart than that.
    behind = "dataset mIoU behind a CRF: a 0.530 0.630 0.580"
    assert line.endswith(f"{behind}; dataset mIoU: a 0.500 0.600 0.550 | holds |")
    assert claims.asked("crf_dataset_miou", "gmac", claims=[claim]) == {"a"}
    assert claims.asked("gmac", claims=[claim]) == set()
    for row in rows:  # trained long ago, and nobody measured the other
        row["other"] = row.pop("crf_dataset_miou")
    unknown = verdicts(rows, COLUMNS | MORE).split("\n")[2]
    assert unknown.endswith("| not yet: a: dataset mIoU behind a CRF | is open |")
    for row in rows:
        row["crf_dataset_miou"] = row.pop("other")
    older = {"name": "a", "dataset_miou": 0.9}  # measured before anybody asked for the other
    assert verdicts([older, *rows], COLUMNS | MORE).split("\n")[2] == line
    rows[1]["crf_dataset_miou"] = 0.59
    line = verdicts(rows, COLUMNS | MORE).split("\n")[2]
    assert line.endswith("| no difference |")


def test_nearly_is_a_little_less(monkeypatch):
    claim = Claim("A", "nearly", "a", "b", "dataset_miou", "=", slack=0.02)
    monkeypatch.setattr(claims, "CLAIMS", [claim])
    rows = rows_of(a=[0.600, 0.601, 0.600], b=[0.615, 0.615, 0.615])
    assert verdicts(rows, COLUMNS).split("\n")[2].endswith("| holds: no difference |")
    rows = rows_of(a=[0.600, 0.601, 0.600], b=[0.625, 0.625, 0.625])
    assert verdicts(rows, COLUMNS).split("\n")[2].endswith("| does not hold: less |")
    other = Claim("A", "of two", "a", "b", "dataset_miou", ">", "gmac")
    assert claims.asked("gmac", claims=[other]) == {"b"}


def test_what_seeds_do_not_change_needs_one(monkeypatch):
    claim = Claim("A", "is costly", "a", "b", "gmac")
    monkeypatch.setattr(claims, "CLAIMS", [claim])
    rows = [{"name": "a", "gmac": 0.08}, {"name": "b", "gmac": 0.072}]
    line = verdicts(rows, COLUMNS).split("\n")[2]
    assert line.endswith("a 0.08, b 0.07 | does not hold: hardly a difference |")
    rows[1]["gmac"] = 0.06
    rows.append({"name": "a", "gmac": 0.08})  # another seed says nothing new
    assert verdicts(rows, COLUMNS).split("\n")[2].endswith("a 0.08, b 0.06 | holds |")
    assert claims.named([claim]) == []
    claim = Claim("A", "is slow", "a", "b", claims.ANSWER)  # as long, on another day
    monkeypatch.setattr(claims, "CLAIMS", [claim])
    for slow, said in ((0.016, "does not hold: hardly a difference"), (0.02, "holds")):
        rows = [{"name": name, claims.ANSWER: t} for name, t in (("a", slow), ("b", 0.01))]
        assert verdicts(rows, COLUMNS).split("\n")[2].endswith(f"| {said} |")


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ("fcn16s", "fcn32s"),
        ("fcn8s", "fcn16s"),
        ("deeplab-v3-os8", "deeplab-v3"),
        ("deeplab-v3-os8", "deeplab-v3-os8-without-pooling"),
        ("pspnet", "pspnet-without-auxiliary"),
        ("gcn", "gcn-k3"),
        ("fcn8s-luc", "fcn8s"),
    ],
)
def test_the_overviews_side_is_first(better, worse):
    [claim] = [c for c in CLAIMS if (c.one, c.other, c.by) == (better, worse, claims.MIOU)]
    assert claim.expected == ">"
