"""utils/label_maps/region_classes.py: which class a region is of, and what is kept of it."""

import json

import numpy as np
import pytest
from PIL import Image

from utils.classes import named, read_classes, write_classes
from utils.errors import UserError
from utils.generate_gt_segmentation import make_labels
from utils.label_maps.fresh import ensure_labels
from utils.label_maps.store import open_labels
from utils.reading import Reading, read_reading, write_decisions

SIDE = {"width": 4, "height": 4}  # of a square of 25 pixels


def annotate(path, *values, attribute="Name", options=None, kind="dropdown", defaults=None):
    """A VIA project of one picture, a square for each value; a value may be an object of all.

    With options=False it is a plain export, which tells of no options.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    regions = [
        {
            "shape_attributes": {"name": "rect", "x": 2 + 10 * i, "y": 2, **SIDE},
            "region_attributes": value if isinstance(value, dict) else {attribute: value},
        }
        for i, value in enumerate(values)
    ]
    content = {"p": {"filename": f"{path.stem}.png", "size": -1, "regions": regions}}
    if options is not False:
        about = {"type": kind, "options": options or {}, "default_options": defaults or {}}
        attributes = {"region": {attribute: about}, "file": {}}
        content = {"_via_img_metadata": content, "_via_attributes": attributes}
    path.write_text(json.dumps(content), encoding="utf-8")
    Image.new("RGB", (max(1, 10 * len(values)), 10)).save(path.with_suffix(".png"))
    return path


def ids(store):
    """The value of the label map within each square."""
    return store[0][3, 3::10].tolist()


def make(path, *, progress=False, **asked):
    return open_labels(make_labels(path, reading=Reading(**asked), progress=progress))


def kept(path):
    return read_reading(path.parent / "classes.json")


CUPS = {"3": "cup", "7": "plate"}


def test_options_with_gaps_give_their_names_to_classes_without_gaps(tmp_path, capsys):
    path = annotate(tmp_path / "train.json", "7", "3", "7", options=CUPS)
    store = make(path, progress=True)
    assert store.classes.names == ("background", "cup", "plate")
    assert ids(store) == [2, 1, 2]
    printed = capsys.readouterr().out
    assert "option 3 is class 1 cup" in printed and "option 7 is class 2 plate" in printed
    assert kept(path).options == ("3", "7")


@pytest.mark.parametrize("kind", ["dropdown", "radio", "checkbox"])
def test_every_list_has_options(tmp_path, kind):
    values = [{"Name": {"7": True, "3": False}}, {"Name": {"3": True}}]
    values = values if kind == "checkbox" else ["7", "3"]
    store = make(annotate(tmp_path / "t.json", *values, options=CUPS, kind=kind))
    assert ids(store) == [2, 1]


def test_options_are_ordered_as_numbers_whether_they_occur_or_not(tmp_path):
    options = {"10": "ten", "9": "nine", "100": "hundred"}
    store = make(annotate(tmp_path / "t.json", "100", "9", options=options))
    assert store.classes.names == ("background", "nine", "ten", "hundred")
    assert ids(store) == [3, 1]


def test_options_from_1_on_keep_their_ids_and_get_their_names(tmp_path):
    options = {"1": "water bottle", "2": "soda can", "3": ""}
    path = annotate(tmp_path / "t.json", "2", "1", "3", options=options)
    store = make(path)
    assert store.classes.names == ("background", "water bottle", "soda can", "class 3")
    assert ids(store) == [2, 1, 3]
    assert kept(path).options == ()


def test_an_export_without_options_is_read_as_the_project_before_it(tmp_path):
    """Its 2 would be class 2, plate, where numbers are taken as class ids."""
    make(annotate(tmp_path / "train.json", "2", "3", options={"2": "cup", "3": "plate"}))
    assert ids(make(annotate(tmp_path / "test.json", "2", "3", options=False))) == [1, 2]
    with pytest.raises(UserError, match="unknown classes: '1' "):
        make(annotate(tmp_path / "other.json", "1", options=False))


def test_an_option_0_that_has_a_name_is_a_class(tmp_path):
    """0 is the background where nothing tells otherwise."""
    options = {"0": "cup", "1": "plate"}
    assert ids(make(annotate(tmp_path / "a" / "x" / "t.json", "0", "1", options=options))) == [1, 2]
    options = {"0": "Background", "1": "plate"}
    assert ids(make(annotate(tmp_path / "b" / "x" / "t.json", "0", "1", options=options))) == [0, 1]
    options = {"0": "", "1": "plate"}
    assert ids(make(annotate(tmp_path / "c" / "x" / "t.json", "0", "1", options=options))) == [0, 1]
    assert ids(make(annotate(tmp_path / "d" / "x" / "t.json", "0", "1"))) == [0, 1]


def test_an_option_that_is_the_background(tmp_path):
    options = {"1": "background", "2": "cup"}
    store = make(annotate(tmp_path / "t.json", "1", "2", options=options))
    assert store.classes.names == ("background", "cup")
    assert ids(store) == [0, 1]


@pytest.mark.parametrize("options", [{"1": "2", "2": "1"}, {"3": "7", "7": "3"}])
def test_names_that_are_ids_of_other_options(tmp_path, options):
    first, second = options
    path = annotate(tmp_path / "train.json", first, second, options=options)
    assert ids(make(path)) == [1, 2]
    export = annotate(tmp_path / "test.json", first, second, options=False)
    assert ids(make(export)) == [1, 2]
    assert ids(make(path)) == [1, 2]  # with the classes that are there now
    write_classes(tmp_path / "classes.json", read_classes(tmp_path / "classes.json"))
    assert ids(make(path)) == [1, 2]  # and nothing else
    assert ids(make(export)) == [1, 2]


def test_two_options_of_one_name_are_refused(tmp_path):
    path = annotate(tmp_path / "t.json", "1", options={"1": "cup", "2": "Cup"})
    with pytest.raises(UserError, match="options 1 and 2 of 'Name' are both called 'Cup'; call"):
        make(path)
    annotate(path, "1", options={"1": "cup", "2": "Cup 2"})
    assert ids(make(path)) == [1]


def test_options_whose_names_clash_with_made_ones(tmp_path):
    path = annotate(tmp_path / "t.json", "1", options={"1": "", "2": "class 1"})
    with pytest.raises(UserError, match="'class 1' occurs twice; call the options"):
        make(path)


def test_texts_are_names_and_what_stands_beside_them_describes_them(tmp_path):
    options = {"can": "a can, of any brand", "bottle": "glass or plastic"}
    store = make(annotate(tmp_path / "t.json", "can", "bottle", options=options))
    assert store.classes.names == ("background", "bottle", "can")
    assert ids(store) == [2, 1]


def test_texts_whose_names_are_classes(tmp_path):
    write_classes(tmp_path / "classes.json", named(["background", "cup", "plate"]))
    options = {"c1": "Cup", "c2": "plate"}
    assert ids(make(annotate(tmp_path / "t.json", "c2", "c1", options=options))) == [2, 1]


def test_numbers_with_names_stand_beside_texts(tmp_path):
    options = {"3": "cup", "other": ""}
    path = annotate(tmp_path / "t.json", "other", "3", "Cup", options=options)
    store = make(path)
    assert store.classes.names == ("background", "cup", "other")
    assert ids(store) == [2, 1, 1]
    assert kept(path).options == ("3",)


def test_what_new_regions_begin_with_is_no_class_of_others(tmp_path):
    path = annotate(tmp_path / "t.json", "3", "", options=CUPS, defaults={"7": True})
    with pytest.raises(UserError, match="1 of 2 regions name no class"):
        make(path)
    assert ids(make(path, unclassed="void")) == [1, 255]


@pytest.mark.parametrize("options", [None, {"3": "", "7": ""}, {"3": "3", "7": "7"}])
def test_numbers_without_names_are_class_ids_and_gaps_are_mentioned(tmp_path, capsys, options):
    path = annotate(tmp_path / "t.json", "3", "7", options=options)
    store = make(path, progress=True)
    assert len(store.classes) == 8 and ids(store) == [3, 7]
    assert "classes up to 7, of which 3, 7 occur" in capsys.readouterr().out


@pytest.mark.parametrize("value", [3, 3.0, "3.0", "+3", "03", " 3 "])
def test_numbers_in_any_spelling(tmp_path, value):
    assert ids(make(annotate(tmp_path / "t.json", value, "7", options=CUPS))) == [1, 2]


@pytest.mark.parametrize(
    "about",
    [[], {"type": "dropdown"}, {"type": "dropdown", "options": ["cup"]}, {"options": CUPS}, 3]
    + [{"type": "dropdown", "options": {"3": None, "7": 5}}, {"type": "text", "options": CUPS}],
)
def test_options_that_are_not_as_via_writes_them_say_nothing(tmp_path, about):
    path = annotate(tmp_path / "t.json", "3", "7")
    content = json.loads(path.read_text())
    content["_via_attributes"]["region"] = {"Name": about, "other": about}
    path.write_text(json.dumps(content))
    assert ids(make(path)) == [3, 7]
    path.write_text(json.dumps(content | {"_via_attributes": about}))
    assert ids(make(path)) == [3, 7]


def test_a_region_that_says_no_option(tmp_path):
    path = annotate(tmp_path / "t.json", "3", "7", "5", options=CUPS)
    with pytest.raises(UserError, match="'5' .1 region, first t.png: region 3.*classes.json besid"):
        make(path)
    # The cure: a classes.json with these and what is missing.
    write_classes(tmp_path / "classes.json", named(["background", "cup", "plate", "5"]))
    assert ids(make(path)) == [1, 2, 3]


def test_an_option_that_comes_later(tmp_path):
    path = annotate(tmp_path / "t.json", "3", "7", options=CUPS)
    make(path)
    annotate(path, "3", "7", "5", options=CUPS | {"5": "bowl"})
    with pytest.raises(UserError, match=r"'bowl' \(option 5\).*add what is missing to .*classes"):
        make(path)
    classes = named(["background", "cup", "plate", "bowl"])
    write_decisions(tmp_path / "classes.json", classes, kept(path))  # the cure
    assert ids(make(path)) == [1, 2, 3]


# Classes that are there before.


def test_the_names_of_options_go_before_their_numbers(tmp_path, capsys):
    """The annotator chose by name."""
    write_classes(tmp_path / "classes.json", named(["background", "can", "bottle"]))
    path = annotate(tmp_path / "t.json", "1", "2", options={"1": "bottle", "2": "can"})
    assert ids(make(path, progress=True)) == [2, 1]
    assert "option 1 is class 2 bottle" in capsys.readouterr().out
    assert kept(path).options == ("2", "1")
    assert ids(make(annotate(tmp_path / "v.json", "1", "2", options=False))) == [2, 1]


def test_classes_that_were_renamed_keep_their_options(tmp_path):
    """By its number alone option 2 would be the second class."""
    path = annotate(tmp_path / "t.json", "2", "3", options={"2": "cup", "3": "plate"})
    make(path)
    classes = named(["background", "Tasse", "Teller"])
    write_decisions(tmp_path / "classes.json", classes, kept(path))
    assert ids(ensure_labels(path, progress=False)) == [1, 2]


def test_renamed_classes_without_gaps_are_mentioned(tmp_path, capsys):
    write_classes(tmp_path / "classes.json", named(["background", "Flasche", "can"]))
    path = annotate(tmp_path / "t.json", "1", "2", options={"1": "bottle", "2": "can"})
    assert ids(make(path, progress=True)) == [1, 2]
    assert "option 1 'bottle' is class 1 Flasche" in capsys.readouterr().out


def test_classes_that_were_exchanged_are_refused_until_their_options_are_deleted(tmp_path):
    path = annotate(tmp_path / "t.json", "3", "7", options=CUPS)
    make(path)
    classes = named(["background", "plate", "cup"])
    write_decisions(tmp_path / "classes.json", classes, kept(path))
    with pytest.raises(UserError, match='3 is class 1, while .cup.*class 2; .*delete "options"'):
        make(path)
    write_classes(tmp_path / "classes.json", classes)
    assert ids(make(path)) == [2, 1]


def test_options_of_a_class_that_is_gone_are_refused(tmp_path):
    path = annotate(tmp_path / "t.json", "3", "7", options=CUPS)
    make(path)
    write_decisions(tmp_path / "classes.json", named(["background", "cup"]), kept(path))
    with pytest.raises(UserError, match="7 is class 2, which is not there"):
        make(path)


def test_a_name_that_would_be_background_is_refused(tmp_path):
    (tmp_path / "classes.json").write_text('["cup", "plate"]')
    path = annotate(tmp_path / "t.json", "7", "3", options=CUPS)
    with pytest.raises(UserError, match="'cup' has id 0"):
        make(path)


# Exports without any attribute, and regions without a class.


def test_one_class_for_all_regions(tmp_path):
    path = annotate(tmp_path / "train.json", {}, {})
    with pytest.raises(UserError, match="no region names its class; .*--class-name"):
        make(path)
    store = make(path, class_name="cup")
    assert store.classes.names == ("background", "cup") and ids(store) == [1, 1]
    assert kept(path).class_name == "cup"
    assert ids(make(annotate(tmp_path / "test.json", {}))) == [1]  # the choice is kept
    with pytest.raises(UserError, match="class name 'cup', .* not 'plate'"):
        make(path, class_name="plate")


def test_one_class_that_is_a_number_or_unknown(tmp_path):
    path = annotate(tmp_path / "train.json", {}, {})
    store = make(path, class_name="2")
    assert len(store.classes) == 3 and ids(store) == [2, 2]
    write_classes(tmp_path / "classes.json", named(["background", "plate"]))
    with pytest.raises(UserError, match="2 of 2 regions .*'cup' .*0 background, 1 plate"):
        make(path, class_name="cup")


def test_one_class_for_all_regions_that_name_others(tmp_path):
    path = annotate(tmp_path / "train.json", "cup", "plate")
    with pytest.raises(UserError, match="'Name' says 'plate', not every .* 'cup' .*leave it out"):
        make(path, class_name="cup")
    assert ids(make(annotate(tmp_path / "cups" / "x.json", "Cup", {}), class_name="cup")) == [1, 1]


def test_one_class_for_all_whatever_another_attribute_says(tmp_path, capsys):
    path = annotate(tmp_path / "train.json", "good", "poor", attribute="quality")
    assert ids(make(path, class_name="cup", progress=True)) == [1, 1]
    assert "every region is 'cup', whatever quality says" in capsys.readouterr().out


def test_sets_with_and_without_an_attribute(tmp_path):
    """One class for all was decided by the first; the cure makes both."""
    test = annotate(tmp_path / "test.json", {}, {})
    train = annotate(tmp_path / "train.json", "plate", "cup")
    write_classes(tmp_path / "classes.json", named(["background", "cup", "plate"]))
    make(test, class_name="cup")
    with pytest.raises(UserError, match='as "class_name" in .*delete that line .*--unclassed cup'):
        make(train)
    write_classes(tmp_path / "classes.json", named(["background", "cup", "plate"]))
    assert ids(make(test, unclassed="cup")) == [1, 1]
    assert ids(make(train)) == [2, 1]


def test_an_attribute_that_another_set_lacks(tmp_path):
    train = annotate(tmp_path / "train.json", "plate", "cup", attribute="species")
    make(train)
    assert kept(train).class_attribute == "species"
    test = annotate(tmp_path / "test.json", {}, {})
    with pytest.raises(UserError, match="as other sets do by .*'species'; .*--unclassed NAME"):
        make(test)
    with pytest.raises(UserError, match="'species' names the class, not every region .*leave it"):
        make(test, class_name="cup")
    assert ids(make(test, unclassed="cup")) == [1, 1]


@pytest.mark.parametrize(("unclassed", "expected"), [("skip", 0), ("void", 255), ("plate", 2)])
@pytest.mark.parametrize("value", ["", None, "undefined", {"cup": True, "plate": True}])
def test_regions_that_name_no_class(tmp_path, capsys, unclassed, expected, value):
    path = annotate(tmp_path / "t.json", "cup", "plate", {"Name": value})
    with pytest.raises(UserError, match="1 of 3 regions name no class, or .*region 3.*--uncl"):
        make(path)
    store = make(path, unclassed=unclassed, progress=True)
    assert ids(store) == [1, 2, expected]
    named_so = {0: "skipped", 255: "void", 2: "plate"}[expected]
    assert f"t.png: region 3 is {named_so}" in capsys.readouterr().out
    assert kept(path).unclassed == unclassed
    assert ids(ensure_labels(path, progress=False)) == [1, 2, expected]


def test_the_class_of_regions_that_name_none_may_occur_nowhere_else(tmp_path):
    store = make(annotate(tmp_path / "t.json", "cup", ""), unclassed="bowl")
    assert store.classes.names == ("background", "bowl", "cup") and ids(store) == [2, 1]
    with pytest.raises(UserError, match="'plate' of --unclassed is unknown; use skip, void"):
        write_classes(tmp_path / "classes.json", store.classes)
        make(tmp_path / "t.json", unclassed="plate")


def test_regions_that_name_no_class_are_of_an_option(tmp_path):
    for name in ("plate", "7"):
        path = annotate(tmp_path / name / "x" / "t.json", "3", "", options=CUPS)
        assert ids(make(path, unclassed=name)) == [1, 2]


def test_numbers_that_mean_void(tmp_path, capsys):
    path = annotate(tmp_path / "t.json", "1", "11", "2")
    store = make(path, void=(11,), progress=True)
    assert "11 means void, as was asked, in regions: 1" in capsys.readouterr().out
    assert len(store.classes) == 3 and ids(store) == [1, 255, 2]
    assert ids(ensure_labels(path, progress=False)) == [1, 255, 2]


def test_void_that_is_said_where_no_class_occurs_is_kept(tmp_path):
    path = annotate(tmp_path / "t.json", "11")
    assert len(make(path, void=(11,)).classes) == 1
    assert ids(ensure_labels(path, progress=False)) == [255]
    assert ids(make(annotate(tmp_path / "u.json", "1", "11"))) == [1, 255]
    assert len(read_classes(tmp_path / "classes.json")) == 2
    assert len(ensure_labels(path, progress=False).classes) == 2


def test_a_first_look_that_did_not_know_what_is_void(tmp_path):
    path = annotate(tmp_path / "t.json", "1", "3", "2")
    assert len(make(path).classes) == 4
    store = ensure_labels(path, progress=False, reading=Reading(void=(3,)))
    assert len(store.classes) == 3 and ids(store) == [1, 255, 2]
    assert len(read_classes(tmp_path / "classes.json")) == 3


def test_an_option_that_means_void(tmp_path):
    store = make(annotate(tmp_path / "t.json", "3", "7", options=CUPS), void=(7,))
    assert store.classes.names == ("background", "cup") and ids(store) == [1, 255]


# The attribute with the class.


def test_the_attribute_of_the_first_set_is_that_of_the_others(tmp_path):
    """By itself the second set would be read by `name`."""
    make(annotate(tmp_path / "train.json", "1", "2", attribute="species"))
    test = annotate(tmp_path / "test.json", {"name": "2", "species": "1"})
    assert ids(make(test)) == [1]
    with pytest.raises(UserError, match="class attribute 'species', .* not 'name'"):
        make(test, class_attribute="name")


def test_a_set_that_calls_the_attribute_otherwise(tmp_path, capsys):
    make(annotate(tmp_path / "train.json", "1", "2", attribute="species"))
    test = annotate(tmp_path / "test.json", "2", attribute="label")
    assert ids(make(test, progress=True)) == [2]
    assert "no region has 'species'" in capsys.readouterr().out


def test_an_attribute_that_is_asked_for_two_sets_of_which_one_lacks_it(tmp_path):
    """Options of the trainer are for both; the first set must have it."""
    test = annotate(tmp_path / "test.json", "2", attribute="label")
    with pytest.raises(UserError, match="set --class-attribute to one of: label"):
        make(test, class_attribute="species")
    make(
        annotate(tmp_path / "train.json", "1", "2", attribute="species"), class_attribute="species"
    )
    assert ids(make(test, class_attribute="species")) == [2]


def test_what_every_set_finds_first_is_not_written_into_classes_that_are_there(tmp_path):
    (tmp_path / "classes.json").write_text('["background", "cup"]')
    make(annotate(tmp_path / "t.json", "cup"))
    assert (tmp_path / "classes.json").read_text() == '["background", "cup"]'


def test_decisions_of_others_are_not_lost(tmp_path):
    decided = Reading(scale=(0.0, 4095.0), masks="ids", turn="exif")
    write_decisions(tmp_path / "classes.json", named(["background", "cup", "plate"]), decided)
    path = annotate(tmp_path / "t.json", "cup", "")
    make(path, unclassed="void")
    assert kept(path) == Reading(scale=(0.0, 4095.0), masks="ids", turn="exif", unclassed="void")


# What is unknown.


def test_every_unknown_class_is_named_with_its_count_and_an_example(tmp_path):
    write_classes(tmp_path / "classes.json", named(["background", "bottle"]))
    values = ["bottle", "can", "cup", "can", "", "cup", "can", "bottle"]
    path = annotate(tmp_path / "t.json", *values)
    with pytest.raises(UserError) as error:
        make(path)
    assert str(error.value) == (
        f"{path}: 6 of 8 regions are of unknown classes: 'can' (3 regions, first t.png: region 2 "
        "(rect)), 'cup' (2 regions, first t.png: region 3 (rect)) or name no class, or several (1 "
        "region, first t.png: region 5 (rect)); use one of: 0 background, 1 bottle, or add what is "
        f"missing to {tmp_path / 'classes.json'}; enter one, or say with --unclassed skip, "
        "void or NAME what they are."
    )
    # The cures.
    write_classes(tmp_path / "classes.json", named(["background", "bottle", "can", "cup"]))
    assert ids(make(path, unclassed="void")) == [1, 2, 3, 2, 255, 3, 2, 1]


def test_many_unknown_classes_are_counted(tmp_path):
    write_classes(tmp_path / "classes.json", named(["background", "bottle"]))
    path = annotate(tmp_path / "t.json", *[f"c{i}" for i in range(20)], "c3")
    with pytest.raises(UserError, match=r"'c3' \(2 regions.*'c14' .*, 12 more \(12 regions\);"):
        make(path)


def test_a_decision_that_changes_makes_the_other_sets_anew(tmp_path):
    train = annotate(tmp_path / "train.json", "cup", *["plate"] * 120, "")
    assert ids(ensure_labels(train, progress=False))[-1] == 255  # one stray region
    test = annotate(tmp_path / "test.json", "cup", "")
    asked = Reading(unclassed="plate")
    assert ids(ensure_labels(test, progress=False, reading=asked)) == [1, 2]
    made = (tmp_path / "test.npy").stat().st_mtime_ns
    assert ids(ensure_labels(train, progress=False))[-1] == 2
    ensure_labels(test, progress=False)
    assert (tmp_path / "test.npy").stat().st_mtime_ns == made, "nothing changed for it"


def test_notes_of_stray_regions_tell_why(tmp_path, capsys):
    write_classes(tmp_path / "classes.json", named(["background", "bottle"]))
    path = annotate(tmp_path / "t.json", *["bottle"] * 200, "can", "")
    assert ids(make(path, progress=True))[-2:] == [255, 255]
    printed = capsys.readouterr().out
    assert "t.png: region 201 (rect): class 'can' is unknown" in printed
    assert "t.png: region 202 (rect): it names no class, or several" in printed
    assert np.unique(open_labels(path.with_suffix(".npy"))[0]).tolist() == [0, 1, 255]
