"""The switch of the fast path: what computes the same numbers as stock Keras in less time.

It holds for `layers`, `adam.adam`, `engine.muon.Muon`, `feed.feed` and the folding of evaluation.
`--plain` turns it off, to compare, or to rule it out as a cause; whether oneDNN computes is then
TensorFlow's choice (`engine.backends.ask_for_onednn`).
"""

import keras

_state = {"on": True}


def is_on() -> bool:
    """Whether the fast path is taken where there is one; True unless `turn` said otherwise."""
    return _state["on"]


def on_tensorflow() -> bool:
    """Whether what is fast by TensorFlow's own operations is to be taken."""
    return is_on() and keras.backend.backend() == "tensorflow"


def on_jax() -> bool:
    """Whether what is fast by JAX's own operations is to be taken."""
    return is_on() and keras.backend.backend() == "jax"


def turn(on: bool) -> None:
    """Take the fast path from now on, or the plain one; networks traced before keep theirs."""
    _state["on"] = on
