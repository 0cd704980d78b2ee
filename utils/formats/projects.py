"""Annotations of any program: which format a file or a folder has, by its content.

A format is a file beside this one, with a test and a reader; all give the same records, see
`annotations.py`.
"""

import os
from dataclasses import replace
from pathlib import Path

from utils.classes import FILE_NAME
from utils.errors import UserError
from utils.files import open_ordinary
from utils.formats import via
from utils.formats.annotations import Annotation, Project
from utils.formats.foreign import refuse_foreign
from utils.json_text import parse_json

# Of each format: whether a text, with its JSON content or None, is of it, and what it holds.
FILES = ()
FOLDERS = ()  # the same of folders
SUFFIXES = (".json", ".csv", ".xml")  # of files that may hold annotations
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
        return _of_class(reader(path))
    try:
        with open_ordinary(path) as file:
            text = file.read().decode("utf-8-sig")
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist; {via.EXPORT}.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not readable as UTF-8 text ({error}); {via.EXPORT}.") from error
    content = None
    try:
        if text.lstrip().startswith(("{", "[")):
            content = parse_json(text)
        for test, read in FILES:
            if test(text, content):
                return _of_class(read(path, text, content))
        return via.read_via(path, text, content)
    except ValueError as error:
        refuse_foreign(path, text)  # as JSON lines
        raise UserError(f"{path} is not whole JSON ({error}); {via.EXPORT} again.") from error
    except UserError:
        refuse_foreign(path, text)
        raise


def files_of(source: Path) -> list[Path]:
    """The annotation file itself, or those of a folder, sorted; a `classes.json` is none."""
    if not source.is_dir():
        return [source]
    ours = (FILE_NAME, ".index.json")
    return sorted(
        path
        for path in source.rglob("*")
        if path.suffix.lower() in OF_FOLDERS and not path.name.endswith(ours) and path.is_file()
    )


def is_annotations_folder(folder: Path) -> bool:
    """Whether a folder holds annotations of a format that is read, and no masks."""
    return any(test(folder) for test, _ in FOLDERS)


def _of_class(project: Project) -> Project:
    """A project of a format in which it is fixed what names the class: our attribute "class"."""
    return replace(project, class_attribute="class")
