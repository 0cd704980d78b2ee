"""What `import utils` finds where a library of this folder is run: see `utils/utils.py`."""

import runpy
from pathlib import Path

if __name__ == "utils":
    runpy.run_path(str(Path(__file__).resolve().parents[1] / "utils.py"), run_name="utils")
