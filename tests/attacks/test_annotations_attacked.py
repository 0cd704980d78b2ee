"""Five hundred mutated annotations: right, or one sentence."""

from attacks.cases import attack_often


def test_attacked(tmp_path):
    attack_often("annotations", tmp_path)
