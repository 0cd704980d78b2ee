"""Sentences for people stay readable, whatever a file holds."""

import pytest

from utils.errors import MOST_SHOWN, UserError, run


def test_a_sentence_with_an_endless_value_keeps_its_beginning_and_its_end():
    text = str(UserError(f"x.json holds {'9' * 100_000}; write a number in its place."))
    assert len(text) < MOST_SHOWN + 10
    assert text.startswith("x.json holds 999") and text.endswith("write a number in its place.")
    assert str(UserError("short.")) == "short."


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[2Jb", "a\u2028b", "a\udc80b"])
def test_a_sentence_is_one_line_whatever_a_file_is_called(name, capsys):
    """Nor does a name command the terminal."""

    def main():
        raise UserError(f"{name} is missing, as is café \u200d\xa0.png.")

    with pytest.raises(SystemExit):
        run(main)
    shown = (
        f"a{name[1:-1].encode('unicode_escape').decode()}b is missing, as is café \u200d\xa0.png."
    )
    assert capsys.readouterr().err == f"error: {shown}\n"
