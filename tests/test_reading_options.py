"""The options that say how annotations and masks are meant, the same for every command."""

import argparse
import subprocess
import sys

import pytest

from utils.errors import UserError
from utils.files import PROJECT
from utils.reading import Reading
from utils.reading_options import (
    MASK_OPTIONS,
    READING_OPTIONS,
    add_reading_options,
    asked_reading,
)


def parse(*words):
    parser = argparse.ArgumentParser()
    add_reading_options(parser)
    return asked_reading(parser.parse_args(words))


def test_what_is_said_is_asked():
    words = ["--class-attribute", "kind", "--unclassed", " void ", "--void", "12", "11", "12"]
    assert parse(*words) == Reading(class_attribute="kind", unclassed="void", void=(11, 12))
    assert parse("--class-name", "cat") == Reading(class_name="cat")
    words = ["--ids", "0", "9", "5", "--threshold", "100"]
    assert parse(*words) == Reading(ids=(0, 9, 5), threshold=100), "ids are in the classes' order"
    assert parse() == Reading()


def test_values_by_name_do_as_well_and_others_are_passed_over():
    """`masks` is a folder on one command line."""
    options = {"void": [11], "masks": "train_masks", "class_name": None, "epochs": 3}
    assert asked_reading(options) == Reading(void=(11,))


def test_one_class_and_an_attribute_of_the_class_contradict_each_other():
    with pytest.raises(UserError, match="--class-name cat .*--class-attribute kind .*leave one"):
        parse("--class-name", "cat", "--class-attribute", "kind")


@pytest.mark.parametrize(
    "words",
    [
        *[["--void", "256"], ["--void", "-1"], ["--class-name", " "]],
        *[["--threshold", "0"], ["--threshold", "256"], ["--ids", "0", "x"]],
    ],
)
def test_values_that_cannot_be_meant(words, capsys):
    with pytest.raises(SystemExit):
        parse(*words)
    assert words[0] in capsys.readouterr().err


def test_every_option_is_a_field_and_has_help():
    options = READING_OPTIONS | MASK_OPTIONS
    assert options.keys() <= vars(Reading()).keys()
    assert all(keywords["help"] for keywords in options.values())


def test_the_options_need_no_numpy():
    code = "import sys; import utils.reading_options; assert 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=True)


@pytest.mark.parametrize("script", ["generate_gt_segmentation", "verify_dataset"])
def test_commands_that_read_annotations_have_them(script):
    done = subprocess.run(
        [sys.executable, str(PROJECT / "utils" / f"{script}.py"), "--help"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for name in READING_OPTIONS | MASK_OPTIONS:
        assert "--" + name.replace("_", "-") in done.stdout
