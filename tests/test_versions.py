"""What computed something, for the record of a run and of a benchmark."""

import platform
import subprocess

from utils import versions as module
from utils.versions import commit, versions


def test_versions_of_what_is_installed():
    found = versions(["numpy", "no-such-package"])
    assert found["python"] == platform.python_version()
    assert set(found) == {"python", "numpy"} and found["numpy"][0].isdigit()


def test_the_commit_says_whether_files_differ(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PROJECT", tmp_path)
    assert commit() is None  # no repository

    def git(*arguments):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", "-C", tmp_path, *identity, *arguments], check=True)

    git("init", "-q")
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "results.md").write_text("a")
    git("add", ".")
    git("commit", "-qm", "first")
    clean = commit()
    assert len(clean) >= 7 and "dirty" not in clean
    (tmp_path / "results.md").write_text("b")
    assert commit() == clean + "-dirty" and commit(["results.*"]) == clean
    (tmp_path / "a.txt").write_text("b")
    assert commit(["results.*"]) == clean + "-dirty"


def test_a_machine_without_git(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commit() is None
