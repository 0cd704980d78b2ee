"""How batches reach `fit` without a pause between epochs."""

import keras

import fast


def feed(data: keras.utils.PyDataset) -> tuple[object, list[keras.callbacks.Callback]]:
    """What to give to `fit` in place of `data`, and the callbacks that go with it.

    On TensorFlow, Keras reads a `PyDataset` through `tf.data` with automatic tuning, and deletes
    the reader after every epoch. With TensorFlow 2.21 that deletion often waits, both cores idle,
    for about as long as the epoch took: 11 of 24 epochs of 2 s paused for 2.4 s, and of 36 without
    tuning none; four of 13 epochs of the quick preset took 37 s more than their neighbours. `data`
    reads ahead by itself, so there is nothing to tune. Other backends, and `--plain`, take Keras'
    way; tests hold both to the same order of batches.

    Args:
        data: batches (x, y) of arrays, of equal shapes but for the number of pictures. As by Keras,
            its `on_epoch_begin` and `on_epoch_end` are called.

    Returns:
        What `fit` takes as `x`, and a list of callbacks for `fit`.
    """
    if not fast.on_tensorflow():
        return data, []
    import tensorflow as tf

    def batches():
        return (data[index] for index in range(len(data)))

    signature = tuple(tf.TensorSpec((None, *part.shape[1:]), part.dtype) for part in data[0])
    stream = tf.data.Dataset.from_generator(batches, output_signature=signature)
    stream = stream.apply(tf.data.experimental.assert_cardinality(len(data))).prefetch(2)
    options = tf.data.Options()
    options.autotune.enabled = False
    epochs = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: data.on_epoch_begin(),
        on_epoch_end=lambda epoch, logs: data.on_epoch_end(),
    )
    return stream.with_options(options), [epochs]
