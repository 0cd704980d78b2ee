"""utils/label_maps/listed.py: which file a listed name stands for, and in which folder it is."""

import unicodedata

import pytest

from utils.errors import UserError
from utils.label_maps.listed import (
    folder_of_pictures,
    is_address,
    key_of,
    listed_finder,
    listed_pictures,
    shorten,
)


def files(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("http://x.org/p/a.jpg", True),
        ("https://x.org/a.jpg?size=3#top", True),
        ("HTTPS://x.org/a.jpg", True),
        ("file:///C:/photos/a.jpg", True),
        ("s3://bucket/a.jpg", True),
        ("data:image/png;base64,AAAA", True),
        ("blob:null/1234", True),
        ("a.jpg", False),
        ("C:/photos/a.jpg", False),
        ("day/a:b.jpg", False),
        ("data: 3.jpg", False),
        ("photo: mine.jpg", False),
    ],
)
def test_addresses(name, expected):
    assert is_address(name) == expected


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("http://x.org/p/a.jpg", "a.jpg"),
        ("https://x.org/p/a.jpg?size=3#top", "a.jpg"),
        ("file://C:/photos/a.jpg", "a.jpg"),
        ("https://x.org/my%20cup.jpg", "my cup.jpg"),
        ("https://x.org/k%C3%BCche.jpg", "k\u0075\u0308che.jpg"),  # on a Mac
        ("https://x.org/saved%20so.jpg", "saved%20so.jpg"),
        ("https://x.org/photos%2Fa.jpg", "a.jpg"),
        ("https://x.org/A.JPG", "a.jpg"),
        ("https://x.org/b.jpg", None),
        ("https://x.org/", None),
        ("https://x.org/..", None),
        ("https://x.org/%2e%2e", None),
        ("https://x.org/a%00.jpg", None),
        ("http://[::1/a.jpg", None),
        ("data:image/png;base64,a.jpg", None),
        ("https://x.org/..%2F..%2Fsecret.jpg", None),
    ],
)
def test_an_address_stands_for_the_file_of_its_name(tmp_path, address, expected):
    folder = files(tmp_path / "data", "a.jpg", "my cup.jpg", "ku\u0308che.jpg", "saved%20so.jpg")
    files(tmp_path, "secret.jpg")
    found = listed_finder(folder)(address)
    assert found == (expected and folder / expected)


def test_two_addresses_of_one_file_name_are_no_picture(tmp_path):
    """They may be two pictures: the regions of both on one would be wrong labels."""
    folder = files(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    names = ["http://x/a.jpg", "http://y/a.jpg", "http://x/b.jpg", "c.jpg", "http://x/c.jpg"]
    assert listed_pictures(names, folder) == {
        "http://x/a.jpg": None,
        "http://y/a.jpg": None,
        "http://x/b.jpg": folder / "b.jpg",
        "c.jpg": folder / "c.jpg",
        "http://x/c.jpg": None,
    }


def test_two_spellings_of_one_name_are_one_picture(tmp_path):
    folder = files(tmp_path, "a.JPG")
    assert set(listed_pictures(["a.jpg", "a.JPG"], folder).values()) == {folder / "a.JPG"}


@pytest.mark.parametrize("name", ["/home/me/a.jpg", "C:\\me\\a.jpg", "/a.jpg"])
def test_a_path_of_another_machine_stands_for_the_file_of_its_last_part(tmp_path, name):
    """As scripts write them into COCO's `file_name`."""
    folder, other = files(tmp_path / "data", "a.jpg"), "a.jpg"
    assert listed_finder(folder)(name) == folder / "a.jpg"
    assert folder_of_pictures([name], folder / "x.json") == folder
    # Of two such, nobody knows which one is meant.
    assert listed_pictures([name, f"/else/{other}"], folder) == {name: None, f"/else/{other}": None}
    assert listed_pictures([name, other], folder) == {name: None, other: folder / other}


@pytest.mark.parametrize("name", ["../a.jpg", "/etc/a.jpg", "C:/a.jpg", "../b.jpg", "/../b.jpg"])
def test_other_names_may_not_leave_the_folder(tmp_path, name):
    files(tmp_path, "b.jpg")
    with pytest.raises(UserError, match="leaves the data folder"):
        listed_finder(tmp_path)(name)


def test_keys_are_the_real_names_of_files(tmp_path):
    listed, real = (unicodedata.normalize(form, "day/k\u00fcche.jpg") for form in ("NFC", "NFD"))
    assert listed != real
    folder = files(tmp_path, real)
    assert key_of(listed_finder(folder)(listed), folder) == real


def test_pictures_beside_the_annotations_go_before_the_data_folder(tmp_path):
    files(tmp_path, "train/a.jpg", "a.jpg", "b.jpg", "train/x.json")
    source = tmp_path / "train" / "x.json"
    assert folder_of_pictures(["gone.jpg", "a.jpg"], source, tmp_path) == tmp_path / "train"
    assert folder_of_pictures(["b.jpg"], source, tmp_path) == tmp_path
    assert folder_of_pictures(["train/a.jpg"], source, tmp_path) == tmp_path
    assert folder_of_pictures(["http://x/a.jpg"], source, tmp_path) == tmp_path / "train"
    assert folder_of_pictures(["gone.jpg"], source, tmp_path) == tmp_path
    assert folder_of_pictures(["gone.jpg"], source) == tmp_path / "train"


def test_a_data_folder_elsewhere_goes_before_what_is_beside_the_annotations(tmp_path):
    """Small previews beside the annotations are not what was named."""
    files(tmp_path, "labels/a.jpg", "labels/b.jpg", "photos/a.jpg", "labels/x.json")
    source, photos = tmp_path / "labels" / "x.json", tmp_path / "photos"
    assert folder_of_pictures(["a.jpg"], source, photos) == photos
    assert folder_of_pictures(["b.jpg"], source, photos) == tmp_path / "labels"


def test_other_spellings_count_where_folders_are_chosen(tmp_path):
    files(tmp_path, "train/a.JPG", "train/x.json")
    source = tmp_path / "train" / "x.json"
    assert folder_of_pictures(["../b.jpg", "a.jpg"], source, tmp_path) == tmp_path / "train"


def test_long_names_are_shortened():
    assert shorten("a.jpg") == "a.jpg"
    assert len(shorten("data:image/png;base64," + "A" * 10**6)) < 140
