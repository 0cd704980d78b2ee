"""Rules of the house that a machine can check."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from utils.files import PROJECT

FOLDERS = ("utils", "chapter12-segmentation")
MODULES = sorted(path for folder in FOLDERS for path in (PROJECT / folder).rglob("*.py"))


def functions(tree: ast.Module):
    """Public functions and classes of a module and their names."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield node.name, node
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield node.name, node


def test_every_test_file_is_collected():
    for path in (PROJECT / "tests").rglob("*.py"):
        assert path.name.startswith("test_") or path.name == "conftest.py", path


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_docstrings_and_type_hints(path: Path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), f"{path} has no docstring"
    for name, node in functions(tree):
        assert ast.get_docstring(node), f"{path.name}: {name} has no docstring"
        if isinstance(node, ast.FunctionDef) and "utils" in path.parts:
            hinted = [a.annotation for a in node.args.args] + [node.returns]
            assert all(hinted), f"{path.name}: {name} lacks type hints"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_imports_go_one_way(path: Path):
    imported = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {name.name.split(".")[0] for name in node.names}
        if isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").split(".")[0])
    if "utils" in path.relative_to(PROJECT).parts:
        networks = {module.stem for module in (PROJECT / "chapter12-segmentation").glob("*.py")}
        assert not imported & ({"keras", "tensorflow", "jax", "torch"} | networks)
    assert "tf_keras" not in imported


def test_importing_prints_nothing_and_leaves_nothing(tmp_path):
    names = [
        ".".join(path.relative_to(PROJECT).with_suffix("").parts)
        for path in MODULES
        if path.parent == PROJECT / "utils" and path.name != "__init__.py"
    ]
    code = f"import sys; sys.path[:0] = [{str(PROJECT)!r}]\nimport " + ", ".join(names)
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert not list(tmp_path.iterdir())
