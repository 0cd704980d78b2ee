"""Sentences for people stay readable, whatever a file holds."""

from utils.errors import MOST_SHOWN, UserError


def test_a_sentence_with_an_endless_value_keeps_its_beginning_and_its_end():
    text = str(UserError(f"x.json holds {'9' * 100_000}; write a number in its place."))
    assert len(text) < MOST_SHOWN + 10
    assert text.startswith("x.json holds 999") and text.endswith("write a number in its place.")
    assert str(UserError("short.")) == "short."
