"""Rules of the house that a machine can check."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from utils.files import PROJECT

FOLDERS = ("utils", "chapter12-segmentation")
MODULES = sorted(path for folder in FOLDERS for path in (PROJECT / folder).rglob("*.py"))
MAKEFILE = (PROJECT / "Makefile").read_text(encoding="utf-8")
SCRIPTS = sorted(PROJECT.glob("*.py"))
PLACES = (".", "benchmarks", "chapter12-segmentation", "data/drinks", "weights")
TESTS = sorted((PROJECT / "tests").glob("test_*.py"))
DOCUMENTS = sorted(path for place in PLACES for path in (PROJECT / place).glob("*.md"))
# From the top to the bottom of the house: each room imports from those behind it alone.
ROOMS = ["script", "tools", "engine", "zoo", "chapter", "fast", "utils"]


def shown(path: Path) -> str:
    return "/".join(path.relative_to(PROJECT).parts[1:])


def functions(tree: ast.Module):
    """Public functions and classes of a module and their names."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield node.name, node
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield node.name, node


def test_every_test_is_collected():
    """Files of other names, as those of the attacks, may not hold tests."""
    for path in (PROJECT / "tests").rglob("*.py"):
        names = {name for name, _ in functions(ast.parse(path.read_text(encoding="utf-8")))}
        tests = any(name.startswith("test_") or name.startswith("Test") for name in names)
        assert path.name.startswith("test_") or not tests, path


def test_no_test_is_left_out():
    """`make test` and `make test-long` are all, and what CI runs."""
    runs = (PROJECT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert {"make test", "make test-long"} <= set(runs)
    targets = dict(re.findall(r"^(test|test-long):.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE))
    assert "-m 'not long'\n" in targets["test"]
    assert "-m long $$(grep -rl mark.long tests " in targets["test-long"]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(PROJECT)))
def test_tests_that_a_document_names_exist(path: Path):
    """Each in the file that is named before it, if one is."""
    everything = "".join(file.read_text(encoding="utf-8") for file in TESTS)
    for line in path.read_text(encoding="utf-8").splitlines():
        tests = everything
        for name in re.findall(r"\btest_\w+(?:\.py)?", line):
            if name.endswith(".py"):
                tests = (PROJECT / "tests" / name).read_text(encoding="utf-8")
            else:
                assert f"def {name}(" in tests, line


@pytest.mark.parametrize("path", MODULES, ids=shown)
def test_docstrings_and_type_hints(path: Path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), f"{path} has no docstring"
    for name, node in functions(tree):
        assert ast.get_docstring(node), f"{path}: {name} has no docstring"
        if isinstance(node, ast.FunctionDef) and "utils" in path.parts:
            hinted = [a.annotation for a in node.args.args] + [node.returns]
            assert all(hinted), f"{path.name}: {name} lacks type hints"


def place(path: Path) -> str:
    """The room of the house that a file of Python is in: a folder, "chapter" or "script"."""
    first, *rest = path.relative_to(PROJECT).parts
    if first == "chapter12-segmentation":
        return rest[0] if len(rest) > 1 else "chapter"
    return first if rest else "script"


def imports(path: Path) -> set[str]:
    """The modules that a file imports anywhere, by their whole names."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {name.name for name in node.names}
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} imports relatively"
            names |= {f"{node.module}.{name.name}" for name in node.names}
    return names


CHAPTER = {path.stem for path in (PROJECT / "chapter12-segmentation").glob("*.py")}


def room_of(module: str) -> str | None:
    """The room of an imported module; None for a library."""
    first = module.split(".")[0]
    return "chapter" if first in CHAPTER else first if first in ROOMS else None


@pytest.mark.parametrize("room", ROOMS)
def test_arrows_go_one_way(room):
    """script -> tools -> engine -> zoo -> chapter -> fast -> utils."""
    files = [path for path in [*MODULES, *SCRIPTS] if place(path) == room]
    assert files, f"there is no {room}"
    below = ROOMS[ROOMS.index(room) :]
    for path in files:
        upward = {name for name in imports(path) if room_of(name) not in (None, *below)}
        assert not upward, f"{path.relative_to(PROJECT)} imports {upward}"


def test_every_folder_is_a_known_room():
    """A new folder needs a place among the arrows."""
    assert {place(path) for path in [*MODULES, *SCRIPTS]} == set(ROOMS)


@pytest.mark.parametrize("path", MODULES, ids=shown)
def test_libraries(path: Path):
    """`utils` knows no network; nothing knows the Keras of TensorFlow 2."""
    libraries = {module.split(".")[0] for module in imports(path)}
    if place(path) == "utils":
        assert not libraries & {"keras", "tensorflow", "jax", "torch"}
    assert "tf_keras" not in libraries


def test_importing_prints_nothing_and_leaves_nothing(tmp_path):
    names = [
        ".".join(path.relative_to(PROJECT).with_suffix("").parts)
        for path in MODULES
        if place(path) == "utils" and "render" not in path.parts and path.name != "__init__.py"
    ]
    code = f"import sys; sys.path[:0] = [{str(PROJECT)!r}]\nimport " + ", ".join(names)
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert not list(tmp_path.iterdir())


def test_a_library_that_is_run_says_so():
    """In place of a traceback: `python3 utils/classes.py` does not see the package."""
    paths = [
        str(path)
        for path in MODULES
        if place(path) == "utils" and '"__main__":' not in path.read_text(encoding="utf-8")
    ]
    code = f"""
import runpy, sys
from pathlib import Path
for path in {paths!r}:
    sys.path[0], sys.argv = str(Path(path).parent), [path]
    sys.modules.pop("utils", None)
    try:
        runpy.run_path(path, run_name="__main__")
        print("nothing", path)
    except SystemExit as stop:
        print(stop.code, path)
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    codes = [line.split()[0] for line in result.stdout.splitlines()]
    said = [line for line in result.stderr.splitlines() if " is a library" in line]
    assert len(said) == codes.count("2") > len(paths) / 2 and set(codes) <= {"2", "nothing"}
    assert any(line.startswith("error: polygons.py is a library, ") for line in said)
    assert "show_dataset.py, split.py, verify_dataset.py." in said[0]


COMMANDS = ("generate_gt_segmentation", "show_dataset", "split", "verify_dataset")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_fits_a_screen(name):
    """Of those with many options, in groups."""
    result = subprocess.run(
        [sys.executable, str(PROJECT / "utils" / f"{name}.py"), "--help"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"COLUMNS": "100"},
    )
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert len(lines) <= 45 and max(map(len, lines)) <= 100
    assert "how the files are meant:" in lines and "--void" in result.stdout
