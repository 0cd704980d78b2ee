"""Errors that a user can cause and cure."""

import errno
import sys
import unicodedata
from collections.abc import Callable

MOST_SHOWN = 1200  # characters of a sentence
# Kinds of characters that a terminal obeys or that break a line, and halves of characters.
UNSHOWN = ("Cc", "Cs", "Zl", "Zp")


class UserError(Exception):
    """Bad input; its text is one sentence that names the file, the value and the cure.

    Values come from files, whoever made them: what is too long to be read is cut in the middle,
    and line breaks and what else is not to be seen are written as in Python's texts.
    """

    def __init__(self, sentence: str):
        if len(sentence) > MOST_SHOWN:
            sentence = f"{sentence[: MOST_SHOWN - 400]} … {sentence[-400:]}"
        sentence = "".join(
            repr(each)[1:-1] if unicodedata.category(each) in UNSHOWN else each for each in sentence
        )
        super().__init__(sentence)


def run(main: Callable[[], None]) -> None:
    """Run a script's `main`; print a `UserError` as one line and exit with status 2."""
    try:
        main()
    except UserError as error:
        _stop(error)
    except PermissionError as error:
        place = f"{error.filename} cannot be used ({error.strerror})"
        _stop(UserError(f"{place}; change its rights or choose another place."))
    except BrokenPipeError:  # the reader of our output went away, as in `... | head`
        sys.stderr.close()
        sys.exit(1)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise
        place = f"{error.filename or 'a file'} cannot be written ({error.strerror})"
        _stop(UserError(f"{place}; make room or choose another place."))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)  # what a shell reports for Ctrl-C


def _stop(error: UserError) -> None:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)
