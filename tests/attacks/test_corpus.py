"""What once went wrong does not again."""

import pytest

from attacks.cases import GOOD, run_attack
from attacks.corpus import CORPUS


@pytest.mark.parametrize("name", CORPUS)
def test_corpus(tmp_path, name):
    # Not a measurement: what hangs is to fail the test.
    outcome, text = run_attack(CORPUS[name], tmp_path / "case", seconds=20, memory=2 * 2**30)
    assert outcome in GOOD, f"{outcome}: {text}"
