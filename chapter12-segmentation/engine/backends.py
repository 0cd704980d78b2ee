"""Which of Keras' backends runs, and what to type when it misses the machine's GPU.

Nothing here imports keras or a backend: the choice comes before them.
"""

import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Set
from importlib.util import find_spec
from pathlib import Path

from utils.cores import cores
from utils.files import PROJECT

NAMES = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}  # in order of preference
CUDA = "JAX's CUDA"  # among the packages: what requirements/gpu.txt adds to JAX


def find_packages() -> set[str]:
    """Which of Keras' backends are installed, and `CUDA` if JAX has what an NVIDIA GPU needs."""
    packages = {backend for backend in NAMES if find_spec(backend)}
    if any(find_spec(f"jax_cuda{version}_plugin") for version in (12, 13)):
        packages.add(CUDA)
    return packages


def named_backend() -> str | None:
    """The backend that KERAS_BACKEND or else Keras' configuration names, or None.

    Keras writes a configuration with "tensorflow" when it is first imported, so that this one is
    nobody's choice.
    """
    if os.environ.get("KERAS_BACKEND"):
        return os.environ["KERAS_BACKEND"]
    folder = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser()
    try:
        backend = json.loads((folder / "keras.json").read_text()).get("backend")
    except (OSError, ValueError):
        return None
    return backend if backend != "tensorflow" else None


def choose_backend(named: str | None, packages: Set[str], nvidia: bool) -> str:
    """The backend to take: the one that is named, else JAX for a GPU, else the first installed.

    Who has installed JAX with CUDA wants it used: the GPU's figures of this project are JAX's.

    Args:
        named: from `named_backend`.
        packages: from `find_packages`.
        nvidia: from `has_nvidia`.
    """
    if named:
        return named
    if nvidia and {"jax", CUDA} <= packages:
        return "jax"
    return next((backend for backend in NAMES if backend in packages), "tensorflow")


def ask_for_onednn() -> None:
    """Have TensorFlow compute by oneDNN on an x86 CPU, unless TF_ENABLE_ONEDNN_OPTS has been set.

    By itself TensorFlow does so on Linux alone, with processors that have AVX512-VNNI, AVX-VNNI or
    AMX. It has to hear it before it is imported. A step of the preset quick, 8 pictures of 160x192,
    takes 4.4 s so, else 5.2 to 6.0 s; of the book's network with four of 128x160 2.8 s, else 3.1 to
    3.3 s (float32, two AVX2 cores, medians of two runs each in turns).

    Not with a single thread: there oneDNN for AVX2 writes beyond the end of its memory, in the
    gradient of strided 1x1 kernels whose input channels are no multiple of 8 (TensorFlow 2.21). Nor
    on ARM, where nothing was measured.
    """
    if platform.machine().lower() in ("x86_64", "amd64") and _threads() > 1:
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


def _threads() -> int:
    """How many threads TensorFlow gives an operation: those that it is told, or one for a core."""
    told = os.environ.get("TF_NUM_INTRAOP_THREADS", "")
    if told.isdecimal() and int(told) > 0:
        return int(told)
    return cores()


def has_nvidia(devices: Path = Path("/dev")) -> bool:
    """Whether this machine, or the container that runs this, has an NVIDIA GPU.

    The driver's devices tell it; /proc/driver/nvidia does not, since a container sees there the
    GPUs of its host. Windows, WSL and a driver that nobody has used yet have no such devices; the
    driver's own program answers there.
    """
    if any(devices.glob("nvidia[0-9]*")):
        return True
    program = shutil.which("nvidia-smi")
    if not program:
        return False
    try:
        answer = subprocess.run([program, "-L"], capture_output=True, timeout=2, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.stdout.startswith(b"GPU ")


def advise(
    backend: str,
    seen: bool,
    nvidia: bool,
    packages: Set[str],
    named: str | None = None,
    system: str | None = None,
) -> str | None:
    """What to do when the backend does not see an NVIDIA GPU that is there: a sentence, or None.

    Args:
        backend: the one that runs.
        seen: whether it sees a GPU.
        nvidia: from `has_nvidia`.
        packages: from `find_packages`.
        named: from `named_backend`.
        system: "Linux", "Windows"; this machine's if left out.
    """
    if seen or not nvidia:
        return None
    misses = f"{NAMES[backend]} does not see this machine's NVIDIA GPU"
    python = _shown(Path(sys.executable))
    if (system or platform.system()) == "Windows":
        return f"{misses}; run the project in WSL, where JAX with CUDA can be installed."
    if CUDA not in packages:
        requirements = _shown(PROJECT / "requirements" / "gpu.txt")
        then = ", and set KERAS_BACKEND=jax" if named not in (None, "jax") else ""
        return f"{misses}; type {python} -m pip install -r {requirements}{then}."
    if backend == "jax":
        return f"{misses}; {python} -c 'import jax; jax.devices()' says why."
    return f"{misses}, for which JAX is installed; set KERAS_BACKEND=jax."


def _shown(path: Path) -> str:
    """A path as one would type it where the program runs."""
    here = Path.cwd()
    return shlex.quote(str(path.relative_to(here) if path.is_relative_to(here) else path))
