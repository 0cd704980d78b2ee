"""Five hundred mutated annotations of other programs: labels, or one sentence."""

import pytest

from attacks.cases import GOOD, attack_often, run_case


@pytest.mark.long
def test_attacked(tmp_path):
    attack_often("formats", tmp_path)


@pytest.mark.parametrize("seed", [4860, 6367])  # an attribute called " ", a shape that is a list
def test_what_once_failed(tmp_path, seed):
    outcome, text = run_case("formats", seed, tmp_path / "case")
    assert outcome in GOOD, text
