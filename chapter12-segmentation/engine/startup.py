"""Importing keras without TensorFlow's greetings."""

import os
import sys
import tempfile

from utils.errors import UserError


def import_keras() -> None:
    """Import keras and its backend, and drop what they print to standard error.

    TensorFlow's libraries greet with a dozen lines (no GPU here, oneDNN is on) before any setting
    can quiet them, in which the one line that matters would drown.

    Raises:
        UserError: keras or the backend that KERAS_BACKEND names is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as hidden:
        os.dup2(hidden.fileno(), 2)
        try:
            import keras

            keras.ops.zeros(())  # the backend looks for a GPU when it is first used
        except (ImportError, ValueError) as error:
            backend = os.environ.get("KERAS_BACKEND", "tensorflow")
            raise UserError(
                f"Keras cannot start with KERAS_BACKEND={backend} ({error}); install it, or choose "
                "tensorflow, jax or torch."
            ) from error
        finally:
            os.dup2(kept, 2)
            os.close(kept)
