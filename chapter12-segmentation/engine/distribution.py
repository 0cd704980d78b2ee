"""One training on several devices, of one machine or of many: `--distribute`.

On JAX, by `keras.distribution.DataParallel`: each device has all weights and its part of a batch,
and XLA computes sums over the whole batch. So losses, statistics of batch normalisation and
gradients are those of one device with the same batch. TensorFlow's MirroredStrategy gives each
device a loss of its own, the mean over its own pixels; where some are void, the mean of such means
is another loss.
"""

import hashlib
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import keras
import numpy as np

from utils.errors import UserError


def spread(distribute: str | int, batch_size: int) -> int:
    """Train from now on with all devices, or with so many; returns how many they are.

    Args:
        distribute: "none", "auto" or "multihost" (all that there are), or a number of devices.
        batch_size: pictures of a step, of all devices together.

    Raises:
        UserError: this backend or machine cannot, or a batch cannot be divided.
    """
    if distribute == "none":
        return 1
    if keras.backend.backend() != "jax":
        raise UserError(
            f"--distribute {distribute} needs JAX; install it (python3 -m pip install jax, for a "
            "GPU -r requirements/gpu.txt) and set KERAS_BACKEND=jax."
        )
    devices = keras.distribution.list_devices()
    if isinstance(distribute, int):
        if distribute > len(devices):
            raise UserError(
                f"--distribute {distribute}, and there are {len(devices)} devices; give as many "
                "or fewer, or auto."
            )
        devices = devices[:distribute]
    if distribute == "multihost":
        _check_equal_numbers()
    if batch_size % len(devices):
        fitting = -(-batch_size // len(devices)) * len(devices)
        fewer = max(n for n in range(1, len(devices)) if batch_size % n == 0)
        other = f"--distribute {fewer}" if distribute != "multihost" else "fewer processes"
        raise UserError(
            f"--batch-size {batch_size} cannot be divided among {len(devices)} devices; give "
            f"--batch-size {fitting}, or, as to a run that is resumed, {other}."
        )
    if len(devices) > 1:
        parallel = keras.distribution.DataParallel(devices=devices, auto_shard_dataset=False)
        keras.distribution.set_distribution(parallel)
    return len(devices)


def _check_equal_numbers() -> None:
    """Refuse processes of which one has more devices than another.

    Raises:
        UserError: says how many each has.
    """
    import jax

    of_each = Counter(device.process_index for device in jax.devices())
    if len(set(of_each.values())) > 1:
        counts = ", ".join(f"process {index} has {n}" for index, n in sorted(of_each.items()))
        raise UserError(
            f"the machines have different numbers of devices ({counts}), and each process takes an "
            "equal share of a batch; let each see as many, as by CUDA_VISIBLE_DEVICES."
        )


@contextmanager
def undivided() -> Iterator[None]:
    """Make variables on this process' device alone, whatever the training is spread over.

    Those of all devices are made by all processes together, and wait for them.
    """
    spread_over = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(spread_over)


def agree(given: Mapping[str, object]) -> None:
    """See to it that all processes were given the same: else they would compute something else.

    Args:
        given: by name, as JSON can have it.

    Raises:
        UserError: says what is not the same; on all processes.
    """
    from jax.experimental.multihost_utils import process_allgather

    texts = [json.dumps(value, sort_keys=True, default=str) for value in given.values()]
    digests = [hashlib.sha256(text.encode()).digest() for text in texts]
    mine = np.array([int.from_bytes(digest[:4], "big") for digest in digests], np.uint32)
    same = (np.asarray(process_allgather(mine)) == mine).all(axis=0)
    others = [name for name, each in zip(given, same, strict=True) if not each]
    if not all(same):
        raise UserError(
            f"the processes of this training were given another {' and '.join(others)} each; give "
            "all of them the same."
        )


def place() -> tuple[int, int]:
    """The number of this process, from 0, and how many there are."""
    if keras.backend.backend() != "jax":
        return 0, 1
    import jax

    return jax.process_index(), jax.process_count()


def is_first() -> bool:
    """Whether this process writes and speaks for all."""
    return place()[0] == 0


def hush_others() -> None:
    """Let the first process alone print what all would."""
    if not is_first():
        sys.stdout = open(os.devnull, "w", encoding="utf-8")


def wait_for_all(what: str) -> None:
    """Return when every process is here."""
    if place()[1] > 1:
        from jax.experimental.multihost_utils import sync_global_devices

        sync_global_devices(what)


def own_share(items: Sequence) -> Sequence:
    """Which of some pictures this process scores; the others' shares are `gathered`."""
    index, number = place()
    return items if number == 1 else items[index::number]


def gathered(matrices: np.ndarray, count: int) -> np.ndarray:
    """The confusion matrices of all processes, in the order of the pictures.

    Args:
        matrices: (n, C, C) of `own_share` of the pictures.
        count: of all pictures.

    Returns:
        (count, C, C) int64.
    """
    number = place()[1]
    if number == 1:
        return matrices
    from jax.experimental.multihost_utils import process_allgather

    most = -(-count // number)
    filled = np.zeros((most, *matrices.shape[1:]), np.int32)  # pixels of a picture
    filled[: len(matrices)] = matrices
    together = np.asarray(process_allgather(filled))  # (number, most, C, C)
    return together.swapaxes(0, 1).reshape(-1, *matrices.shape[1:])[:count].astype(np.int64)
