"""A pipeline of albumentations from its file: applied to picture and labels, and only data."""

import json
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import augmentation_file
from augmentation_file import read_pipeline
from data_generator import DataGenerator, augmentation_of
from utils.classes import VOID
from utils.errors import UserError


@pytest.fixture
def library(monkeypatch):
    """albumentations, where it is installed."""
    monkeypatch.setenv("NO_ALBUMENTATIONS_UPDATE", "1")
    return pytest.importorskip("albumentations")


@pytest.fixture
def saved(library, tmp_path):
    """A function that saves a pipeline of transforms and returns the name of the file."""

    def save(*transforms, kind="json"):
        path = tmp_path / f"pipeline.{kind}"
        library.save(library.Compose(list(transforms)), path, data_format=kind)
        return str(path)

    return save


def example(size=(40, 60), channels=3):
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, size).astype(np.uint8)
    return random.integers(0, 256, (*size, channels), np.uint8), labels


def applied(name, picture, labels, size=(40, 60), seed=0):
    return read_pipeline(name)(picture, labels, np.random.default_rng(seed), size)


@pytest.mark.parametrize("kind", ["json", "yaml"])
def test_picture_and_labels_go_through_it(library, saved, kind):
    picture, labels = example()
    name = saved(library.HorizontalFlip(p=1), kind=kind)
    seen, moved = applied(name, picture, labels)
    assert np.array_equal(seen, picture[:, ::-1]) and np.array_equal(moved, labels[:, ::-1])


def test_random_numbers_are_those_that_are_given(library, saved):
    """Also where threads share a pipeline, and in the copy that a process has."""
    picture, labels = example()
    nested = library.OneOf([library.GaussNoise(p=1), library.RandomBrightnessContrast(p=1)], p=0.9)
    pipeline = read_pipeline(saved(library.D4(p=1), nested, library.Affine(rotate=(-45, 45), p=1)))
    copy = pickle.loads(pickle.dumps(pipeline))

    def at(seed, which=pipeline):
        return which(picture, labels, np.random.default_rng(seed), (40, 60))

    alone = [at(seed) for seed in range(16)]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(at, [*range(16)] * 3))
    for number, (seen, moved) in enumerate(together):
        assert np.array_equal(seen, alone[number % 16][0])
        assert np.array_equal(moved, alone[number % 16][1])
    assert np.array_equal(at(3, copy)[0], alone[3][0])
    assert len({seen.tobytes() for seen, _ in alone}) > 12


def test_a_crop_is_one_of_the_pictures_own_pixels(library, saved):
    picture, labels = example((90, 120))
    name = saved(library.CenterCrop(height=40, width=60))
    seen, moved = applied(name, picture, labels)
    assert np.array_equal(seen, picture[25:65, 30:90])
    assert np.array_equal(moved, labels[25:65, 30:90])
    assert applied(name, picture, labels, (33, 47))[0].shape == (33, 47, 3)


def test_labels_of_another_size_are_brought_to_that_of_the_picture(library, saved):
    picture, labels = example()
    name = saved(library.HorizontalFlip(p=1))
    _, moved = applied(name, picture, labels.repeat(2, 0).repeat(2, 1))
    assert np.array_equal(moved, labels[:, ::-1])


def test_the_file_says_what_is_outside(library, saved):
    picture, labels = example()
    shift = {"translate_percent": {"x": (0.5, 0.5), "y": (0, 0)}, "p": 1}
    name = saved(library.Affine(**shift, fill_mask=VOID))
    _, moved = applied(name, picture, labels)
    assert (moved[:, :29] == VOID).all() and (moved[:, 31:] != VOID).all()


@pytest.mark.parametrize("channels", [1, 5])
def test_other_channels(library, saved, channels):
    picture, labels = example(channels=channels)
    seen, _ = applied(saved(library.VerticalFlip(p=1)), picture, labels)
    assert np.array_equal(seen, picture[::-1])


def test_what_makes_no_picture_is_named(library, saved):
    picture, labels = example()
    with pytest.raises(UserError, match="makes 3 channels of float32 of 3 of uint8; leave out"):
        applied(saved(library.Normalize()), picture, labels)
    with pytest.raises(UserError, match="cannot take a picture of 3 channels, 40 high and 60 wide"):
        applied(saved(library.RandomCrop(height=50, width=50)), picture, labels)


def test_the_generator_and_a_single_transform(library, store, tmp_path):
    name = str(tmp_path / "flip.json")
    library.save(library.HorizontalFlip(p=1), name)
    options = {"size": (24, 32), "batch_size": 2}
    plain = DataGenerator(store, **options)[0]
    flipped = DataGenerator(store, augment=name, **options)[0]
    for one, other in zip(plain, flipped, strict=True):
        assert np.array_equal(one[:, :, ::-1], other)


def broken(**more) -> str:
    return json.dumps({"__version__": "2.0.8", "transform": more})


@pytest.mark.parametrize(
    "text, kind, message",
    [
        ("{", "json", "JSONDecodeError"),
        ("[]", "json", "TypeError"),
        (broken(), "json", "__class_fullname__"),
        (broken(__class_fullname__="os.system", command="true"), "json", "'os.system' is no trans"),
        (broken(__class_fullname__="Lambda", name="x"), "json", "'Lambda' is no transform"),
        (
            broken(
                __class_fullname__="Compose",
                transforms=[{"__class_fullname__": "subprocess.Popen", "args": ["true"]}],
            ),
            "json",
            "'subprocess.Popen' is no transform",
        ),
        (broken(__class_fullname__="GridDistortion", num_steps="many", p=1), "json", "num_steps"),
        ("transform: !!python/object/apply:os.system ['true']", "yaml", "ConstructorError"),
        ("a: &a [x, x]\nb: [*a, *a]", "yaml", "repeats parts of itself"),
        ("[" * 3000, "yaml", "is no pipeline"),
    ],
)
def test_a_file_that_is_no_pipeline_runs_nothing(library, tmp_path, text, kind, message):
    path = tmp_path / f"broken.{kind}"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        read_pipeline(str(path))
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert "save it anew" in str(caught.value)


def test_a_file_that_is_too_large_or_no_text(tmp_path):
    path = tmp_path / "large.json"
    path.write_bytes(b" " * (augmentation_file.MOST_BYTES + 1))
    with pytest.raises(UserError, match="too large"):
        read_pipeline(str(path))
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="is no pipeline"):
        read_pipeline(str(path))


def test_without_the_library(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "albumentations", None)
    path = tmp_path / "pipeline.json"
    path.write_text(broken(__class_fullname__="HorizontalFlip"))
    with pytest.raises(UserError, match="pip install -r requirements/augment.txt"):
        augmentation_of(str(path))


def test_a_file_that_is_not_there(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="there is no file nowhere.json"):
        augmentation_of("nowhere.json")
