"""What computed something: versions of packages, and the commit of this project."""

import importlib.metadata
import platform
import subprocess
from collections.abc import Sequence

from utils.files import PROJECT


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Versions of Python and of those packages that are installed, by name."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            pass
    return found


def commit(leaving_out: Sequence[str] = ()) -> str | None:
    """The commit of this project, with "-dirty" behind it when files differ from it.

    Args:
        leaving_out: patterns of files that may differ.

    Returns:
        None without git or outside a repository.
    """

    def git(*arguments: str) -> subprocess.CompletedProcess:
        command = ["git", "-C", str(PROJECT), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    try:
        described = git("describe", "--always").stdout.strip()
        patterns = [f":(exclude){pattern}" for pattern in leaving_out]
        changed = git("diff", "--quiet", "HEAD", "--", ".", *patterns).returncode
    except OSError:
        return None
    return described + ("-dirty" if changed else "") if described else None
