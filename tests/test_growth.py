"""The sizes of a run that grows."""

from itertools import pairwise

from engine.growth import Stage, stages


def test_without_growth_there_is_one_size():
    assert stages((480, 640), 100, 100, grow=False) == [Stage((480, 640), 0, 100)]


def test_sizes_grow_to_the_whole_one():
    assert stages((160, 192), 20, 20, grow=True) == [
        Stage((64, 96), 0, 9),
        Stage((96, 128), 9, 14),
        Stage((160, 192), 14, 20),
    ]


def test_a_run_that_ends_early_grows_as_a_longer_one():
    assert stages((160, 192), 5, 20, grow=True) == [Stage((64, 96), 0, 5)]
    assert stages((160, 192), 13, 20, grow=True) == [
        Stage((64, 96), 0, 9),
        Stage((96, 128), 9, 13),
    ]
    assert stages((160, 192), 50, 20, grow=True)[-1] == Stage((160, 192), 14, 50)


def test_short_runs_and_small_pictures():
    for epochs in range(1, 8):
        plan = stages((40, 33), epochs, epochs, grow=True)
        ends = [stage.end for stage in plan]
        assert ends == sorted(set(ends)) and ends[-1] == epochs
        assert plan[0].start == 0 and all(one.end == other.start for one, other in pairwise(plan))
    sizes = [stage.size for stage in stages((40, 33), 20, 20, grow=True)]
    assert sizes == [(32, 32), (32, 32), (40, 33)]
