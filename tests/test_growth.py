"""The sizes of a run that grows."""

from engine.growth import Stage, stages


def test_without_growth_there_is_one_size():
    assert stages((480, 640), 100, 100, grow=False) == [Stage((480, 640), 100)]


def test_sizes_grow_to_the_whole_one():
    assert stages((160, 192), 20, 20, grow=True) == [
        Stage((64, 96), 9),
        Stage((96, 128), 14),
        Stage((160, 192), 20),
    ]


def test_a_run_that_ends_early_grows_as_a_longer_one():
    assert stages((160, 192), 5, 20, grow=True) == [Stage((64, 96), 5)]
    assert stages((160, 192), 13, 20, grow=True) == [Stage((64, 96), 9), Stage((96, 128), 13)]
    assert stages((160, 192), 50, 20, grow=True)[-1] == Stage((160, 192), 50)


def test_short_runs_and_small_pictures():
    for epochs in range(1, 8):
        ends = [stage.end for stage in stages((40, 33), epochs, epochs, grow=True)]
        assert ends == sorted(set(ends)) and ends[-1] == epochs
    sizes = [stage.size for stage in stages((40, 33), 20, 20, grow=True)]
    assert sizes == [(32, 32), (32, 32), (40, 33)]
