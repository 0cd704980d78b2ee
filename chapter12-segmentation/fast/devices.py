"""What the machine offers: a GPU by name, and the precision that is fast on it."""

from pathlib import Path

import keras

import fast


def gpu_name() -> str | None:
    """The name of the first GPU that the backend sees, or None."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        if not gpus:
            return None
        return tf.config.experimental.get_device_details(gpus[0]).get("device_name", gpus[0].name)
    if backend == "jax":
        import jax

        devices = [device for device in jax.devices() if device.platform in ("gpu", "cuda", "rocm")]
        return devices[0].device_kind if devices else None
    import torch

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else None


def on_cpu() -> bool:
    """Whether the backend computes on the CPU, for want of a GPU or anything else."""
    if keras.backend.backend() == "jax":
        import jax

        return jax.default_backend() == "cpu"
    return gpu_name() is None


def gpu_memory() -> int | None:
    """Bytes of the first GPU that the backend may take; None without one, or untold.

    JAX takes 75 % of a GPU unless XLA_PYTHON_CLIENT_MEM_FRACTION says otherwise.
    """
    if keras.backend.backend() == "jax" and gpu_name():
        import jax

        return (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit")
    return None


def fast_precision() -> str:
    """ "bfloat16" where the processor computes in it faster than in float32, else "float32".

    GPUs since NVIDIA's Ampere have it. On a CPU TensorFlow uses the instructions (AMX or
    AVX512-BF16), and JAX for matrix products (AMX; the other was not measured), which the fast path
    makes of its convolutions. Only Linux tells of them in a file.
    """
    if not on_cpu():
        return "bfloat16" if _gpu_has_bfloat16() else "float32"
    information = Path("/proc/cpuinfo")
    flags = information.read_text() if information.is_file() else ""
    using = {"tensorflow": ("amx_bf16", "avx512_bf16"), "jax": ("amx_bf16",)}
    used = any(flag in flags for flag in using.get(keras.backend.backend(), ()))
    used &= fast.is_on() or keras.backend.backend() == "tensorflow"
    return "bfloat16" if used else "float32"


def _gpu_has_bfloat16() -> bool:
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        details = tf.config.experimental.get_device_details(
            tf.config.list_physical_devices("GPU")[0]
        )
        return details.get("compute_capability", (0, 0)) >= (8, 0)
    if keras.backend.backend() == "jax":
        import jax

        try:
            return float(getattr(jax.devices()[0], "compute_capability", 0)) >= 8.0
        except ValueError:  # AMD's have names in place of numbers
            return False
    import torch

    return torch.cuda.is_bf16_supported(including_emulation=False)
