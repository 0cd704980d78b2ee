"""A page that segments photographs in a browser, with the network in it.

    python3 chapter12-segmentation/tools/page.py WEIGHTS
    python3 chapter12-segmentation/tools/page.py --serve

The first puts a folder together: the sources in `chapter12-segmentation/page`, the network as ONNX
(`tools/export.py`), and libraries from npm in the versions and with the checksums that
`package-lock.json` names, above all ONNX Runtime Web, which computes. The second shows it at
127.0.0.1. Any other server does as well; with the two headers of `Isolated` the network computes
with all cores, else with one.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

CHAPTER = Path(__file__).resolve().parents[1]
if __name__ == "__main__":  # in place of this folder
    sys.path[:1] = [str(CHAPTER.parent), str(CHAPTER)]

from tools.export import check_packages, export  # noqa: E402
from tools.export import start as start_export  # noqa: E402
from utils.errors import UserError  # noqa: E402
from utils.errors import run as run_main  # noqa: E402
from utils.files import at_home, replace_whole  # noqa: E402
from utils.option_types import whole_number  # noqa: E402

SOURCES = CHAPTER / "page"
OWN = ("index.html", "icon.svg", "page.css", "page.js", "worker.js", "outlines.js", "png.js")
OWN += ("resize.js",)
LOCKED = ("package.json", "package-lock.json")
# What is taken of each npm package, and the name that it gets.
LIBRARIES = {
    "onnxruntime-web/dist/ort.wasm.min.mjs": "ort.wasm.min.mjs",
    "onnxruntime-web/dist/ort-wasm-simd-threaded.mjs": "ort-wasm-simd-threaded.mjs",
    "onnxruntime-web/dist/ort-wasm-simd-threaded.wasm": "ort-wasm-simd-threaded.wasm",
    "d3-array/dist/d3-array.min.js": "d3-array.min.js",
    "d3-array/LICENSE": "d3-array.LICENSE",
    "d3-contour/dist/d3-contour.min.js": "d3-contour.min.js",
    "d3-contour/LICENSE": "d3-contour.LICENSE",
    "simplify-js/simplify.js": "simplify.js",
    "simplify-js/LICENSE": "simplify.LICENSE",
}


def bring_libraries(folder: Path) -> None:
    """Put the libraries into a folder, checked by npm against `package-lock.json`.

    Raises:
        UserError: there is no npm, or it fails.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise UserError(
            "the page needs npm, which brings ONNX Runtime Web; install Node.js 20 or later."
        )
    with tempfile.TemporaryDirectory() as work:
        for name in LOCKED:
            shutil.copyfile(SOURCES / name, Path(work) / name)
        # No package may run a script of its own.
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(command, cwd=work, capture_output=True, text=True, check=False)
        if done.returncode:
            why = " ".join(done.stderr.split())[:300]
            raise UserError(f"npm did not bring the page's libraries ({why}); try again online.")
        folder.mkdir()
        for source, name in LIBRARIES.items():
            shutil.copyfile(Path(work) / "node_modules" / source, folder / name)


def describe(path: Path) -> dict[str, object]:
    """What the page needs to know, from the JSON beside an exported network.

    Raises:
        UserError: it is no network for photographs as browsers have them.
    """
    from utils.formats.writing import via_project

    about = json.loads(path.read_text(encoding="utf-8"))
    if about["channels"] not in (1, 3) or "scale" in about:
        raise UserError(
            "a browser shows pictures of 8 bits in 3 channels, and this network looks at others; "
            "segment them with fcn-12.3.1.py --segment."
        )
    if "turn" in about:
        raise UserError(
            "a browser turns pictures as their EXIF orientation says, and this network sees them "
            "as they lie in their files; segment them with fcn-12.3.1.py --segment."
        )
    choices = {str(each["id"]): each["name"] for each in about["classes"]}
    return about | {"via": via_project("via_project", {}, choices)}


def build(weights: Path, out: Path, quantise: bool, data: Path | None = None) -> None:
    """Put the page together; what was built there before is replaced.

    Args:
        weights: of the network.
        out: the folder.
        quantise: whether the network is kept in 8 bits.
        data: folder of pictures to compare with, see `export.export`.

    Raises:
        UserError: the folder holds something else, npm or a package is missing, or the network
            cannot be exported or is none for photographs.
    """
    if out.exists() and not (out.is_dir() and _is_ours(out)):
        raise UserError(f"{out} is there and is no page of this tool; name another with --out.")
    check_packages("onnx")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        bring_libraries(work / "libraries")
        for name in OWN:
            shutil.copyfile(SOURCES / name, work / name)
        export(weights, "onnx", work / "model.onnx", "probabilities", quantise, data)
        beside = work / "model.onnx.json"
        (work / "model.json").write_text(json.dumps(describe(beside)), encoding="utf-8")
        beside.unlink()
        for made in sorted(path for path in work.rglob("*") if path.is_file()):
            with replace_whole(out / made.relative_to(work)) as unfinished:
                shutil.copyfile(made, unfinished)
    print(f"{out}: show it with python3 chapter12-segmentation/tools/page.py --serve")


def _is_ours(folder: Path) -> bool:
    return not any(folder.iterdir()) or all((folder / name).is_file() for name in OWN)


class Isolated(SimpleHTTPRequestHandler):
    """Files of a folder, with the headers without which browsers give a page one thread."""

    def end_headers(self) -> None:
        """Add them."""
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        self.send_header("Cache-Control", "no-cache")  # else an old network meets a new page
        super().end_headers()

    def log_message(self, *_: object) -> None:
        """Print no line a file."""


def server_of(folder: Path, port: int) -> ThreadingHTTPServer:
    """A server of a page for this machine alone.

    Args:
        port: 0 for any that is free.

    Raises:
        UserError: there is no page, or the port is taken.
    """
    if not folder.is_dir() or not (folder / "model.json").is_file():
        raise UserError(f"{folder} holds no page; build it with make page.")
    try:
        return ThreadingHTTPServer(("127.0.0.1", port), partial(Isolated, directory=folder))
    except OSError as error:
        raise UserError(
            f"port {port} cannot be had ({error}); name another with --port."
        ) from error


def main() -> None:
    """Read the command line, and build or show the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "weights", nargs="?", metavar="WEIGHTS", help="a file, or a name (those that ship)"
    )
    parser.add_argument("--out", type=at_home, default=Path("page"), help="the folder (page)")
    parser.add_argument(
        "--quantise", action="store_true", help="keep the network in 8 bits, a quarter of the size"
    )
    parser.add_argument(
        "--data-path",
        type=at_home,
        help="pictures to compare with (those of the training; noise if there are none)",
    )
    parser.add_argument("--serve", action="store_true", help="show what was built, build nothing")
    port = whole_number(0, 65535)
    parser.add_argument("--port", type=port, default=8000, help="of --serve (8000)")
    args = parser.parse_args()
    if args.serve and (args.weights or args.quantise or args.data_path):
        parser.error("--serve shows what was built: leave out WEIGHTS, --quantise and --data-path")
    if args.serve:
        with server_of(args.out, args.port) as server:
            print(f"http://127.0.0.1:{server.server_port} (ctrl-C ends it)", flush=True)
            server.serve_forever()
        return
    from engine.settings import SHIPPED

    build(start_export(args.weights or str(SHIPPED)), args.out, args.quantise, args.data_path)


if __name__ == "__main__":
    run_main(main)
