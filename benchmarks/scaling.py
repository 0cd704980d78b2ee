"""How a training would scale to many GPUs, by reckoning: scaling.md.

python3 benchmarks/scaling.py

Nothing is measured here but the network: how many parameters it has, and how many layers wait for
statistics of the whole batch. The rest are the assumptions below, which the page repeats.
"""

import math
import sys
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(PROJECT), str(PROJECT / "chapter12-segmentation")]

from engine.startup import import_keras  # noqa: E402
from utils.files import replace_whole  # noqa: E402

HERE = Path(__file__).resolve().parent
STEP = 0.0401  # seconds of the book's network on an H100, 4 pictures of 480x640: notes.md
PICTURES, LARGER = 4, 4  # of a GPU and step; how many times as many in the second case
ALL = 10**8  # pictures
EVERY = (8, 64, 1024)  # GPUs


@dataclass(frozen=True)
class Link:
    """What a GPU sends by.

    Attributes:
        name: of it.
        rate: bytes a second, of each GPU in one direction.
        latency: seconds until a message arrives.
    """

    name: str
    rate: float
    latency: float


WITHIN = Link("NVLink 4 within a machine of 8", 450e9, 3e-6)
BETWEEN = (
    Link("InfiniBand NDR, 400 Gb/s a GPU", 50e9, 5e-6),
    Link("Ethernet, 100 Gb/s a machine", 12.5e9 / 8, 30e-6),
)
PAGE = """# How a training would scale

Written by `python3 benchmarks/scaling.py`. By reckoning, not by measurement: nobody has run this on
more than one GPU; two processes on one machine give the numbers of one
(`tests/test_distribution.py`).

The book's network has {parameters:.1f} million parameters: {float32:.0f} MB of gradients a step in
float32, as they are added up, {bfloat16:.0f} MB if it were in bfloat16. Each of its {layers} batch
normalisations waits twice a step for sums over the whole batch, which are small: what they cost is
latency.

Assumed: a step of {pictures} pictures of 480×640 takes {step:.1f} ms of a GPU, as measured on one
H100, and of 16 pictures four times that. A ring passes 2 (n - 1) / n of the gradients through every
link; small sums go up and down a tree, 2 log2 n messages. Nothing overlaps with computing, which is
the worst case: XLA lets most of the gradients. Pictures are there in time: a GPU takes {rate:.0f} a
second, which four to five cores decode from JPEGs.

| GPUs | links between machines | gradients, ms | in bfloat16 | statistics, ms \
| efficiency at 4 a GPU | at 16 | pictures a second at 16 | an epoch of 10⁸ |
|---:|---|---:|---:|---:|---:|---:|---:|---:|
{table}

Efficiency is what is left of the pictures a second of as many lone GPUs. More pictures a GPU are
what helps; `--normalisation group` waits for no statistics. `--accumulate` does not help here: XLA
adds up the gradients of every batch. A step of 16,384 pictures, as 1,024 GPUs have, learns
otherwise than one of 4: that is no matter of links, and was not tried.
"""


def seconds(gpus: int, link: Link, size: float) -> float:
    """A sum over all GPUs of so many bytes each, by a ring, or a tree where that is sooner."""
    ring = 2 * (gpus - 1) / gpus * size / link.rate + 2 * (gpus - 1) * link.latency
    tree = 2 * size / link.rate + 2 * math.log2(gpus) * link.latency
    return min(ring, tree)


def line(gpus: int, link: Link, size: float, layers: int) -> str:
    """A line of the table."""
    gradients, half = seconds(gpus, link, size), seconds(gpus, link, size / 2)
    statistics = 2 * layers * seconds(gpus, link, 2 * 4 * 256)  # two sums of 256 channels
    lost = gradients + statistics
    few, many = STEP / (STEP + lost), LARGER * STEP / (LARGER * STEP + lost)
    rate = gpus * PICTURES / STEP * many
    hours = ALL / rate / 3600
    cells = [
        f"{gpus:,}",
        link.name,
        *(f"{1000 * each:.1f}" for each in (gradients, half, statistics)),
    ]
    cells += [f"{few:.0%}", f"{many:.0%}", f"{rate:,.0f}", f"{hours:.1f} h"]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Build the network, reckon, and write the page."""
    import_keras()
    from keras.layers import BatchNormalization

    from engine.arguments import parse_arguments
    from engine.settings import settle

    options = "--train --preset book --distribute none --verbose 0"
    network, _, _ = settle(parse_arguments(options.split()))
    model = network.build()
    size = 4 * sum(math.prod(weight.shape) for weight in model.trainable_weights)
    normalisations = [each for each in _layers(model) if isinstance(each, BatchNormalization)]
    rows = [(EVERY[0], WITHIN), *((n, link) for link in BETWEEN for n in EVERY[1:])]
    page = PAGE.format(
        parameters=size / 4e6,
        float32=size / 1e6,
        bfloat16=size / 2e6,
        layers=len(normalisations),
        pictures=PICTURES,
        step=1000 * STEP,
        rate=PICTURES / STEP,
        table="\n".join(line(gpus, link, size, len(normalisations)) for gpus, link in rows),
    )
    with replace_whole(HERE / "scaling.md") as unfinished:
        unfinished.write_text(page, encoding="utf-8")


def _layers(model) -> list:
    return [
        each
        for layer in model.layers
        for each in (_layers(layer) if hasattr(layer, "layers") else [layer])
    ]


if __name__ == "__main__":
    main()
