"""Annotations of any program: which format a file or a folder has, by its content.

A format is a file beside this one, with a test and a reader; all give the same records, see
`annotations.py`.
"""

import os
from dataclasses import replace
from pathlib import Path
from zipfile import is_zipfile

from utils.classes import FILE_NAME
from utils.errors import UserError
from utils.files import open_ordinary
from utils.formats import cityscapes, coco, cvat, labelme, supervisely, via, via3, yolo
from utils.formats.annotations import Annotation, Project
from utils.formats.foreign import refuse_foreign
from utils.json_text import parse_json

# Of each format: whether a text, with its JSON content or None, is of it, and what it holds.
FILES = (
    (coco.is_coco, coco.read_coco),
    (labelme.is_labelme, labelme.read_labelme),
    (cvat.is_cvat, cvat.read_cvat),
    (supervisely.is_supervisely, supervisely.read_supervisely),
    (cityscapes.is_cityscapes, cityscapes.read_cityscapes),
)
# Files of these do not name their pictures: the readers find them.
OF_LABELME = (labelme.read_labelme, labelme.read_labelme_folder)
FINDING = (supervisely.read_supervisely, cityscapes.read_cityscapes)
OF_VIA = (via3.is_via3, via3.read_via3)  # where annotators choose what names the class
FOLDERS = (  # the same of folders
    (labelme.is_labelme_folder, labelme.read_labelme_folder),
    (yolo.is_yolo_folder, yolo.read_yolo_folder),
    (supervisely.is_supervisely_folder, supervisely.read_supervisely_folder),
    (cityscapes.is_cityscapes_folder, cityscapes.read_cityscapes_folder),
)
SUFFIXES = (".json", ".csv", ".xml")  # of files that may hold annotations
MOST_LISTED = 6  # of what may be meant, in a sentence
TABLES = ("*.yaml", "*.yml", "classes.txt", "meta.json")  # of classes
OF_FOLDERS = (".json", ".txt", ".yaml", ".yml")  # of files in folders of them


def read_annotations(path: Path | str) -> list[Annotation]:
    """The annotations of `read_project`."""
    return read_project(path).annotations


def read_project(path: Path | str) -> Project:
    """Read an annotation file, or a folder of them, of any format that is known.

    Raises:
        UserError: it is missing, is of no format that is read, or lacks something; names the
            file, the place in it and what was expected, or the program that it is from.
    """
    path = Path(path)
    if os.path.isdir(path):
        reader = next((read for test, read in FOLDERS if test(path)), None)
        if reader is None:
            raise UserError(f"{path} is no folder of annotations; name one, or a file of them.")
        project = _of_class(reader(path))
        return _beside(project, path) if reader in OF_LABELME else _rebased(project, path)
    try:
        with open_ordinary(path) as file:
            text = file.read().decode("utf-8-sig")
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist; {via.EXPORT}.") from error
    except (OSError, UnicodeDecodeError) as error:
        if isinstance(error, UnicodeDecodeError) and is_zipfile(path):  # no pipe, no folder
            raise UserError(
                f"{path} is a ZIP archive; unpack it and name what is in it."
            ) from error
        raise UserError(
            f"{path} is not readable as UTF-8 text ({error}); save it as such, or export it again."
        ) from error
    content = None
    try:
        if text.lstrip().startswith(("{", "[")):
            content = parse_json(text)
        for test, read in FILES:
            if test(text, content):
                project = _of_class(read(path, text, content))
                if read in OF_LABELME:
                    return _beside(project, path.parent)
                return _rebased(project, path.parent) if read in FINDING else project
        test, read = OF_VIA
        return (read if test(text, content) else via.read_via)(path, text, content)
    except ValueError as error:
        refuse_foreign(path, text)  # as JSON lines
        raise UserError(f"{path} is not whole JSON ({error}); {via.EXPORT} again.") from error
    except UserError:
        refuse_foreign(path, text)
        raise


def files_of(source: Path) -> list[Path]:
    """The annotation file itself, or those of a folder, sorted; a `classes.json` is none.

    What names the classes of YOLO and Supervisely may lie up to three folders above.
    """
    if not os.path.isdir(source):
        return [source]
    if yolo.is_yolo_folder(source):  # where a picture without a file is background
        return sorted([*_texts_of(source), *yolo.pictures_of(source)])
    return _texts_of(source)


def _texts_of(source: Path) -> list[Path]:
    """The annotation files of a folder and what names their classes, sorted."""
    above = list(Path(os.path.abspath(source)).parents)[:3]
    found = [path for folder in above for name in TABLES for path in folder.glob(name)]
    ours = (FILE_NAME, ".index.json")
    return sorted(
        path
        for path in [*source.rglob("*"), *found]
        if path.suffix.lower() in OF_FOLDERS and not path.name.endswith(ours) and path.is_file()
    )


def is_annotations_folder(folder: Path) -> bool:
    """Whether a folder holds annotations of a format that is read."""
    return any(test(folder) for test, _ in FOLDERS)


def other_sources(folder: Path) -> list[str]:
    """What labels could be made from, in a folder and in those below it, as seen from it."""
    from utils.formats.class_tables import TABLES as CLASS_TABLES
    from utils.formats.mask_layouts import FOLDER_ENDINGS, VOC_MASKS
    from utils.formats.npy import INDEX

    if folder.is_dir() and is_annotations_folder(folder):  # of LabelMe, a file for each picture
        return [str(folder)]
    found = []
    for place in sorted([*folder.glob("*"), *folder.glob("*/*")]):
        name = place.name.lower()
        if place.is_dir():
            of_masks = place.name in ("masks", VOC_MASKS) or name.endswith(FOLDER_ENDINGS)
            if of_masks or is_annotations_folder(place):
                found.append(place)
        elif name.endswith(SUFFIXES) and not name.endswith(INDEX):
            one_of_many = any(parent in found for parent in place.parents)
            if place.name not in (FILE_NAME, *CLASS_TABLES) and not one_of_many:
                found.append(place)
    return [str(place.relative_to(folder)) for place in found[:MOST_LISTED]]


def _of_class(project: Project) -> Project:
    """A project of a format in which it is fixed what names the class: our attribute "class"."""
    return replace(project, class_attribute="class")


def extract_pictures(source: Path) -> list[Path]:
    """Write pictures that are missing and that LabelMe's files hold; returns those written.

    Raises:
        UserError: as `labelme.extract_pictures`.
    """
    if os.path.isdir(source):
        return labelme.extract_pictures(source) if labelme.is_labelme_folder(source) else []
    with open_ordinary(source) as file:
        text = file.read().decode("utf-8-sig")
    if not text.lstrip().startswith("{") or not labelme.is_labelme(text, parse_json(text)):
        return []
    return labelme.extract_pictures(source)


def _beside(project: Project, folder: Path) -> Project:
    """A project of LabelMe, which names pictures itself: those in a folder beside are there."""
    above = [each.file for each in project.annotations if _is_up(each.file)]
    if above and all((folder / name).is_file() for name in above):
        return _rebased(project, folder)
    annotations = [  # where they are is another machine's matter
        replace(each, file=each.file.rpartition("/")[2]) if _is_up(each.file) else each
        for each in project.annotations
    ]
    return replace(project, annotations=annotations)


def _is_up(name: str) -> bool:
    return name.startswith("../")


def _rebased(project: Project, folder: Path) -> Project:
    """A project whose pictures, that the reader found, are named from what holds all of them."""
    names = [annotation.file for annotation in project.annotations]
    up = max((name.split("/").count("..") for name in names), default=0)
    start = os.path.abspath(folder)
    base = Path(start).parents[up - 1] if up else Path(start)
    annotations = [  # a picture may be a link to elsewhere
        replace(
            each, file=Path(os.path.normpath(f"{start}/{each.file}")).relative_to(base).as_posix()
        )
        for each in project.annotations
    ]
    return replace(project, annotations=annotations, folder=base)
