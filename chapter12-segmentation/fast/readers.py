"""Processes that make batches, where threads would stand in the way of a GPU.

Python lets one thread run at a time. Sixteen threads that make pictures of 192x256 leave so little
to the one that hands steps to the GPU that an H100 was busy for 30 % of the time, at 6.5 s an epoch
of a thousand pictures. A process has an interpreter of its own.

This file is also the program of such a process: it is given data sets and then asked for batches.
"""

import atexit
import os
import pickle
import queue
import subprocess
import sys
import threading
from functools import lru_cache
from pathlib import Path

import numpy as np

if __name__ == "__main__":  # in place of this folder: the chapter's modules and `utils`
    sys.path[:1] = map(str, Path(__file__).resolve().parents[1:3])

from utils.errors import UserError


class Reader:
    """A process that makes batches of copies of data sets; one thread at a time may ask it.

    It ends when its input does, so also when this program is killed. A data set that is given to it
    is not expected to change, but for its `epoch`, which comes with each question.
    """

    def __init__(self):
        # It imports keras, for the class of the data set, and is to leave the GPU alone.
        environment = {**os.environ, "JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve())],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._known: list[object] = []  # data sets; kept, so that no other has their place

    def batch(self, data, epoch: int, index: int) -> tuple[np.ndarray, ...]:
        """`data.batch(epoch, index)`, made there, with the errors that it raises.

        Raises:
            UserError: the process has been ended.
        """
        number = next((n for n, known in enumerate(self._known) if known is data), None)
        try:
            if number is None:
                number = len(self._known)
                self._known.append(data)
                self._tell(pickle.dumps(data))  # in bytes: making it of them may fail there
            self._tell((number, epoch, index))
            answer = pickle.load(self._process.stdout)
            if isinstance(answer, Exception):
                raise answer
            arrays = tuple(np.empty(shape, dtype) for shape, dtype in answer)
            for array in arrays:
                self._fill(memoryview(array).cast("B"))
        except (EOFError, BrokenPipeError) as error:
            status = self._process.wait()
            raise UserError(
                f"a process that reads pictures was ended (status {status}), as when memory runs "
                "out; go on with --resume and half as many --workers."
            ) from error
        return arrays

    def _tell(self, message: object) -> None:
        pickle.dump(message, self._process.stdin)
        self._process.stdin.flush()

    def _fill(self, memory: memoryview) -> None:
        while memory:
            count = self._process.stdout.readinto(memory)
            if not count:
                raise EOFError
            memory = memory[count:]

    def close(self) -> None:
        """End the process, in the middle of a batch as well."""
        self._process.kill()
        self._process.communicate()


class Readers:
    """Processes that are started when they are needed, at most so many; any thread may ask."""

    def __init__(self, most: int):
        self._free: queue.LifoQueue[Reader] = queue.LifoQueue()
        self._lock, self._all, self._most = threading.Lock(), [], most
        atexit.register(self.close)

    def batch(self, data, epoch: int, index: int) -> tuple[np.ndarray, ...]:
        """See `Reader.batch`; waits for a process that has nothing to do."""
        reader = self._take()
        try:
            return reader.batch(data, epoch, index)
        finally:
            self._free.put(reader)

    def _take(self) -> Reader:
        with self._lock:
            if self._free.empty() and len(self._all) < self._most:
                self._all.append(Reader())
                return self._all[-1]
        return self._free.get()

    def close(self) -> None:
        """End them all."""
        for reader in self._all:
            reader.close()


@lru_cache(maxsize=1)
def readers(most: int) -> Readers:
    """The processes of this program; all data sets share them."""
    return Readers(most)


def _serve(questions, answers) -> None:
    """Answer until there is no more question."""
    data_sets = []
    while True:
        try:
            message = pickle.load(questions)
        except EOFError:
            return
        if isinstance(message, bytes):
            try:
                data_sets.append(pickle.loads(message))
            except Exception as error:  # its file is another by now
                data_sets.append(error)
            continue
        number, epoch, index = message
        try:
            if isinstance(data_sets[number], Exception):
                raise data_sets[number]
            arrays = [np.ascontiguousarray(a) for a in data_sets[number].batch(epoch, index)]
        except Exception as error:  # whatever it is, it is raised where the batch was asked for
            pickle.dump(error, answers)
        else:
            pickle.dump([(array.shape, array.dtype) for array in arrays], answers)
            for array in arrays:
                answers.write(memoryview(array).cast("B"))
        answers.flush()


if __name__ == "__main__":
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the whole group; the input ends, too
    _output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what anything prints is no answer
    _serve(sys.stdin.buffer, _output)
