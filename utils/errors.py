"""Errors that a user can cause and cure."""

import errno
import sys
from collections.abc import Callable

MOST_SHOWN = 1200  # characters of a sentence


class UserError(Exception):
    """Bad input; its text is one sentence that names the file, the value and the cure.

    Values come from files, whoever made them: what is too long to be read is cut in the middle.
    """

    def __init__(self, sentence: str):
        if len(sentence) > MOST_SHOWN:
            sentence = f"{sentence[: MOST_SHOWN - 400]} … {sentence[-400:]}"
        super().__init__(sentence)


def run(main: Callable[[], None]) -> None:
    """Run a script's `main`; print a `UserError` as one line and exit with status 2."""
    try:
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except PermissionError as error:
        print(
            f"error: {error.filename} cannot be used ({error.strerror}); change its rights or "
            "choose another place.",
            file=sys.stderr,
        )
        sys.exit(2)
    except BrokenPipeError:  # the reader of our output went away, as in `... | head`
        sys.stderr.close()
        sys.exit(1)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise
        print(
            f"error: {error.filename or 'a file'} cannot be written ({error.strerror}); make room "
            "or choose another place.",
            file=sys.stderr,
        )
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)  # what a shell reports for Ctrl-C
