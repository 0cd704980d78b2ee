"""Five hundred mutated configurations: right, or one sentence."""

import pytest

from attacks.cases import attack_often


@pytest.mark.long
def test_attacked(tmp_path):
    attack_often("configurations", tmp_path)
