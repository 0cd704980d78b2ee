"""Which files are masks and of which pictures: by name, by folder, one or several of a picture."""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from utils.errors import UserError
from utils.files import MASK_SUFFIXES
from utils.formats.mask_layouts import (
    CITYSCAPES_PICTURES,
    OF_MASKS,
    VOC_MASKS,
    cityscapes,
    data_root,
    home_of,
    listed,
    object_folders,
    pictures_beside,
    read_list,
    refuse_objects,
)
from utils.pictures import SUFFIXES, pictures_in

# Words that a mask's name has besides its picture's; "L" is CamVid's `0001TP_006690_L.png`.
WORDS = (
    *("mask", "masks", "segmentation", "seg", "label", "labels", "gt", "l"),
    *("annotation", "annotations", "ann"),
)
OF_OBJECTS = (*WORDS, "object", "obj", "instance")
LOSSY = (".jpg", ".jpeg")
SEPARATORS = "-_. "
# What a picture's name may have besides what its mask's has: DeepGlobe's `0_sat.jpg`, `0_mask.png`.
OF_PICTURES = re.compile(r"(.+)[_-](sat|image|img)", re.IGNORECASE | re.DOTALL)
WORD = re.compile(rf"(.+)[_-]({'|'.join(WORDS)})", re.IGNORECASE | re.DOTALL)
NUMBERED = re.compile(
    rf"(.+)[_-]({'|'.join(WORDS)})([_-]?[0-9]+)?", re.IGNORECASE | re.DOTALL | re.ASCII
)


@dataclass(frozen=True)
class Part:
    """A mask of a picture.

    Attributes:
        path: of the file.
        name: what its name has besides the picture's, as "bottle" or "mask_1"; "" where it has
            nothing, and in a folder that is for objects.
        whole: whether its name says that it is the picture's one mask.
    """

    path: Path
    name: str = ""
    whole: bool = True


@dataclass
class Found:
    """The masks of a set, and their pictures.

    Attributes:
        pictures: the folder of the pictures, or that of their folders.
        masks: of each picture, in the order of the masks.
        lost: masks without a picture.
        unlisted: pictures without a mask.
        missing: names in a list that have no mask.
        in_parts: whether each mask is of a class or of an object; else each is all of its picture.
    """

    pictures: Path
    masks: dict[Path, list[Part]] = field(default_factory=dict)
    lost: list[Path] = field(default_factory=list)
    unlisted: list[Path] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    in_parts: bool = False


def find_masks(source: Path | str, data_path: Path | str | None = None) -> Found:
    """The masks of a folder, or of a list of PASCAL VOC, and the pictures that they belong to.

    Args:
        source: the folder: with masks in it, in folders of the names of pictures, in those of
            Cityscapes' cities, or in `x/masks` beside `x/images`; or the list.
        data_path: the folder of the pictures; by default as `mask_layouts.pictures_beside`.

    Raises:
        UserError: there are no masks, or it is not clear whose they are.
    """
    folder = home_of(source)
    refuse_objects(folder)
    if data_root(source):
        return _of_list(Path(source), folder, data_path)
    pictures = Path(data_path) if data_path else pictures_beside(folder)
    if by_name := cityscapes(folder):
        return _of_cityscapes(by_name, pictures)
    if object_folders(folder):
        return _of_objects(folder)
    files = mask_files(folder, pictures)
    own = {path.resolve() for path in files}  # which may lie among the pictures
    there = [path for path in pictures_in(pictures) if path.resolve() not in own]
    whole, lost, _ = pair(files, there)
    found = Found(pictures)
    entries = [(path, Part(mask)) for mask, path in whole.items()]
    more, found.lost = _by_beginning(lost, there)
    entries += more
    inner, without = _in_folders(folder, there)
    entries += inner
    found.lost += without if inner else []
    if not entries and not files:
        stems = set(map(_caseless_stem, there))
        if mask := next((mask for mask in without if _caseless_stem(mask) in stems), None):
            raise UserError(
                f"{mask} is in a folder of its own, and nobody knows what {mask.parent.name!r} is; "
                "if it is a class, put the file into a folder of its picture's name, as "
                f"{folder.name}/{mask.stem}/{mask.parent.name}{mask.suffix}, else name "
                f"{mask.parent}."
            )
        raise UserError(
            f"{folder} is no folder of PNG masks, nor of TIFFs, BMPs or JPEGs; name one that holds "
            "masks."
        )
    for path, part in sorted(entries, key=lambda entry: entry[1].path):
        found.masks.setdefault(path, []).append(part)
    found.in_parts = _are_parts(found.masks)
    found.unlisted = [path for path in there if path not in found.masks]
    return found


def mask_files(folder: Path | str, pictures: Path | str) -> list[Path]:
    """The masks in a folder itself, sorted by name: PNGs, TIFFs, BMPs, GIFs and JPEGs.

    A JPEG beside another file of its stem is none. Where the folder is that of the pictures, masks
    are those that have a picture's name and a word such as `_mask`; else PNGs, else TIFFs.

    Raises:
        UserError: masks among their pictures are named in both ways.
    """
    files = sorted(
        path
        for path in Path(folder).glob("*")
        if path.suffix.lower() in OF_MASKS and path.name[0] != "." and path.is_file()
    )
    lossless = {path.stem for path in files if path.suffix.lower() not in LOSSY}
    if Path(folder).resolve() != Path(pictures).resolve():
        return [p for p in files if p.suffix.lower() not in LOSSY or p.stem not in lossless]
    masks = [path for path in files if path.suffix.lower() in MASK_SUFFIXES]
    pngs = [path for path in masks if path.suffix.lower() == ".png"]
    by_word = marked(pictures_in(Path(folder)))
    if by_word:
        others = Counter(path.stem for path in files if path not in by_word)
        twice = next((path for path in pngs if others[path.stem] > 1), None)
        if twice:
            raise UserError(
                f"{twice} and {by_word[0].name} may both be masks among their pictures; move the "
                "masks to a folder of their own."
            )
        return by_word
    return pngs or masks


def marked(files: list[Path]) -> list[Path]:
    """Those of the files whose name is that of another and a word such as `_mask`, or `_mask_1`."""
    stems = {of(path) for path in files for of in (_caseless_stem, _bare_picture)}
    masks = [path for path in files if path.suffix.lower() in OF_MASKS]
    return [
        path
        for path in masks
        if (match := NUMBERED.fullmatch(path.stem)) and _caseless(match[1]) in stems
    ]


def pair(
    masks: Iterable[Path], pictures: Iterable[Path]
) -> tuple[dict[Path, Path], list[Path], list[Path]]:
    """Which picture belongs to which mask: the one of its stem, letter by letter; else in Unicode's
    composed form (a Mac writes a u with two dots as two characters); else but for letter case; else
    without a word of `WORDS` at the end of the mask's; else that of its name, as `a.jpg.png`; else
    without the words of both, as `a_sat.jpg` of `a_mask.png`.

    Returns:
        The picture of each mask that has one; the masks without; the pictures without.

    Raises:
        UserError: two pictures have the stem of one mask, or two masks that of one picture.
    """
    found, masks, pictures = {}, list(masks), list(pictures)
    for of_mask, of_picture in WAYS:
        by_stem: dict[str, list[Path]] = {}
        for path in pictures:
            by_stem.setdefault(of_picture(path), []).append(path)
        stems: dict[str | None, list[Path]] = {}
        for mask in masks:
            stems.setdefault(of_mask(mask), []).append(mask)
        for stem, alike in stems.items():
            candidates = by_stem.get(stem, [])
            if len(candidates) > 1:
                raise UserError(
                    f"{candidates[0]} and {candidates[1].name} are both pictures of the mask "
                    f"{alike[0].name}; keep one of them."
                )
            if candidates and len(alike) == 1:
                found[alike[0]] = candidates[0]
            elif candidates and of_mask not in (_composed_stem, _caseless_stem):
                raise _both(alike[0], alike[1], candidates[0])
        taken = set(found.values())
        masks = [mask for mask in masks if mask not in found]
        pictures = [path for path in pictures if path not in taken]
    return found, masks, pictures


def _both(one: Path, other: Path, picture: Path) -> UserError:
    return UserError(f"{one} and {other.name} are both masks of {picture.name}; keep one of them.")


def _by_beginning(
    masks: list[Path], pictures: list[Path]
) -> tuple[list[tuple[Path, Part]], list[Path]]:
    """Pictures, with their masks, whose names begin as theirs: `x_bottle.png` of `x.jpg`.

    Returns:
        These, and the masks without a picture.

    Raises:
        UserError: two pictures do, as `x.jpg` and `x_1.jpg` for `x_1_bottle.png`.
    """
    by_stem: dict[str, list[Path]] = {}
    for path in pictures:
        by_stem.setdefault(_caseless(path.stem), []).append(path)
    entries, lost = [], []
    for mask in masks:
        stem = _composed(mask.stem)
        ends = [i for i, letter in enumerate(stem) if letter in SEPARATORS and stem[i + 1 :]]
        begun = [(i, path) for i in ends for path in by_stem.get(_caseless(stem[:i]), [])]
        if len(begun) > 1:
            one, other = (path for _, path in begun[:2])
            raise UserError(
                f"{mask} begins as {one.name} and as {other.name}; put it into a folder "
                f"{one.stem} or {other.stem}, of the name of its picture."
            )
        if begun:
            (end, path), *_ = begun
            entries.append((path, Part(mask, stem[end:].strip(SEPARATORS), False)))
        else:
            lost.append(mask)
    return entries, lost


def _in_folders(folder: Path, pictures: list[Path]) -> tuple[list[tuple[Path, Part]], list[Path]]:
    """Pictures, with their masks, which are in a folder of the picture's name: `x/bottle.png`.

    Returns:
        These, and the masks in other folders.

    Raises:
        UserError: two pictures have the name of one folder.
    """
    by_stem: dict[str, list[Path]] = {}
    for path in pictures:
        by_stem.setdefault(_caseless(path.stem), []).append(path)
    entries, lost = [], []
    for inner in sorted(path for path in folder.glob("*") if path.is_dir()):
        candidates = by_stem.get(_caseless(inner.name), [])
        files = mask_files(inner, folder)
        if len(candidates) > 1:
            raise UserError(
                f"{candidates[0]} and {candidates[1].name} are both pictures of the masks in "
                f"{inner}; keep one of them."
            )
        if not candidates:
            lost += files
        for path in files if candidates else []:
            name = _composed(path.stem)
            if _caseless(name) != _caseless(inner.name):
                name = re.sub(rf"^{re.escape(inner.name)}[{SEPARATORS}]", "", name)
                whole = name.casefold() in WORDS
            else:
                name, whole = "", True
            entries.append((candidates[0], Part(path, name, whole)))
    return entries, lost


def _are_parts(masks: dict[Path, list[Part]]) -> bool:
    """Whether masks are of a class or an object each, and not all of their pictures.

    Raises:
        UserError: there are both.
    """
    in_parts = any(not part.whole for parts in masks.values() for part in parts)
    for picture, parts in masks.items():
        if in_parts:
            for part in parts:
                if part.whole and not part.name and not WORD.fullmatch(part.path.stem):
                    other = next(p for of in masks.values() for p in of if not p.whole)
                    raise UserError(
                        f"{part.path} is named as its picture, as a mask of all classes is, but "
                        f"{other.path.name} as a mask of one; keep one kind, and take the others "
                        "away."
                    )
        elif len(parts) > 1:
            raise _both(parts[0].path, parts[1].path, picture)
    return in_parts


def _of_list(source: Path, folder: Path, data_path: Path | str | None) -> Found:
    """The masks that a list of PASCAL VOC names."""
    found = Found(Path(data_path) if data_path else pictures_beside(folder))
    for name in read_list(source):
        mask = listed(folder, name, OF_MASKS)
        picture = listed(found.pictures, name, SUFFIXES)
        if mask is None:
            found.missing.append(name)
        elif picture is None:
            found.lost.append(mask)
        else:
            found.masks[picture] = [Part(mask)]
    if not found.masks and not found.lost:
        raise UserError(
            f"{source} lists {found.missing[0]} and others, of which {folder} has no mask; name a "
            f"list of pictures that have one, such as train.txt or val.txt of {VOC_MASKS}."
        )
    return found


def _of_cityscapes(by_name: dict[Path, str], pictures: Path) -> Found:
    """The masks of Cityscapes: `lindau/x_gtFine_labelIds.png` of `lindau/x_leftImg8bit.png`."""
    found = Found(pictures)
    for mask, name in by_name.items():
        picture = listed(pictures, f"{name}_{CITYSCAPES_PICTURES}", SUFFIXES)
        picture = picture or listed(pictures, name, SUFFIXES)
        if picture:
            found.masks[picture] = [Part(mask)]
        else:
            found.lost.append(mask)
    folders = sorted({path.parent for path in found.masks})
    there = [path for folder in folders for path in pictures_in(folder)]
    found.unlisted = [path for path in there if path not in found.masks]
    return found


def _of_objects(folder: Path) -> Found:
    """The masks of objects in `x/masks`, whose picture is in `x/images`."""
    found = Found(folder, in_parts=True)
    for inner in object_folders(folder):
        pictures = pictures_in(inner / "images")
        if len(pictures) > 1:
            raise UserError(
                f"{inner / 'images'} holds {pictures[0].name} and {pictures[1].name}, and nobody "
                f"knows whose masks are in {inner / 'masks'}; keep one of them."
            )
        files = mask_files(inner / "masks", inner / "images")
        if not pictures:
            found.lost += files
        elif files:
            found.masks[pictures[0]] = [Part(path, "", False) for path in files]
        else:
            found.unlisted += pictures
    return found


def key_of_mask(path: Path, source: Path | str) -> str:
    """The name of a mask in its folder, without suffix, by which a store tells what it left out."""
    name = os.path.relpath(path, home_of(source))
    return Path(name).with_suffix("").as_posix()


def _composed(text: str) -> str:
    """Unicode's normal form C: a letter and its accents as one character where there is one."""
    return unicodedata.normalize("NFC", text)


def _caseless(text: str) -> str:
    """A text without the difference of small and capital letters, in normal form C."""
    return _composed(_composed(text).casefold())


def _composed_stem(path: Path) -> str:
    return _composed(path.stem)


def _caseless_stem(path: Path) -> str:
    return _caseless(path.stem)


def _bare_stem(path: Path) -> str | None:
    match = WORD.fullmatch(path.stem)
    return _caseless(match[1]) if match else None


def _bare_picture(path: Path) -> str:
    match = OF_PICTURES.fullmatch(path.stem)
    return _caseless(match[1] if match else path.stem)


# Of a mask and of a picture, what must be the same; the first way that pairs them counts.
WAYS: tuple[tuple[Callable[[Path], str | None], Callable[[Path], str]], ...] = (
    (lambda mask: mask.stem, lambda picture: picture.stem),
    (_composed_stem, _composed_stem),
    (_caseless_stem, _caseless_stem),
    (_bare_stem, _caseless_stem),
    (_caseless_stem, lambda picture: _caseless(picture.name)),
    (_bare_stem, lambda picture: _caseless(picture.name)),
    (_bare_stem, _bare_picture),
)
