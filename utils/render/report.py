"""The contact sheet and the README of a rendered dataset, with figures counted from it."""

import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from utils.files import replace_whole
from utils.render.scene import SECOND_RECIPE

# In a folder of its own, since beside the pictures it would pass for one of them.
SHEET = "about/contact-sheet.jpg"
SHEET_BYTES = 480_000
SHEET_PICTURES = 35  # 5 of them test pictures


def contact_sheet(
    pictures: Sequence[Path], path: Path, columns: int = 7, width: int = 224, most_bytes: int = 0
) -> None:
    """Write the pictures side by side into one picture file.

    Args:
        width: of each picture, in pixels.
        most_bytes: lower the quality of a JPEG file until it is no larger; 0 for any size.
    """
    small = []
    for picture in pictures:
        with Image.open(picture) as image:
            height = round(width * image.height / image.width)
            small.append(image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS))
    height = max(image.height for image in small)
    rows = -(-len(small) // columns)
    sheet = Image.new("RGB", (columns * width, rows * height))
    for place, image in enumerate(small):
        sheet.paste(image, (place % columns * width, place // columns * height))
    for quality in range(90, 30, -5):
        content = io.BytesIO()
        sheet.save(content, format="JPEG", quality=quality)
        if not most_bytes or content.tell() <= most_bytes:
            break
    with replace_whole(path) as unfinished:
        unfinished.write_bytes(content.getbuffer())


def write_readme(out: Path, parts: dict[str, list[dict]], names: Sequence[str]) -> None:
    """Write README.md and its contact sheet.

    Args:
        parts: what is known of each picture of "train" and "test", as `render_drinks.py` keeps it.
        names: class names by id, background first.
    """
    chosen = []
    for split, count in (("train", SHEET_PICTURES - 5), ("test", 5)):
        known = parts[split]
        places = np.linspace(0, len(known) - 1, min(count, len(known))).round().astype(int)
        chosen += [out / known[k]["entry"]["filename"] for k in dict.fromkeys(places)]
    contact_sheet(chosen, out / SHEET, most_bytes=SHEET_BYTES)
    columns = {split: statistics(known, names) for split, known in parts.items() if known}
    table = [f"| | {' | '.join(columns)} |", "|---" + "|---:" * len(columns) + "|"]
    for key in next(iter(columns.values())):
        table.append(f"| {key} | {' | '.join(column[key] for column in columns.values())} |")
    settings = next(part["settings"] for known in parts.values() for part in known)
    text = README.format(
        table="\n".join(table),
        train=len(parts["train"]),
        test=len(parts["test"]),
        sheet=SHEET,
        second=SECOND_RECIPE,
        width=settings["size"][1],
        height=settings["size"][0],
        **{key: settings[key] for key in ("seed", "samples", "variant")},
    )
    with replace_whole(out / "README.md") as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def statistics(known: Sequence[dict], names: Sequence[str]) -> dict[str, str]:
    """Rows of the README's table for one split, by their names."""
    drinks = [drink for part in known for drink in part["drinks"] if drink["pixels"]]
    area = sum(np.prod(part["settings"]["size"]) for part in known)
    rows = {"pictures": f"{len(known):,}", "drinks in view": f"{len(drinks):,}"}
    rows["regions (polygons)"] = f"{sum(len(part['entry']['regions']) for part in known):,}"
    covered = 0
    for index, name in enumerate(names):
        if index:
            pixels = sum(drink["pixels"] for drink in drinks if drink["class"] == index)
            count = sum(drink["class"] == index for drink in drinks)
            rows[f"{name}: drinks"] = f"{count:,}"
            rows[f"{name}: pixels"] = _percent(pixels, area)
            covered += pixels
    rows[f"{names[0]}: pixels"] = _percent(area - covered, area)
    per_picture = Counter(sum(d["pixels"] > 0 for d in part["drinks"]) for part in known)
    for count in range(1, 5):
        rows[f"pictures with {count} drink{'s' * (count > 1)}"] = f"{per_picture[count]:,}"
    hidden = np.array([drink["hidden"] for drink in drinks])
    edges = [0, 0.05, 0.25, 0.5, 0.75, 1.01]
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        label = f"drinks hidden {low:.0%} to {min(high, 1):.0%} by others or the frame"
        rows[label] = _percent(((hidden >= low) & (hidden < high)).sum(), len(drinks))
    sizes = np.array([drink["pixels"] for drink in drinks])
    shares = " / ".join(f"{v:,.0f}" for v in np.percentile(sizes, [10, 50, 90]))
    rows["pixels of a drink: 10th / 50th / 90th percentile"] = shares
    agreement = np.array([d["iou"] for d in drinks if d["pixels"] > 400] or [np.nan])
    rows["IoU of polygons and exact masks, median (drinks above 400 px)"] = (
        f"{np.median(agreement):.4f}"
    )
    rows["IoU of polygons and exact masks, least (drinks above 400 px)"] = f"{agreement.min():.4f}"
    places = Counter(part["room"] for part in known)
    rows["places"] = ", ".join(f"{name} {count}" for name, count in sorted(places.items()))
    rows["megabytes"] = f"{sum(part['entry']['size'] for part in known) / 1e6:.1f}"
    return rows


def _percent(part: float, whole: float) -> str:
    return f"{part / max(whole, 1):.1%}"


README = """# Drinks: {train:,} + {test:,} rendered photographs with polygons

![Training pictures, and test pictures in the last row]({sheet})

Pictures of {width}x{height} pixels that show one to four drinks of three kinds:

| id | class |
|---:|---|
| 1 | water bottle: clear ribbed PET, blue cap, white and blue label; full, part full or empty |
| 2 | soda can: slim aluminium, red, large white lettering |
| 3 | juice can: slim aluminium, green and yellow, or a white front and a green back; fruit |

All else is background (0): mugs, books, boxes, drawers, toys, pens, jars, plants, glasses.

- `0000001.jpg` and on: training pictures; `0010001.jpg` and on: test pictures.
- `segmentation_train.json`, `segmentation_test.json`: projects of the VGG Image Annotator 2.x.
  Each visible piece of a drink is a polygon with the region attribute `Name` = "1", "2" or "3".
  A hole is joined to the outer edge by a slit, so that a piece is one closed line.
  To open one in VIA: put its `via.html` into this folder and choose *Project, Load*; from
  elsewhere, first give this folder, with a slash at its end, as *Default Path* in VIA's settings.
- `classes.json`: names and colours of the classes.

The label maps are made from the annotations by the same tool as for any other data:

    python3 utils/generate_gt_segmentation.py -p data/drinks -j segmentation_train.json

A bottle is labelled as a whole, with what is seen through it. Where drinks stand before one
another, a pixel belongs to the front one. Clutter before a drink cuts a piece out of it.

## How it was made

No camera was involved. Bottles, cans, rooms and clutter are meshes and labels computed from random
numbers; [Mitsuba 3](https://mitsuba-renderer.org) traces the light, with refraction in plastic and
water, [Open Image Denoise](https://www.openimagedenoise.org) cleans the picture, and a model of a
cheap camera adds blur, exposure and colour errors, noise, sharpening and JPEG compression. The
renderer also says which drink each ninth of a pixel shows; the majority makes the exact mask, and
the polygons are traced round that. Test pictures have label designs, names, fonts, textures
and rooms of their own.

Training pictures from number {second} on are of a second recipe. A network that was trained on the
first took a white juice can, dark plastic drawers and a pen holder of wire mesh for bottles, and a
dark red poster for a soda can. So about half of their juice cans have a white or cream front with
red, blue and yellow print and a green back, and up to three things of that kind stand or hang
behind, beside or partly before the drinks, dark blue, black and red mostly. They are background.

    pip install -r requirements/render.txt
    python3 utils/render_drinks.py --out data/drinks --count {train} --test-count {test} \\
        --seed {seed} --size {width}x{height} --samples {samples} --variant {variant}

Picture by picture, the same seed and number give the same scene. `scalar_rgb` runs everywhere;
`llvm_ad_rgb` is several times faster, differs from it in the noise only, and needs a working LLVM.
On x86, LLVM 22 works as it is (`DRJIT_LIBLLVM_PATH` names its library). LLVM 19 stops with "Cannot
select: fminimum", unless `minimum` and `maximum` are replaced by `minnum` and `maxnum` in the
library of Dr.Jit 1.5.0.

## Statistics

Counted by `utils/render/report.py` when the set was written. "Hidden" compares the visible pixels
of a drink with its whole outline, inside the frame or not.

{table}

## Licence

The pictures, annotations and designs are our own and free for every use, under CC0 1.0. All brands
on the labels are invented. The lettering uses fonts under the SIL Open Font License.
"""
