"""A process among several: joins the others, and ends with a sentence when one of them is lost.

JAX's service sees when a process is gone. It then ends the others from within, with a page of log
that no `except` sees. So what was started only watches over a child, which does the work.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable

from utils.errors import UserError
from utils.errors import run as run_main

CHILD = "SEGMENTATION_WATCHED_BY"  # a variable: the process that watches over this one
WAIT = 300  # seconds until all have come
PULSE = 30  # seconds without a sign of life after which a process counts as lost
LOG = "SEGMENTATION_LOG"  # a variable: where JAX's own words go
# By which words of JAX, of its service and of what carries sums between processes, one is lost.
OF_OTHERS = (
    "coordinat",
    "heartbeat",
    "unavailable",
    "deadline",
    "connection",
    "peer",
    "gloo",
    "nccl",
)
LOST = (
    "another process of this training has ended, or cannot be reached; see what it said, and begin "
    "all of them again, with --resume where an epoch was finished."
)


def in_a_group(work: Callable[[], None]) -> None:
    """Do the work of one process of several, in a child; does not return.

    The child leaves at once when it fails: JAX would wait for the others, who wait for it.

    Args:
        work: prints nothing but what is meant for this process.
    """
    if os.environ.get(CHILD) != str(os.getppid()):
        sys.exit(_watch())
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    sys.stdout, sys.stderr = (os.fdopen(os.dup(place), "w", buffering=1) for place in (1, 2))
    log = os.open(os.environ[LOG], os.O_WRONLY | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    code = 0
    try:
        run_main(lambda: _told(work))
    except SystemExit as stop:
        code = stop.code
        if isinstance(code, str):
            print(code, file=sys.stderr)
            code = 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    if code:
        os._exit(code)


def _told(work: Callable[[], None]) -> None:
    """Work; what JAX says of a process that was lost becomes a sentence."""
    try:
        work()
    except Exception as error:
        if not _is_jaxs(error):
            raise
        raise UserError(_why(str(error))) from error


def _is_jaxs(error: Exception) -> bool:
    """Whether JAX's runtime failed: of what is computed by its shortest way it is a ValueError."""
    of_runtime = re.match("[A-Z_]+: ", str(error))  # the code of a status, as in "UNKNOWN: Gloo"
    return type(error).__name__ == "JaxRuntimeError" or bool(of_runtime)


def _why(text: str) -> str:
    """A sentence on what JAX said when it failed."""
    if not text.strip() or any(word in text.casefold() for word in OF_OTHERS):
        return LOST
    return f"JAX failed ({' '.join(text.split())[:300]}); a smaller --batch-size takes less memory."


def _watch() -> int:
    """Start the child, wait for its end, and say what became of it; returns a status."""
    with tempfile.NamedTemporaryFile() as log:
        variables = {**os.environ, CHILD: str(os.getpid()), LOG: log.name}
        child = subprocess.Popen([sys.executable, *sys.orig_argv[1:]], env=variables)
        signal.signal(signal.SIGTERM, lambda number, _: child.send_signal(number))
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to the child too
        status = child.wait()
        said = log.read()[-2000:].decode(errors="replace")
    if status == -signal.SIGABRT:
        print(f"error: {_why(said)}", file=sys.stderr)
        return 2
    if status < 0:
        name = signal.Signals(-status).name
        print(
            f"error: this process was ended from outside ({name}); begin all of them again, with "
            "--resume where an epoch was finished.",
            file=sys.stderr,
        )
        return 128 - status
    return status


def _end_with(parent: int) -> None:
    """Leave when who watches is gone."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def prepare(args: argparse.Namespace) -> None:
    """Let JAX, which has computed nothing yet, see the devices that `--distribute` means."""
    import jax

    if isinstance(args.distribute, int):  # of a processor there are as many devices as are wanted
        jax.config.update("jax_num_cpu_devices", args.distribute)
    if args.train and args.distribute == "multihost":
        join(args.coordinator, args.processes, args.process_id)


def join(coordinator: str | None, processes: int | None, process_id: int | None) -> None:
    """Meet the other processes, before JAX has computed anything.

    What is not given comes from SLURM's variables; the number of this process also from that of a
    pod of an indexed job of Kubernetes.

    Args:
        coordinator: "HOST:PORT" of process 0, which listens there.
        processes: how many there are.
        process_id: the number of this one, from 0.

    Raises:
        UserError: something is missing, or the others do not come.
    """
    import jax

    if process_id is None and "JOB_COMPLETION_INDEX" in os.environ:
        process_id = int(os.environ["JOB_COMPLETION_INDEX"])
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    # Who names the loopback is not to be reached from elsewhere: JAX would listen on all addresses.
    loopback = coordinator and coordinator.rsplit(":", 1)[0] in ("localhost", "127.0.0.1")
    try:
        jax.distributed.initialize(
            coordinator,
            processes,
            process_id,
            initialization_timeout=WAIT,
            heartbeat_timeout_seconds=PULSE,
            coordinator_bind_address=coordinator if loopback else None,
        )
    except Exception as error:  # of several kinds, by what is missing
        why = str(error).splitlines()[0]
        raise UserError(
            f"this process does not find the others ({why}); give each --coordinator HOST:PORT, "
            "--processes N and its own --process-id, from 0 to N - 1, or start them by srun."
        ) from error


def part_of(processes: int | None, process_id: int | None) -> tuple[int, int]:
    """Which part of some pictures is for this process, from 0, and how many parts there are.

    The processes need not meet for that. What is not given is found as by `join`.

    Raises:
        UserError: something is missing, or there are fewer parts.
    """
    values = os.environ
    if processes is None:
        processes = int(values.get("SLURM_NTASKS", 0))
    if process_id is None:
        process_id = int(values.get("SLURM_PROCID", values.get("JOB_COMPLETION_INDEX", -1)))
    if not 0 <= process_id < processes:
        raise UserError(
            f"this is process {process_id} of {processes}; give --processes N and --process-id, "
            "from 0 to N - 1, or start them by srun."
        )
    return process_id, processes
