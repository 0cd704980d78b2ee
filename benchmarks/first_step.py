"""Run a training program until its first step is done, then end.

python3 benchmarks/first_step.py fcn-12.3.1.py --train
"""

import os
import runpy
import sys
import threading
import time
from pathlib import Path


def end_after_first_step() -> None:
    """Wait until the program has imported Keras, then let Keras end it after the first step.

    On JAX a step is handed over and not waited for, but its loss is.

    Importing Keras here would be simpler, but how and when it is imported belongs to what is timed.
    """
    while not hasattr(sys.modules.get("keras.callbacks"), "CallbackList"):
        time.sleep(0.01)
    callbacks = sys.modules["keras.callbacks"].CallbackList

    def end(self, batch, logs):
        float(logs["loss"])
        os._exit(0)

    callbacks.on_train_batch_end = end


if __name__ == "__main__":
    threading.Thread(target=end_after_first_step, daemon=True).start()
    program = sys.argv[1]
    sys.argv = sys.argv[1:]
    sys.path[0] = str(Path(program).resolve().parent)
    runpy.run_path(program, run_name="__main__")
    sys.exit("the program ended without a training step")
