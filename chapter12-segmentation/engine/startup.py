"""Importing keras with the backend that fits, and without TensorFlow's greetings."""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from engine.backends import (
    CUDA,
    ask_for_onednn,
    choose_backend,
    find_packages,
    has_nvidia,
    named_backend,
)
from engine.processes import prepare
from utils.errors import UserError


def import_keras(args: argparse.Namespace | None = None) -> None:
    """Import keras and its backend, and drop what they print to standard error.

    The backend is that of `choose_backend`, unless keras has been imported already.

    TensorFlow's libraries greet with a dozen lines (no GPU here, oneDNN is on) before any setting
    can quiet them, in which the one line that matters would drown.

    Args:
        args: of the command line, whose --distribute has to be heard before the backend is used,
            and whose --plain leaves oneDNN to TensorFlow.

    Raises:
        UserError: keras or the backend is not installed.
    """
    if "keras" not in sys.modules:
        packages = find_packages()
        nvidia = CUDA in packages and has_nvidia()  # asking takes up to two seconds
        backend = choose_backend(named_backend(), packages, nvidia)
        if backend != "tensorflow":  # which Keras takes by itself
            os.environ["KERAS_BACKEND"] = backend
        if nvidia:  # XLA takes up to a minute for a step; the next run finds it here
            os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path.home() / ".cache" / "jax"))
    if not getattr(args, "plain", False):
        ask_for_onednn()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as hidden:
        os.dup2(hidden.fileno(), 2)
        try:
            import keras

            from fast.allocation import keep_memory

            keep_memory()
            if args and args.distribute and keras.backend.backend() == "jax":
                prepare(args)
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
