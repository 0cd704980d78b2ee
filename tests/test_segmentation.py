"""The network as a function of another program."""

import re
import subprocess
import sys

import numpy as np
import pytest
from conftest import PROJECT, random_batch, tiny_fcn
from PIL import Image

from engine.records import Network
from engine.weights import save_weights
from tools.segmentation import load
from utils.classes import named
from utils.errors import UserError

RUN = {"size": [32, 48], "epochs": 2, "schedule_epochs": 2, "grow": False}
CLASSES = named(["background", "cup", "plate"])
TOOLS = PROJECT / "chapter12-segmentation" / "tools"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Those of a tiny network that was not trained."""
    path = tmp_path_factory.mktemp("weights") / "x.weights.h5"
    settings = {"backbone": "resnet8v1", "layers": 1, "filters": 4}
    network = Network("fcn", (32, 48, 3), CLASSES, settings)
    save_weights(
        tiny_fcn(seed=1),
        path,
        {"network": network.content(), "data": {}, "run": RUN},
    )
    return path


def test_a_file_and_an_array_get_the_same_answer(weights, tmp_path):
    segment = load(weights)
    (picture,), _ = random_batch((50, 70), number=1)
    Image.fromarray(picture).save(tmp_path / "a.png")
    labels = segment(tmp_path / "a.png")
    assert labels.shape == (50, 70) and labels.dtype == np.uint8
    assert segment.classes == CLASSES.names
    np.testing.assert_array_equal(segment(str(tmp_path / "a.png")), labels)
    np.testing.assert_array_equal(segment(picture), labels)
    np.testing.assert_array_equal(segment(picture / 255), labels)
    probabilities = segment.probabilities(picture)
    assert probabilities.shape == (50, 70, 3) and probabilities.dtype == np.float32
    np.testing.assert_array_equal(probabilities.argmax(-1), labels)
    np.testing.assert_allclose(probabilities.sum(-1), 1, atol=1e-5)


def test_it_looks_as_it_is_asked(weights):
    (picture,), _ = random_batch((50, 70), number=1)
    flipped = load(weights, tta="flip").probabilities
    np.testing.assert_allclose(flipped(picture), flipped(picture[:, ::-1])[:, ::-1], atol=1e-5)
    assert load(weights, size=(64, 96)).network.input_shape == (64, 96, 3)


def test_what_is_no_picture_and_no_weights_is_told(weights, tmp_path):
    with pytest.raises(UserError, match="nowhere.h5 are neither a file nor a name"):
        load("nowhere.h5")
    with pytest.raises(UserError, match=r"shape \(3,\) cannot be segmented"):
        load(weights)([1, 2, 3])
    both = load(weights), load(weights).probabilities
    for segment in both:
        for picture, complaint in (
            (np.zeros((4, 5), np.uint8), r"shape \(4, 5\)"),
            (np.zeros((0, 5, 3), np.uint8), r"shape \(0, 5, 3\)"),
            (np.full((4, 5, 3), 255.0), "floats from 255 to 255"),
            (np.full((4, 5, 3), np.nan), "floats from nan to nan"),
            (np.zeros((4, 5, 3), np.uint16), "type uint16"),
        ):
            with pytest.raises(UserError, match=complaint):
                segment(picture)
    with pytest.raises(UserError, match="tta 'foo' is none of none, flip, scales"):
        load(weights, tta="foo")
    with pytest.raises(UserError, match="a.jpg does not exist"):
        load(weights)(tmp_path / "a.jpg")


def run(code, folder):
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )


@pytest.mark.long
def test_the_example_of_the_readme_runs(tmp_path):
    """From another folder, on a photograph, word for word but for the places."""
    if not (PROJECT / "weights" / "ResNet56v2-3layer-drinks-best-iou.weights.h5").is_file():
        pytest.skip("no shipped weights")
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?from segmentation import load.*?)```", readme, re.DOTALL)
    code = code.replace("semantic-segmentation/", f"{PROJECT}/")
    picture = PROJECT / "data" / "drinks" / "0010008.jpg"
    (tmp_path / "photograph.jpg").write_bytes(picture.read_bytes())
    result = run(code, tmp_path)
    assert result.returncode == 0 and result.stderr == "", result.stderr
    assert "water bottle" in result.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["photograph.jpg"]


def test_modules_of_packages_within_the_project_are_not_ours(tmp_path):
    """`make setup` puts what pip brings there."""
    code = f"""
import sys, types
sys.path.append({str(TOOLS)!r})
sys.modules["metrics"] = types.ModuleType("metrics")
sys.modules["metrics"].__file__ = {str(PROJECT / ".venv" / "lib" / "metrics.py")!r}
import segmentation
"""
    assert "a module 'metrics' of another program" in run(code, tmp_path).stderr
    code = code.replace('sys.modules["metrics"].__file__', "nothing")
    assert "a module 'metrics' of another program" in run(code, PROJECT / "data").stderr


@pytest.mark.parametrize("file", ["utils/__init__.py", "utils.py", "metrics.py"])
def test_modules_of_the_same_name_are_told(tmp_path, file):
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).touch()
    name = file.removesuffix(".py").partition("/")[0]
    code = f"import sys, {name}; sys.path.append({str(TOOLS)!r})\nimport segmentation"
    result = run(code, tmp_path)
    assert f"a module {name!r} of another program is imported already" in result.stderr
