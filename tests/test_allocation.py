"""Memory that is freed stays with the process."""

import platform
import subprocess
import sys

import pytest
from conftest import PROJECT

# Pieces that are made and freed in turn, and how many pages the system made for them.
SCRIPT = """
import resource, runpy
import numpy as np
if {kept}:
    assert runpy.run_path({path!r})["keep_memory"]()
np.ones(2**20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    np.ones(2**20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="others have no mallopt")
def test_the_pages_of_a_piece_serve_the_next():
    path = str(PROJECT / "chapter12-segmentation/fast/allocation.py")
    pages = [
        int(subprocess.check_output([sys.executable, "-c", SCRIPT.format(path=path, kept=kept)]))
        for kept in (False, True)
    ]
    assert pages[1] < pages[0] / 2, pages


def test_without_glibc_nothing_happens(monkeypatch):
    monkeypatch.setattr("fast.allocation.ctypes.CDLL", lambda name: object())
    from fast.allocation import keep_memory

    assert not keep_memory()
