"""What a run tells while it goes on."""

from types import SimpleNamespace

import pytest

from engine import reporting


@pytest.mark.parametrize(
    ("grow", "done", "expected"),
    [
        (False, 0, "1.00 s a step of training: about 2 min to the end, scoring"),
        (False, 4, "1.00 s a step of training: about 60 s to the end, scoring"),
        # 4 epochs of 64x96, 3 of 96x128 and 3 of 160x192: in epochs of 64x96 4 + 6 + 15.
        (True, 0, "1.00 s a step of training: about 4 min to the end, at all sizes, scoring"),
        (True, 7, "1.00 s a step of training: about 30 s to the end, scoring"),
    ],
)
def test_the_estimate_counts_all_sizes_that_are_to_come(monkeypatch, capsys, grow, done, expected):
    run = {"size": [160, 192], "epochs": 10, "schedule_epochs": 10, "grow": grow}
    ledger = SimpleNamespace(rows=[None] * done, configuration={"run": run})
    progress = reporting.Progress(ledger)
    progress.set_params({"steps": 10, "epochs": 10})
    clock = iter(range(100))
    monkeypatch.setattr(reporting.time, "perf_counter", lambda: next(clock))
    for batch in range(reporting.FIRST_STEPS):
        progress.on_train_batch_end(batch, {"loss": 1.0})
    assert expected in capsys.readouterr().out


def test_the_seconds_of_epochs_leave_nothing_out(monkeypatch):
    """Not the time in which the files of the epoch before were written, either."""
    clock, seconds = [0.0], []
    monkeypatch.setattr(reporting.time, "perf_counter", lambda: clock[0])

    def record(model, epoch, logs):
        seconds.append(logs["seconds"])
        clock[0] += 2

    recorder = reporting.Recorder(SimpleNamespace(record=record))
    recorder.set_model(None)
    recorder.on_train_begin()
    for epoch in range(3):
        recorder.on_epoch_begin(epoch)
        clock[0] += 10
        recorder.on_epoch_end(epoch, {})
    assert seconds == [10, 12, 12]
