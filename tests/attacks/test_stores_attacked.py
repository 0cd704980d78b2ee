"""Five hundred mutated stores: right, or one sentence."""

import pytest

from attacks.cases import attack_often


@pytest.mark.long
def test_attacked(tmp_path):
    attack_often("stores", tmp_path)
