"""What once went wrong, by what was done: each case is to be right, or to end in one sentence.

Large inputs are made here. A case takes an empty folder; the files beside it are a stranger's.
"""

import csv
import io
import json
import os
import pickle
import resource
import signal
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from random import Random

import h5py
import numpy as np
import tifffile
from PIL import Image

from attacks import annotations, guard, masks, pictures, stores
from attacks.cases import Wrong
from attacks.mutate import DEEP, HOSTILE, LONG, NESTED, PATHS, to_text
from utils.errors import UserError
from utils.files import PROJECT, UNFINISHED, replace_whole
from utils.generate_gt_segmentation import main, make_labels
from utils.label_maps.fresh import ensure_labels
from utils.label_maps.from_masks import make_labels_from_masks
from utils.label_maps.store import open_labels
from utils.pictures import read_picture

# One of each kind of `HOSTILE`.
VALUES = (None, True, -1, 1.5, float("nan"), 10**400, "", "\ud800", "9" * 5000, [], {}, [[1]], DEEP)
VALUES += ("../outside", "/dev/zero")
CORPUS: dict[str, Callable[[Path], None]] = {}


def case(name: str, *parameters):
    """Put a function into the corpus, once for each parameter."""

    def put(function):
        for parameter in parameters:
            CORPUS[f"{name}, {str(parameter)[:40]}"] = lambda folder, p=parameter: function(
                folder, p
            )
        if not parameters:
            CORPUS[name] = function
        return function

    return put


def region(shape: dict, name: object = "can") -> dict:
    """A region of VIA's JSON."""
    return {"shape_attributes": shape, "region_attributes": {"Name": name}}


def polygon(xs: list, ys: list) -> dict:
    """A polygon of VIA's JSON."""
    return region({"name": "polygon", "all_points_x": xs, "all_points_y": ys})


def labels_of(folder: Path, *regions: dict, size: tuple[int, int] | None = None) -> None:
    """Make labels of one picture with these regions, and compare them with the reference."""
    annotations.write_around(folder)
    if size:
        Image.new("RGB", size[::-1]).save(folder / "a.png")
    entries = {"a": {"filename": "a.png", "size": -1, "regions": list(regions)}}
    (folder / "set.json").write_text(to_text(entries))
    if size:  # the reference would take too long
        make_labels(folder / "set.json", progress=False)
    else:
        annotations.judge(folder, folder / "set.json")


def refused(function: Callable, *arguments) -> None:
    """Raise `Wrong` unless a call ends in a sentence."""
    try:
        function(*arguments)
    except UserError:
        return
    raise Wrong("it was not refused")


def run_tool(*words: object) -> None:
    """`generate_gt_segmentation.py` with these words."""
    saved, sys.argv = sys.argv, ["generate_gt_segmentation.py", *map(str, words)]
    try:
        main()
    finally:
        sys.argv = saved


def write_store(folder: Path, **changed: bytes) -> Path:
    """A data folder with its store; `changed` has other content for files, "set.npy" as `npy`."""
    for name, content in stores.files().items():
        (folder / name).write_bytes(content)
    names = {"npy": "set.npy", "index": "set.index.json", "classes": "classes.json"}
    for key, content in changed.items():
        (folder / names[key]).write_bytes(content)
    return folder / "set.npy"


@contextmanager
def unwatched():
    """Programs that the case itself starts are none of what it touches."""
    allowed, guard._allowed = guard._allowed, None
    try:
        yield
    finally:
        guard._allowed = allowed


def prepared():
    """The modules `weights` and `configurations`, imported and made ready.

    Imported here, since Keras takes seconds, and what libraries do meanwhile is none of a case's.
    """
    with unwatched():
        import tools.segmenting  # noqa: F401
        from attacks import configurations, weights

        configurations.prepare()
    return weights, configurations


# 1. Labels remade while they are in use.


@case("a store is made anew from other annotations while it is open")
def _remade(folder: Path) -> None:
    path = write_store(folder)
    store = open_labels(path)
    before = {key: store[key] for key in store.keys}
    entries = json.loads((folder / "set.json").read_text())
    pictures_of = entries["_via_img_metadata"]
    first = next(iter(pictures_of))
    pictures_of[first] = pictures_of.pop(first)
    (folder / "set.json").write_text(json.dumps(entries))
    make_labels(folder / "set.json", progress=False)
    for key in before:  # or a sentence
        if not np.array_equal(store[key], before[key]):
            raise Wrong(f"{key} has the map of another picture")


@case("a JSON and a CSV of one stem are opened together")
def _one_stem(folder: Path) -> None:
    annotations.write_around(folder)
    rows = [row for row in annotations.rows() if row[0] == "b.png"]
    (folder / "set.json").write_text(json.dumps(annotations.project("project")))
    (folder / "set.csv").write_text(annotations.as_csv(rows))
    wanted = annotations.expected(folder, folder / "set.json")
    one = ensure_labels(folder / "set.json", False, folder)
    other = ensure_labels(folder / "set.csv", False, folder)
    if list(other.keys) != ["b.png"]:
        raise Wrong("the CSV has the labels of the JSON")
    for key, drawing in wanted.items():
        if text := drawing.differs(one[key]):
            raise Wrong(f"{key}: {text}")


# 3. Inputs are no outputs.


@case("the annotations are where the index would be")
def _index_is_input(folder: Path) -> None:
    annotations.write_around(folder)
    source = folder / "t.index.json"
    source.write_text(json.dumps(annotations.project("project")))
    before = source.read_bytes()
    try:
        run_tool("-j", source, "--save-filename", folder / "t.npy")
    finally:
        if source.read_bytes() != before:
            raise Wrong("the annotations are gone")


# 4. Formats are named.


@case("a PostScript file is called .jpg")
def _postscript(folder: Path) -> None:
    text = "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"
    (folder / "a.jpg").write_text(text)
    refused(read_picture, folder / "a.jpg")


# 5. Orientation.


@case(
    "orientation", *((f, e, x) for f in ("JPEG", "WEBP", "PNG") for e in range(9) for x in (0, 6))
)
def _orientation(folder: Path, how: tuple[str, int, int]) -> None:
    form, exif, xmp = how
    path = folder / "a.bin"
    content = pictures.file_of(form, "colour", exif, xmp)
    if form == "PNG" and xmp:
        text = b"XML:com.adobe.xmp\0\0\0\0\0" + pictures.XMP.format(xmp).encode()
        content = content[:33] + _chunk(b"iTXt", text) + content[33:]
    path.write_bytes(content)
    with Image.open(io.BytesIO(pictures.file_of(form, "colour", 0, 0))) as image:
        stored = np.asarray(image.convert("RGB")).astype(int)
    wanted = pictures.turn(stored, exif or 1)
    if not np.array_equal(read_picture(path), wanted):
        raise Wrong("it is turned otherwise than its EXIF data say")


def _chunk(kind: bytes, content: bytes) -> bytes:
    whole = kind + content
    return struct.pack(">I", len(content)) + whole + struct.pack(">I", zlib.crc32(whole))


# 7. Stores.


@case("a store is in Fortran's order")
def _fortran(folder: Path) -> None:
    sizes = {(8, 12)}
    content = json.loads(stores.files()["set.index.json"])
    maps = np.asfortranarray(np.random.default_rng(0).integers(0, 3, (3, *sizes.pop()), np.uint8))
    file = io.BytesIO()
    np.save(file, maps)
    index = json.dumps(content | {"sizes": None}).encode()
    store = open_labels(write_store(folder, npy=file.getvalue(), index=index))
    if any(not np.array_equal(store[number], maps[number]) for number in range(3)):
        raise Wrong("the maps are scrambled")


@case("a store has ids of no class", 3, 7, 254)
def _foreign_ids(folder: Path, value: int) -> None:
    content = bytearray(stores.files()["set.npy"])
    content[stores.HEADER + 40] = value
    write_store(folder, npy=bytes(content))
    stores.judge(folder, checks=False)


@case("two classes have one colour")
def _one_colour(folder: Path) -> None:
    annotations.write_around(
        folder,
        b'{"classes": [{"id": 0, "name": "a", "colour": [0, 0, 0]}, '
        b'{"id": 1, "name": "b", "colour": [9, 9, 9]}, '
        b'{"id": 2, "name": "c", "colour": [9, 9, 9]}]}',
    )
    (folder / "masks").mkdir()
    for name, size in annotations.SIZES.items():
        picture = np.zeros((*size, 3), np.uint8)
        picture[2:6] = 9
        Image.fromarray(picture).save(folder / "masks" / name)
    masks.judge(folder)


# 8. Several programs at once.


@case("several programs make the same labels")
def _at_once(folder: Path) -> None:
    annotations.write_around(folder)
    (folder / "set.json").write_text(json.dumps(annotations.project("project")))
    code = (
        f"import sys; sys.path.insert(0, {str(PROJECT)!r})\n"
        "from utils.label_maps.fresh import ensure_labels\n"
        f"store = ensure_labels({str(folder / 'set.npy')!r}, False)\n"
        "assert [store[key] is not None for key in store.keys] == [True] * 3"
    )
    with unwatched():
        programs = [
            subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE) for _ in range(6)
        ]
        errors = [program.communicate()[1].decode() for program in programs]
    if any(program.returncode for program in programs):
        raise Wrong("; ".join(filter(None, errors))[-600:])
    if list(folder.glob("*.old*")):
        raise Wrong("good labels are put aside")


# 9. One bad picture among others.


@case("a bad picture among good ones", "damaged AVIF", "DDS", "colon", "empty", "FIFO")
def _bad_picture(folder: Path, what: str) -> None:
    prepared()
    from tools.segmenting import pictures_of_files

    for name in ("b.png", "z.png"):
        (folder / name).write_bytes(annotations.pictures()[name.replace("z", "c")])
    avif = bytearray(pictures.file_of("AVIF", "colour", 0, 0))
    avif[-60:-20] = bytes(40)
    if what == "FIFO":
        os.mkfifo(folder / "m.png")
    else:
        name = {"damaged AVIF": "m.avif", "colon": "C:m.png"}.get(what, "m.png")
        content = {"damaged AVIF": bytes(avif), "DDS": b"DDS |\0\0\0" + bytes(120), "empty": b""}
        (folder / name).write_bytes(content.get(what, annotations.pictures()["a.png"]))
    read = []
    try:
        for name, *_ in pictures_of_files([folder]):
            read.append(name)
    finally:
        if not {"b.png", "z.png"} <= set(read):
            raise Wrong(f"of the others {read} are read")


# 10. Leftovers.


@case("leftovers of killed programs")
def _leftovers(folder: Path) -> None:
    left = folder / f"{UNFINISHED}abcdefgh.weights.h5"
    left.write_bytes(b"0" * 1000)
    with replace_whole(folder / "a.txt") as unfinished:
        unfinished.write_text("a")
    if left.exists():
        raise Wrong("they are still there")


# 11. Time and memory.


@case("a zigzag of very many points", 50_000, 200_000)
def _zigzag(folder: Path, count: int) -> None:
    across = [0 if number % 2 else 4000 for number in range(count)]
    labels_of(folder, polygon(across, [n * 3000 // count for n in range(count)]), size=(3000, 4000))


@case("many circles of a great radius", 1e8, 1e300)
def _circles(folder: Path, radius: float) -> None:
    circle = region({"name": "circle", "cx": 5, "cy": 5, "r": radius})
    labels_of(folder, *[circle] * 300, size=(480, 640))


@case("a FIFO beside the annotations", "x.json", "x.csv", "classes.json", "set.index.json", "d.png")
def _fifo(folder: Path, name: str) -> None:
    annotations.write_around(folder)
    (folder / "set.json").write_text(json.dumps(annotations.project("project")))
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    ensure_labels(folder / "set.npy", False, folder)


@case("an index names a device", "/dev/zero", "../../../../../../../../../dev/zero")
def _device(folder: Path, name: str) -> None:
    content = json.loads(stores.files()["set.index.json"])
    content["made_from"]["file"] = name
    path = write_store(folder, index=json.dumps(content).encode())
    ensure_labels(path, False, folder)


# 12. Paths in an index.


@case("an index leaves the folder", "file", "classes", "folder")
def _index_path(folder: Path, key: str) -> None:
    content = json.loads(stores.files()["set.index.json"])
    where = content if key == "folder" else content["made_from"]
    where[key] = "../outside" + ("" if key == "folder" else "/private.json")
    path = write_store(folder, index=json.dumps(content).encode())
    (folder / "set.json").unlink()
    store = ensure_labels(path, False, folder)
    for name in store.keys:
        store.picture_size(name)


# 13. What ends a process.


@case("a pickle of tuples in tuples", 2_000_000)
def _deep_pickle(folder: Path, depth: int) -> None:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": ()})
    (folder / "set.npy").write_bytes(
        file.getvalue() + pickle.PROTO + b"\2" + pickle.EMPTY_TUPLE + pickle.TUPLE1 * depth + b"."
    )
    code = (
        f"import sys; sys.path.insert(0, {str(PROJECT)!r})\n"
        "from utils.errors import run\nfrom utils.label_maps.store import open_labels\n"
        f"run(lambda: open_labels({str(folder / 'set.npy')!r}))"
    )
    with unwatched():
        status = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    if status.returncode != 2 or status.stderr.count(b"\n") != 1:
        raise Wrong(f"status {status.returncode}: {status.stderr.decode()[-300:]}")


# 14. One sentence each.


@case("a coordinate", *(v for v in HOSTILE if not isinstance(v, dict)))
def _coordinate(folder: Path, value: object) -> None:
    labels_of(folder, polygon([1, value, 8], [1, 2, 9]))


@case("long numbers and deep lists", "cell", "classes", "index", "file_size", "json")
def _digits(folder: Path, where: str) -> None:
    for text in (LONG, NESTED, '{"a":' * 100_000, f'{{"a": {LONG}}}'):
        for old in folder.iterdir():
            old.unlink()
        path = write_store(folder)
        rows = annotations.rows()
        if where == "classes":
            (folder / "classes.json").write_text(text)
        if where == "index":
            (folder / "set.index.json").write_text(text)
            (folder / "set.json").unlink()
        if where == "json":
            (folder / "set.json").write_text(text)
        if where == "file_size":
            rows[0][1] = text
        if where in ("cell", "file_size"):
            (folder / "set.json").unlink()
            source, path = folder / "set.csv", folder / "set.csv"
            lines = annotations.as_csv(rows)
            if where == "cell":
                file = io.StringIO()
                csv.writer(file).writerow(["a.png", 1, "{}", 1, 0, text, "{}"])
                lines += file.getvalue()
            source.write_text(lines)
        try:
            ensure_labels(path, False, folder)
        except UserError as error:
            if len(str(error)) > 2000:
                raise Wrong(f"a sentence of {len(str(error))} characters") from error


@case(
    "a name of a picture", "x" * 300, "\ud800", "a\0b", "../outside/a.png", "/etc/passwd", "a.png/"
)
def _name(folder: Path, name: str) -> None:
    annotations.write_around(folder)
    entries = annotations.project("export")
    entries["more"] = {"filename": name, "size": 1, "regions": []}
    (folder / "set.json").write_text(json.dumps(entries))
    annotations.judge(folder, folder / "set.json")


@case("a long value of a class", "name", "id", "colour")
def _long_value(folder: Path, key: str) -> None:
    for value in (LONG, [annotations.CLASSES] * 99):
        classes = [dict(each) for each in annotations.CLASSES]
        classes[1][key] = [0, 0, value] if key == "colour" else value
        annotations.write_around(folder, json.dumps({"classes": classes}).encode())
        (folder / "set.json").write_text(json.dumps(annotations.project("project")))
        try:
            annotations.judge(folder, folder / "set.json")
        except UserError as error:
            if len(str(error)) > 2000:
                raise Wrong(f"a sentence of {len(str(error))} characters") from error


@case("a link that leads to itself", "set.json", "set.npy", "a.png", "classes.json")
def _loop(folder: Path, name: str) -> None:
    path = write_store(folder)
    (folder / name).unlink()
    (folder / name).symlink_to(folder / name)
    store = ensure_labels(path, False, folder)
    for key in store.keys:
        store.picture(key)


@case("the header of a store", "{", "{[]: 1}", "(" * 5000, "{'descr': '|u1'}", "\xff", "[" * 5000)
def _header(folder: Path, text: str) -> None:
    content = text.encode("latin-1")
    start = b"\x93NUMPY\x01\x00" + len(content).to_bytes(2, "little")
    path = write_store(folder, npy=start + content)
    (folder / "set.json").unlink()
    refused(open_labels, path)
    ensure_labels(path, False, folder)


@case("a value of an index", *("keys", "sizes", "classes", "folder", "made_from", "reading"))
def _index(folder: Path, key: str) -> None:
    content = json.loads(stores.files()["set.index.json"])
    for value in (*VALUES, *PATHS):
        index = to_text(content | {key: value}).encode(errors="surrogatepass")
        path = write_store(folder, index=index)
        for opening in (open_labels, lambda p: ensure_labels(p, False, folder)):
            try:
                store = opening(path)
                [store[key] for key in store.keys]
            except UserError as error:
                str(error).encode()


@case("a mask of channels", 0, 2, 300)
def _channels(folder: Path, count: int) -> None:
    annotations.write_around(folder)
    (folder / "masks").mkdir()
    for name in annotations.SIZES:
        path = folder / "masks" / (name[0] + ".tif")
        labels = masks.labels_of(name)
        if count:
            labels = np.repeat(labels[..., None], count, 2)
        tifffile.imwrite(path, labels, photometric="minisblack")
        if not count:
            samples = struct.pack("<HHIHH", 277, 3, 1, 1, 0)
            content = path.read_bytes()
            path.write_bytes(content.replace(samples, struct.pack("<HHIHH", 277, 3, 1, 0, 0)))
    make_labels_from_masks(folder / "masks", folder / "out.npy", progress=False, data_path=folder)


# 15. A full disk.


@contextmanager
def _full(most: int):
    """Files may have `most` bytes, as if the disk were full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@case("the disk is full", "labels", "weights")
def _full_disk(folder: Path, what: str) -> None:
    annotations.write_around(folder)
    (folder / "set.json").write_text(json.dumps(annotations.project("project")))
    if what == "labels":
        with _full(200):
            refused(lambda: make_labels(folder / "set.json", progress=False))
        return
    weights, _ = prepared()
    from engine.weights import save_weights

    with _full(2000):
        refused(save_weights, weights.model(), folder / "a.weights.h5", {})
    if list(folder.glob("*.h5")) or list(folder.glob(f"{UNFINISHED}*")):
        raise Wrong("a part is left")


# 16. Numbers, cells, weights.


@case("coordinates far away", 2e154, -2e154, 1e308, 1e9, 1e15)
def _far(folder: Path, far: float) -> None:
    labels_of(folder, polygon([-far, far, far, -far], [-far, -far, far, far]))


@case("a long cell of a CSV")
def _cell(folder: Path) -> None:
    annotations.write_around(folder)
    rows = annotations.rows()
    rows[0][5] = {
        "name": "polygon",
        "all_points_x": [2, 11, 6] * 20_000,
        "all_points_y": [1, 3, 10] * 20_000,
    }
    (folder / "set.csv").write_text(annotations.as_csv(rows))
    make_labels(folder / "set.csv", progress=False)


# 2., 6., 11., 14., 16. Runs and weights.


@case("a run of a history that is no whole number", "1e-9", "0.5", "1.5")
def _half_run(folder: Path, number: str) -> None:
    weights, configurations = prepared()
    (folder / "toy-toys-last.weights.h5").write_bytes(weights.places()[0])
    rows = [configurations.EARLIER | {"run": number}]
    (folder / "toy-toys-history.csv").write_text(configurations._history(rows))
    texts = {
        "configuration": json.dumps(configurations.parts()[0]),
        "run": json.dumps(weights.STATE),
    }
    configurations.judge(folder, "resume", texts)


@case("two trainings of one name")
def _two_runs(folder: Path) -> None:
    from engine.runs import RunFiles

    files = RunFiles(folder, "a", "b")

    def second() -> None:
        with RunFiles(folder, "a", "b").locked():
            pass

    with files.locked():
        refused(second)
    second()


@case("killed between the checkpoint and the history", "none", "short")
def _killed(folder: Path, history: str) -> None:
    weights, configurations = prepared()
    (folder / "toy-toys-last.weights.h5").write_bytes(weights.places()[0])
    rows = [configurations.EARLIER, *weights.STATE["rows"]][: 2 if history == "short" else 0]
    (folder / "toy-toys-history.csv").write_text(configurations._history(rows))
    texts = {
        "configuration": json.dumps(configurations.parts()[0]),
        "run": json.dumps(weights.STATE),
    }
    configurations.judge(folder, "resume", texts)


@case(
    "a configuration that would be built for minutes", "resnet900002v2", "resnet1199v2", "filters"
)
def _great(folder: Path, what: str) -> None:
    weights, _ = prepared()
    from engine.weights import read_network

    path = folder / "a.weights.h5"
    path.write_bytes(weights.places()[0])
    with h5py.File(path, "r+") as file:
        content = json.loads(file.attrs["configuration"])
        settings = {"backbone": "resnet20v2", "layers": 3, "filters": 64}
        settings |= {"filters": 10**6} if what == "filters" else {"backbone": what}
        content["network"] |= {"name": "fcn", "settings": settings}
        file.attrs["configuration"] = json.dumps(content)
    refused(lambda: read_network(path).build())


@case("a value of a configuration", *VALUES)
def _configuration(folder: Path, value: object) -> None:
    """Each key of a configuration in turn has this value."""
    weights, configurations = prepared()
    content, state = configurations.parts()
    path = folder / "toy-toys-last.weights.h5"
    path.write_bytes(weights.places()[0])
    for record in ("data", "run"):
        for key in content[record]:
            changed = content | {record: content[record] | {key: value}}
            texts = {"configuration": to_text(changed), "run": json.dumps(state)}
            with h5py.File(path, "r+") as file:
                for name, text in texts.items():
                    file.attrs[name] = text
            (folder / "toy-toys-history.csv").write_text(configurations._history([]))
            try:
                configurations.judge(folder, "resume", texts)
            except UserError as error:
                if len(str(error)) > 2000 or "\n" in str(error):
                    raise Wrong(f"{key}: {str(error)[:300]}") from error
                str(error).encode()


@case("a lie of a weights file", *range(13))
def _lie(folder: Path, number: int) -> None:
    weights, _ = prepared()
    for way in (
        weights.load_weights,
        weights.load_checkpoint,
        weights.start_from,
        weights.read_network,
    ):
        path = folder / f"{way.__name__}.h5"
        path.write_bytes(weights.places()[0])
        with h5py.File(path, "r+") as file:
            weights.LIES[number](Random(number), file, "layers/conv2d/vars/0")
        with weights.toy_in_zoo():
            try:
                weights.judge(path, way, weights.places()[1])
            except UserError:
                continue
