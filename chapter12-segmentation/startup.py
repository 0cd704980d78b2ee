"""Importing keras without TensorFlow's greetings."""

import os
import sys
import tempfile


def import_keras() -> None:
    """Import keras and its backend; what they print to standard error is shown only on failure.

    TensorFlow's libraries greet with a dozen lines (no GPU here, oneDNN is on) before any setting
    can quiet them, in which the one line that matters would drown.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as hidden:
        os.dup2(hidden.fileno(), 2)
        try:
            import keras

            keras.ops.zeros(())  # the backend looks for a GPU when it is first used
        except BaseException:
            hidden.seek(0)
            os.write(kept, hidden.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
