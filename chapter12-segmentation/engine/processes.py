"""A process among several: joins the others, and ends with a sentence when one of them is lost.

JAX's service sees when a process is gone. It then ends the others from within, with a page of log
that no `except` sees. So what was started only watches over a child, which does the work.
"""

import argparse
import errno
import ipaddress
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial

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

    if process_id is None:
        process_id = _number("JOB_COMPLETION_INDEX")
    loopback = False
    if coordinator:
        host, port = _host_and_port(coordinator)
        # Who names the loopback is not to be reached from elsewhere: JAX would listen everywhere.
        loopback = _is_loopback(host)
        if process_id == 0:
            _check_free(host if loopback else "", port)
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    if loopback:
        _keep_sums_on_the_loopback()
    known = (
        coordinator and processes and process_id is not None and "SLURM_JOB_ID" not in os.environ
    )
    try:
        jax.distributed.initialize(
            coordinator,
            processes,
            process_id,
            initialization_timeout=WAIT,
            heartbeat_timeout_seconds=PULSE,
            coordinator_bind_address=coordinator if loopback else None,
            # Nothing is left to be found out, as by asking Kubernetes, for which one needs rights.
            cluster_detection_method="deactivate" if known else None,
        )
    except Exception as error:  # of several kinds, by what is missing
        why = str(error).splitlines()[0]
        raise UserError(
            f"this process does not find the others ({why}); give each --coordinator HOST:PORT, "
            "--processes N and its own --process-id, from 0 to N - 1, or start them by srun."
        ) from error


def _number(name: str) -> int | None:
    """The number in a variable of the environment; None where there is no such variable.

    Raises:
        UserError: it holds something else.
    """
    text = os.environ.get(name)
    if text is None or text.isascii() and text.isdecimal():
        return None if text is None else int(text)
    raise UserError(
        f"the variable {name} is {text!r}, not a number; give --processes N and --process-id I."
    )


def _host_and_port(coordinator: str) -> tuple[str, int]:
    """The two parts of "HOST:PORT", an IPv6 address in brackets.

    Raises:
        UserError: it is none.
    """
    host, _, port = coordinator.rpartition(":")
    if not host or not (port.isascii() and port.isdecimal() and 0 < int(port[:6]) < 2**16):
        raise UserError(
            f"--coordinator {coordinator} is no HOST:PORT; give the name of the machine of process "
            "0 and a free port from 1 to 65535, as node1:5611."
        )
    return host.strip("[]"), int(port)


def _is_loopback(host: str) -> bool:
    """Whether nobody else reaches a host of this name."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _keep_sums_on_the_loopback() -> None:
    """Let gloo listen there: it takes the address of the machine's name, and JAX has no setting."""
    from jaxlib import _jax

    make = getattr(_jax, "make_gloo_tcp_collectives", None)
    if make:
        _jax.make_gloo_tcp_collectives = partial(make, hostname="127.0.0.1")


def _check_free(host: str, port: int) -> None:
    """Refuse a port on which another training waits: JAX would share it, and mix the two.

    Raises:
        UserError: something listens there.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what has ended is no matter
        try:
            one.bind((host, port))
            one.listen()
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise UserError(
                    f"port {port} is in use, as by another training; give another --coordinator "
                    "HOST:PORT to all processes."
                ) from error


def part_of(processes: int | None, process_id: int | None) -> tuple[int, int]:
    """Which part of some pictures is for this process, from 0, and how many parts there are.

    The processes need not meet for that. What is not given is found as by `join`.

    Raises:
        UserError: something is missing, or there are fewer parts.
    """
    if processes is None:
        processes = _number("SLURM_NTASKS") or 0
    for name in ("SLURM_PROCID", "JOB_COMPLETION_INDEX"):
        process_id = _number(name) if process_id is None else process_id
    process_id = -1 if process_id is None else process_id
    if not 0 <= process_id < processes:
        raise UserError(
            f"this is process {process_id} of {processes}; give --processes N and --process-id, "
            "from 0 to N - 1, or start them by srun."
        )
    return process_id, processes
