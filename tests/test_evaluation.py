"""One way from a network to its answer; scores by it are those of the training loop."""

from functools import cache, partial

import keras
import numpy as np
import pytest
from conftest import (
    disturbed,
    make_labels,
    make_picture,
    make_store,
    tiny_fcn,
    write_store,
)
from PIL import Image

import evaluation
from data_generator import DataGenerator
from evaluation import (
    answer,
    by_rows,
    class_ids,
    confusion_matrices,
    evaluate,
    in_batches,
    pictures_of_store,
    segment_batch,
    segment_objects,
)
from metrics import class_maps, resize_bilinear
from utils.errors import UserError
from utils.label_maps.store import open_labels
from utils.pictures import grey, resize_picture


@cache
def network(channels=3):
    """A network whose answers are not nearly uniform."""
    return disturbed(tiny_fcn(channels=channels, seed=0))


def noise(size, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)


# `answer`


@pytest.mark.parametrize("size", [(32, 48), (40, 33), (17, 90)])
@pytest.mark.parametrize("asked", [None, (20, 30), (64, 65)])
def test_an_answer_has_the_size_that_is_asked_for(size, asked):
    model, picture = network(), noise(size)
    probabilities = answer(model, [picture], asked)[0]
    assert tuple(probabilities.shape) == (*(asked or size), 3)
    assert keras.backend.standardize_dtype(probabilities.dtype) == "float32"
    assert keras.ops.is_tensor(probabilities), "answers stay on the device"
    straight = model.predict_on_batch(resize_picture(picture, (32, 48))[None])
    expected = keras.ops.convert_to_numpy(resize_bilinear(straight, asked or size))[0]
    probabilities = keras.ops.convert_to_numpy(probabilities)
    np.testing.assert_allclose(probabilities, expected, atol=1e-6)
    np.testing.assert_allclose(probabilities.sum(-1), 1, atol=1e-5)


def test_a_network_of_one_channel_sees_grey():
    model, picture = network(1), noise((32, 48))
    expected = model.predict_on_batch(grey(picture)[None])[0]
    for given in (picture, grey(picture)):
        probabilities = keras.ops.convert_to_numpy(answer(model, [given])[0])
        np.testing.assert_allclose(probabilities, expected, atol=1e-6)


def test_of_several_outputs_the_first_is_the_answer():
    model, picture = network(), noise((32, 48))
    several = keras.Model(model.input, [model.output, 1 - model.output])
    one, other = (keras.ops.convert_to_numpy(answer(m, [picture])) for m in (model, several))
    np.testing.assert_array_equal(one, other)


@pytest.mark.usefixtures("mixed_bfloat16")
def test_an_answer_in_bfloat16_is_float32():
    probabilities = answer(tiny_fcn(), [noise((32, 48))])
    assert keras.backend.standardize_dtype(probabilities.dtype) == "float32"


# `segment_objects`


@pytest.mark.parametrize("size", [None, (20, 30)])
def test_the_class_of_a_pixel_is_the_most_probable(size):
    ask, picture = partial(answer, network()), noise((40, 33))
    predicted = segment_objects(ask, picture, size)
    assert predicted.shape == (size or (40, 33)) and predicted.dtype == np.uint8
    probabilities = keras.ops.convert_to_numpy(ask([picture], size)[0])
    np.testing.assert_array_equal(predicted, probabilities.argmax(-1))
    assert len(np.unique(predicted)) > 1


def test_any_function_may_answer():
    def ask(pictures, size=None):
        asked.append(size)
        right = np.mgrid[:4, :6][1] >= 3
        answer = np.stack([~right, np.zeros_like(right), right], -1).astype("float32")
        return np.stack([answer] * len(pictures))

    asked = []
    expected = [[0, 0, 0, 2, 2, 2]] * 4
    assert segment_objects(ask, noise((4, 6))).tolist() == expected
    assert segment_objects(ask, noise((8, 8)), (4, 6)).tolist() == expected
    assert asked == [None, (4, 6)]


def test_pictures_may_be_floats_as_in_the_chapter():
    ask, picture = partial(answer, network()), noise((32, 48))
    expected = segment_objects(ask, picture)
    for dtype in (np.float32, np.float64):
        np.testing.assert_array_equal(segment_objects(ask, picture / dtype(255)), expected)


@pytest.mark.parametrize(
    ("picture", "complaint"),
    [
        (np.zeros((4, 6), np.uint8), r"shape \(4, 6\)"),
        (np.zeros((1, 4, 6, 3), np.uint8), r"shape \(1, 4, 6, 3\)"),
        (np.full((4, 6, 3), 255.0), "floats from 255 to 255"),
        (np.full((4, 6, 3), -0.1), "floats from -0.1"),
        (np.full((4, 6, 3), np.nan), "floats from nan"),
    ],
)
def test_what_is_no_picture_is_refused(picture, complaint):
    with pytest.raises(UserError, match=complaint):
        segment_objects(None, picture)


@pytest.mark.parametrize(("gpu", "expected"), [("a GPU", [3, 1, 4, 1]), (None, [1] * 9)])
def test_neighbours_of_one_size_are_answered_together(gpu, expected, monkeypatch):
    monkeypatch.setattr(evaluation, "gpu_name", lambda: gpu)
    sizes = [(4, 6)] * 3 + [(6, 4)] + [(4, 6)] * 5
    batches = list(in_batches(enumerate(sizes), lambda entry: entry[1]))
    assert [len(batch) for batch, _ in batches] == expected
    assert [entry for batch, _ in batches for entry in batch] == list(enumerate(sizes))
    assert all(entry[1] == size for batch, size in batches for entry in batch)


def test_what_is_large_together_is_answered_one_by_one(monkeypatch):
    monkeypatch.setattr(evaluation, "gpu_name", lambda: "a GPU")
    sizes = {(2048, 2048): [4, 1], (2048, 4096): [2, 2, 1], (6000, 4000): [1, 1, 1, 1, 1]}
    for size, expected in sizes.items():
        batches = in_batches(enumerate([size] * 5), lambda entry: entry[1])
        assert [len(batch) for batch, _ in batches] == expected


@pytest.mark.parametrize("gpu", [None, "a GPU"])
def test_class_ids_alone_leave_the_device(gpu, monkeypatch):
    """As bytes; of a GPU all at once."""
    brought, bring = [], keras.ops.convert_to_numpy
    monkeypatch.setattr(evaluation, "BAND", 24 * 32)
    monkeypatch.setattr(evaluation, "gpu_name", lambda: gpu)
    monkeypatch.setattr(evaluation.ops, "convert_to_numpy", lambda x: brought.append(x) or bring(x))
    segment_batch(partial(answer, network()), [noise((24, 32), seed) for seed in range(3)])
    assert {keras.backend.standardize_dtype(each.dtype) for each in brought} == {"uint8"}
    assert len(brought) == (1 if gpu else 3)


def test_together_or_one_by_one():
    pictures = [noise((24, 32), seed) for seed in range(3)]
    ask = partial(answer, network())
    together = segment_batch(ask, pictures)
    assert together.shape == (3, 24, 32) and together.dtype == np.uint8
    for picture, labels in zip(pictures, together, strict=True):
        np.testing.assert_array_equal(segment_objects(ask, picture), labels)


@pytest.mark.parametrize("band", [1, 7 * 20, 7 * 20 * 3, 7 * 20 * 11])
def test_large_maps_are_classified_by_rows(band, monkeypatch):
    maps = np.random.default_rng(0).random((2, 11, 10, 3), np.float32)
    maps = np.concatenate([maps, maps[:, :, ::-1] / 2], axis=2)[:, :, :19]  # (2, 11, 19, 3)
    monkeypatch.setattr(evaluation, "BAND", band)
    found = by_rows(class_ids, keras.ops.convert_to_tensor(maps))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, maps.argmax(-1))


# `evaluate`


def stores(folder):
    """Data sets whose maps have the sizes of their pictures, larger and smaller ones."""
    sizes = [(24, 32), (24, 32), (31, 47), (48, 64), (33, 50)]
    pictures = {f"{number}.png": make_picture(number, size) for number, size in enumerate(sizes)}
    for name, factor in (("as large", 1), ("larger", 2), ("smaller", 0.5)):
        maps = [
            make_labels(number, tuple(round(factor * side) for side in size))
            for number, size in enumerate(sizes)
        ]
        (folder / name).mkdir()
        yield write_store(folder / name, pictures, maps)


@pytest.mark.parametrize(("channels", "gpu"), [(3, None), (1, "a GPU")])
def test_the_scores_of_evaluate_are_those_of_the_training_loop(
    tmp_path, channels, gpu, monkeypatch
):
    model = network(channels)
    for store in stores(tmp_path):
        options = {"size": (32, 48), "channels": channels, "label_size": "original"}
        loop = confusion_matrices(model, DataGenerator(store, batch_size=2, **options))
        monkeypatch.setattr(evaluation, "gpu_name", lambda: gpu)
        matrices = evaluate(partial(answer, model), store, workers=2, channels=channels)
        assert matrices.dtype == loop.dtype == np.int64
        np.testing.assert_array_equal(matrices, loop)
        counted = [(store[key] != 255).sum() for key in store.keys]
        assert matrices.sum((1, 2)).tolist() == counted
        assert (matrices.sum((0, 1)) > 0).sum() > 1, "more than one class must be predicted"


def test_masks_are_what_is_scored(store):
    ask = partial(answer, network())
    for matrix, (_, picture, truth) in zip(
        evaluate(ask, store), pictures_of_store(store), strict=True
    ):
        predicted = segment_objects(ask, picture, truth.shape)
        for true in range(3):
            counts = np.bincount(predicted[truth == true], minlength=3)
            assert matrix[true].tolist() == counts.tolist()


@pytest.mark.parametrize("workers", [1, 3])
def test_pictures_of_a_store_come_in_its_order(tmp_path, workers, plain):
    store = make_store(tmp_path, [(24, 32), (31, 47), (20, 60)] * 3)
    for way in (lambda: None, plain):
        way()
        entries = list(pictures_of_store(store, workers))
        assert [key for key, *_ in entries] == store.keys
        for number, (_, picture, truth) in enumerate(entries):
            np.testing.assert_array_equal(picture, make_picture(number, picture.shape[:2]))
            np.testing.assert_array_equal(truth, make_labels(number, truth.shape))


def test_a_picture_that_cannot_be_read_is_named(store):
    (store.folder / "5.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match="5.png"):
        evaluate(partial(answer, network()), store, workers=2)


def test_class_maps_of_one_answer():
    """`segment_objects` hands one answer over, not a batch."""
    probabilities = np.random.default_rng(0).random((5, 7, 3)).astype("float32")
    maps = keras.ops.convert_to_numpy(class_maps(probabilities))
    np.testing.assert_array_equal(maps, probabilities.argmax(-1))


@pytest.mark.parametrize("channels", [1, 4])
def test_a_picture_of_other_channels_than_the_network_is_refused(channels):
    with pytest.raises(UserError, match=f"{channels} channels is nothing to a network of 3"):
        segment_objects(partial(answer, network()), np.zeros((32, 48, channels), np.uint8))


def test_a_set_without_pictures_cannot_be_scored(tmp_path):
    store = write_store(tmp_path, {}, [])
    with pytest.raises(UserError, match="no picture to score"):
        evaluate(partial(answer, network()), store)


@pytest.mark.parametrize("size", [(32, 24), None])
def test_a_picture_that_no_longer_fits_its_map_is_named_before_anything_is_scored(store, size):
    """Turned by another program, or gone: scored as it is, each would say nothing."""
    path, asked = store.picture_path(store.keys[-1]), []
    path.unlink()
    if size:
        Image.fromarray(make_picture(6, size)).save(path)

    def ask(pictures, size=None):
        asked.append(size)
        return answer(network(), pictures, size)

    with pytest.raises(UserError, match=path.name):
        evaluate(ask, open_labels(store.folder / "labels.npy"))
    assert not asked
