"""What `import utils` finds where a library of this folder is run as a program: it says so.

`python3 utils/classes.py` looks for modules in `utils/` itself, where the package is not seen.
Commands put the project's folder before it; libraries end here, in place of a traceback.
"""

import sys
from pathlib import Path

if __name__ == "utils":
    folder = Path(__file__).resolve().parent
    commands = sorted(
        path.name
        for path in folder.glob("*.py")
        if '\nif __name__ == "__main__":' in path.read_text(encoding="utf-8")
    )
    started = Path(sys.modules["__main__"].__file__).name
    print(
        f"error: {started} is a library, which does nothing by itself; the commands in utils/ are "
        f"{', '.join(commands)}.",
        file=sys.stderr,
    )
    sys.exit(2)
