"""Five hundred mutated masks: right, or one sentence."""

import pytest

from attacks.cases import attack_often


@pytest.mark.long
def test_attacked(tmp_path):
    attack_often("masks", tmp_path)
