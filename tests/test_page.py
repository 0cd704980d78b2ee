"""The page in the browser: what it is made of, and how it answers in Chromium.

What needs Chromium is skipped where `requirements/browser.txt`, Chromium's driver or npm is
missing: `make test-extras`.
"""

import importlib.util
import json
import re
import shutil
import sys
import threading
import time
import urllib.request
from functools import partial

import keras
import numpy as np
import pytest
from conftest import CLASS_NAMES, random_batch, save_small
from PIL import Image

if keras.backend.backend() != "tensorflow":
    pytest.skip("export begins with TensorFlow", allow_module_level=True)

import evaluation
from fast.folding import fold
from tools import export, page
from tools.page import LIBRARIES, LOCKED, OWN, SOURCES
from utils.errors import UserError
from utils.formats.via import read_via
from utils.label_maps.polygons import draw_regions
from utils.pictures import read_picture

SIZE = (32, 48)
FLAGS = "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync "
FLAGS += "--disable-background-networking --disable-component-update "
FLAGS += "--use-fake-device-for-media-stream --use-fake-ui-for-media-stream"
NEEDED = [each for each in ("chromedriver", "npm") if shutil.which(each) is None]
NEEDED += [
    each
    for each in ("selenium", *export.FORMATS["onnx"].needs)
    if not importlib.util.find_spec(each)
]
in_chromium = pytest.mark.skipif(bool(NEEDED), reason=f"needs {', '.join(NEEDED)}")


def test_every_source_goes_into_the_page():
    assert sorted(path.name for path in SOURCES.iterdir()) == sorted([*OWN, *LOCKED])


def test_nothing_comes_from_elsewhere():
    for name in OWN:
        found = re.findall(r"https?://[^\s\"']*", (SOURCES / name).read_text(encoding="utf-8"))
        assert set(found) <= {"http://www.w3.org/2000/svg"}, name
    assert "default-src 'none'" in (SOURCES / "index.html").read_text(encoding="utf-8")


def test_libraries_are_locked():
    """By version and checksum, those that they need too; no file names this or that registry."""
    wanted, locked = (json.loads((SOURCES / name).read_text()) for name in LOCKED)
    packages = locked["packages"]
    for name in {source.split("/")[0] for source in LIBRARIES}:
        assert packages[f"node_modules/{name}"]["integrity"].startswith("sha512-")
    for name, version in wanted["dependencies"].items():
        assert packages[f"node_modules/{name}"]["version"] == version
    assert not any("resolved" in package for package in packages.values())


def test_the_server(tmp_path):
    (tmp_path / "model.json").write_text("{}")
    with page.server_of(tmp_path, 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_port
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/model.json") as answer:
            assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
            assert answer.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
        with pytest.raises(UserError, match=f"port {port} cannot be had"):
            page.server_of(tmp_path, port)
        server.shutdown()
    with pytest.raises(UserError, match="holds no page; build it with make page"):
        page.server_of(tmp_path / "missing", 0)


def test_what_it_refuses(tmp_path, monkeypatch):
    (tmp_path / "index.html").write_text("mine")
    with pytest.raises(UserError, match="is no page of this tool"):
        page.build(tmp_path / "x.weights.h5", tmp_path, False)
    about = {"channels": 4, "classes": []}
    (tmp_path / "about.json").write_text(json.dumps(about))
    with pytest.raises(UserError, match="this network looks at others"):
        page.describe(tmp_path / "about.json")
    (tmp_path / "about.json").write_text(json.dumps({**about, "channels": 3, "turn": "raw"}))
    with pytest.raises(UserError, match="sees them as they lie in their files"):
        page.describe(tmp_path / "about.json")
    monkeypatch.setattr(page.shutil, "which", lambda name: None)
    with pytest.raises(UserError, match="needs npm"):
        page.bring_libraries(tmp_path / "libraries")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A page with a small network, and `evaluation.answer` with it."""
    folder = tmp_path_factory.mktemp("page")
    model = save_small(folder / "net.weights.h5", SIZE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "apart", lambda function, *arguments: function(*arguments))
        patch.setattr(sys, "argv", sys.argv)  # which tf2onnx changes
        for _ in range(2):  # the second over the first
            page.build(folder / "net.weights.h5", folder / "page", False)
    return folder / "page", partial(evaluation.answer, fold(model))


@pytest.fixture(scope="module")
def chromium(built, tmp_path_factory):
    """Chromium, and the folder of what it downloads."""
    from selenium import webdriver

    down = tmp_path_factory.mktemp("down")
    options = webdriver.ChromeOptions()
    for flag in FLAGS.split():
        options.add_argument(flag)
    options.add_experimental_option("prefs", {"download.default_directory": str(down)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    with page.server_of(built[0], 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        driver = webdriver.Chrome(options, service)
        driver.set_window_size(1280, 900)
        driver.get(f"http://127.0.0.1:{server.server_port}/")
        wait(driver, "Ready")
        yield driver, down
        # Nothing was refused, missing or wrong meanwhile, but for what is no picture.
        assert not driver.get_log("browser")
        driver.quit()
        server.shutdown()


def wait(driver, part, seconds=60):
    """Until the status says this."""
    status, end = driver.find_element("id", "status"), time.monotonic() + seconds
    while part not in (text := status.text):
        assert time.monotonic() < end, f"{text!r} and not {part!r}"
        time.sleep(0.02)


def open_file(driver, path, part=None):
    driver.find_element("id", "file").send_keys(str(path))
    wait(driver, part or f"{path.name}, ")


def fetch(driver, down, button, name):
    """Press a button and wait for its file."""
    driver.find_element("id", button).click()
    end = time.monotonic() + 30
    while not (down / name).is_file():
        assert time.monotonic() < end, [path.name for path in down.iterdir()]
        time.sleep(0.05)
    return down / name


@in_chromium
@pytest.mark.parametrize("size", [(90, 131), (32, 48), (20, 30)])
def test_it_answers_as_keras(size, built, chromium, tmp_path):
    driver, down = chromium
    picture = random_batch((size[0] // 5 + 1, size[1] // 5 + 1), 1)[0][0]
    picture = np.kron(picture, np.ones((5, 5, 1), np.uint8))[: size[0], : size[1]]
    path = tmp_path / f"of {size[0]} & more.png"
    Image.fromarray(picture).save(path)
    open_file(driver, path)
    expected = evaluation.segment_batch(built[1], [picture])[0]
    assert len(np.unique(expected)) > 1  # else it would be no test
    with Image.open(fetch(driver, down, "mask", f"{path.stem}-mask.png")) as mask:
        assert mask.mode == "P" and mask.getpalette()[3:6] == [128, 0, 0]
        found = np.array(mask)
    assert found.shape == size and (found == expected).mean() > 0.99
    shares = driver.execute_script(
        "return [...document.querySelectorAll('td:last-child')].map((cell) => cell.textContent)"
    )
    assert shares == [f"{100 * (found == label).mean():.1f} %" for label in range(3)]

    text = fetch(driver, down, "project", f"{path.stem}-via.json").read_text()
    project = read_via(path, text, json.loads(text))
    (drawn,) = project.annotations
    assert (drawn.file, drawn.size) == (path.name, path.stat().st_size)
    options = json.loads(text)["_via_attributes"]["region"]["Name"]["options"]
    assert list(options.values()) == list(CLASS_NAMES)
    pairs = [(region, int(region.attributes["Name"])) for region in drawn.regions]
    labels, _ = draw_regions(pairs, size)
    # Of noise: within a pixel of each rim much is not the same.
    assert (labels == found).mean() > 0.8


@in_chromium
def test_outlines_within_a_pixel(chromium):
    """Blobs, one in another's hole: drawn again they are what they were."""
    driver, _ = chromium
    y, x = np.mgrid[:200, :300]
    classes = np.zeros((200, 300), np.uint8)
    for label, radius in ((1, 80), (2, 50), (0, 20)):
        classes[(x - 120) ** 2 + (y - 100) ** 2 < radius**2] = label
    classes[150:, 250:] = 2  # in a corner
    regions = driver.execute_async_script(
        "const [values, size, done] = arguments;"
        "import('/outlines.js').then((m) => done(m.viaRegions(Uint8Array.from(values), size)))",
        classes.ravel().tolist(),
        [200, 300],
    )
    assert [region["region_attributes"]["Name"] for region in regions] == ["1", "2", "2", "0"]
    entry = {"filename": "a.png", "size": 1, "regions": regions, "file_attributes": {}}
    (drawn,) = read_via("a.json", "", {"_via_img_metadata": {"a.png1": entry}}).annotations
    pairs = [(region, int(region.attributes["Name"])) for region in drawn.regions]
    labels, _ = draw_regions(pairs, classes.shape)
    for label in range(3):
        both, either = (
            (labels == label) & (classes == label),
            (labels == label) | (classes == label),
        )
        assert both.sum() / either.sum() > 0.97
    assert (labels[150:, 250:] == 2).all()
    assert sum(len(region["shape_attributes"]["all_points_x"]) for region in regions) < 120


@in_chromium
def test_twelve_megapixels(built, chromium, tmp_path):
    driver, down = chromium
    small = Image.fromarray(random_batch((9, 12), 1)[0][0])
    path = tmp_path / "large.png"
    small.resize((4000, 3000), Image.Resampling.BICUBIC).save(path, compress_level=1)
    open_file(driver, path)
    with Image.open(fetch(driver, down, "mask", "large-mask.png")) as mask:
        found = np.array(mask)
    expected = evaluation.segment_batch(built[1], [read_picture(path)])[0]
    assert found.shape == (3000, 4000) and (found == expected).mean() > 0.999


@in_chromium
def test_what_is_no_picture_leaves_the_last_answer(chromium, tmp_path):
    driver, _ = chromium
    good = tmp_path / "good.png"
    Image.fromarray(random_batch((40, 60), 1)[0][0]).save(good)
    open_file(driver, good)
    shown = "return [photograph.ariaLabel, photograph.width, answer.width, legend.innerText]"
    seen = driver.execute_script(shown)
    assert seen[0].startswith("good.png: ") and seen[1:3] == [60, 60]
    bad = tmp_path / "bad.jpg"
    bad.write_text("This is no picture.")
    open_file(driver, bad, "bad.jpg is no picture that this browser can read")
    assert driver.find_element("id", "mask").is_enabled()
    assert driver.execute_script(shown) == seen


@in_chromium
def test_a_turned_photograph_is_upright(chromium, tmp_path):
    driver, down = chromium
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    path = tmp_path / "turned.jpg"
    Image.fromarray(random_batch((40, 60), 1)[0][0]).save(path, exif=exif)
    open_file(driver, path, "turned.jpg, 40 × 60 pixels")
    with Image.open(fetch(driver, down, "mask", "turned-mask.png")) as mask:
        assert mask.size == (40, 60)


@in_chromium
def test_dropped(chromium, tmp_path):
    driver, _ = chromium
    driver.execute_async_script(
        """const done = arguments[0], canvas = new OffscreenCanvas(60, 40);
        canvas.getContext("2d").fillRect(5, 5, 9, 9);
        canvas.convertToBlob().then((blob) => {
          const dataTransfer = new DataTransfer();
          dataTransfer.items.add(new File([blob], "dropped.png"));
          document.body.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true }));
          done();
        });"""
    )
    wait(driver, "dropped.png, 60 × 40 pixels")


@in_chromium
def test_by_keyboard(chromium):
    """Every control can be reached in the order in which it stands, and is seen to be reached."""
    from selenium.webdriver import ActionChains, Keys

    driver, _ = chromium
    driver.execute_script("document.getElementById('file').focus()")
    reached = []
    for key in (Keys.SHIFT, *[Keys.TAB] * 4):  # Shift alone: focus is shown where keys are used
        ActionChains(driver).send_keys(key).perform()
        element = driver.switch_to.active_element
        reached.append(element.get_attribute("id"))
        seen = driver.execute_script(
            "const e = document.activeElement, label = e.id === 'file' && e.previousElementSibling;"
            "return getComputedStyle(label || e).outlineWidth",
        )
        assert seen == "3px", reached
        if reached[-1] == "opacity":
            ActionChains(driver).send_keys(Keys.HOME).perform()
            style = "return getComputedStyle(document.getElementById('answer')).opacity"
            assert driver.execute_script(style) == "0"
            ActionChains(driver).send_keys(Keys.END).perform()
            assert driver.execute_script(style) == "1"
    assert reached == ["file", "webcam", "opacity", "mask", "project"]


@in_chromium
def test_the_webcam(chromium):
    """Chromium's own picture of a webcam; what is stopped can be saved with its answer."""
    driver, down = chromium
    driver.find_element("id", "webcam").click()
    wait(driver, "webcam-")
    driver.find_element("id", "webcam").click()
    time.sleep(0.5)
    name = driver.find_element("id", "status").text.split(",")[0]
    with Image.open(fetch(driver, down, "picture", name)) as picture:
        assert picture.size == (640, 480)
    assert driver.find_element("id", "webcam").get_attribute("aria-pressed") == "false"


@in_chromium
@pytest.mark.parametrize("width", [360, 768, 1280])
def test_widths(width, chromium):
    """Nothing lies outside of the window, and what is pressed is large enough for a finger."""
    driver, _ = chromium
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500},
    )
    assert driver.execute_script("return document.documentElement.scrollWidth") <= width
    for element in driver.find_elements("css selector", "button:not([hidden]), .button"):
        assert element.size["height"] >= 40
        assert 0 <= element.rect["x"] <= element.rect["x"] + element.rect["width"] <= width
    driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@in_chromium
def test_only_its_own_server_is_asked(chromium):
    driver, _ = chromium
    asked = driver.execute_script(
        "return performance.getEntriesByType('resource').map((entry) => entry.name)"
    )
    assert asked and all(name.startswith((driver.current_url, "blob:")) for name in asked)
