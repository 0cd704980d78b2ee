"""The learning rate by epoch: the chapter's table, and the line."""

import numpy as np
import pytest

from callbacks import lr_scheduler


def test_learning_rates_are_the_chapters():
    rates = [lr_scheduler(epoch) for epoch in range(120)]
    assert rates[:41] == [1e-3] * 41
    assert rates[41:61] == [5e-4] * 20
    assert rates[61:81] == [1e-4] * 20
    assert rates[81:] == [5e-5] * 39


def test_shorter_runs_have_the_same_shape():
    rates = [lr_scheduler(epoch, "book", 20) for epoch in range(20)]
    assert rates == [1e-3] * 9 + [5e-4] * 4 + [1e-4] * 4 + [5e-5] * 3


def test_the_line_falls_evenly_from_the_highest_rate_to_its_hundredth():
    rates = [lr_scheduler(epoch, "linear", 20, 2e-3) for epoch in range(30)]
    assert rates[0] == 1e-3  # warming up
    assert np.diff(rates[1:20]) == pytest.approx([-1e-4] * 18)
    assert rates[20:] == [2e-5] * 10


def test_the_books_table_is_scaled_by_the_highest_rate():
    rates = [lr_scheduler(epoch, "book", 100, 2e-3) for epoch in (0, 50, 70, 90)]
    assert rates == pytest.approx([2e-3, 1e-3, 2e-4, 1e-4])
