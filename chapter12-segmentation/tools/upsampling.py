"""Draw the ways back to full size on the same small map: figures/upsampling.png.

    python3 chapter12-segmentation/tools/upsampling.py

What is drawn is computed by `zoo.upsampling`.
"""

import argparse
import sys
from pathlib import Path

CHAPTER = Path(__file__).resolve().parents[1]
if __name__ == "__main__":  # in place of this folder
    sys.path[:1] = [str(CHAPTER.parent), str(CHAPTER)]

import numpy as np  # noqa: E402

from engine.startup import import_keras  # noqa: E402
from utils.errors import run  # noqa: E402
from utils.files import replace_whole  # noqa: E402

import_keras()  # as `zoo` does, without greetings

from zoo import upsampling as up  # noqa: E402

FIGURE = CHAPTER / "figures" / "upsampling.png"
# What was pooled, with the maxima 2, 5, 9; 4, 7, 6; 8, 1, 3 in its windows. Of two 1s the first.
POOLED = np.array(
    [
        [0, 2, 5, 1, 4, 7],
        [1, 1, 3, 2, 9, 5],
        [3, 2, 6, 5, 2, 6],
        [4, 1, 4, 7, 5, 3],
        [8, 5, 0, 1, 2, 1],
        [6, 7, 1, 0, 3, 0],
    ],
    "float64",
)
TENT = np.outer([0.5, 1, 0.5], [0.5, 1, 0.5])  # a kernel of 3 that fills in between
MARK, OTHER = "#c44e52", "#4c72b0"
PHASES = ("#a8c4e6", "#f7c9a4", "#b5dcae", "#efa9a9")  # even rows, then odd; columns likewise
TOP = 12.0  # of the colours


def draw(path: Path) -> None:
    """Write the figure.

    Args:
        path: the PNG; replaced whole.

    Raises:
        UserError: the folder of `path` cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((15, 9.2), dpi=100, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.1)
    FigureCanvasAgg(figure)
    rows = figure.subfigures(3, 1, height_ratios=(1, 1, 0.95))
    _draw_without_weights(rows[0])
    _draw_transposed(rows[1])
    _draw_chequerboards(rows[2])
    with replace_whole(path) as unfinished:
        figure.savefig(unfinished, format="png")
    figure.clear()


def _draw_without_weights(figure) -> None:
    axes = _row(figure, "Without weights: a map of 3x3 to 6x6", (1, 0.55, 1, 1, 1, 1))
    small, places = up.max_pool(POOLED)
    sparse = up.max_unpool(small, places)
    _draw_map(axes[0], POOLED, "before pooling: maxima of 2x2")
    _draw_map(axes[1], small, "the map")
    _draw_map(axes[2], up.nearest(small), "nearest")
    _draw_map(axes[3], up.bed_of_nails(small), "bed of nails")
    _draw_map(axes[4], sparse, "max-unpooling")
    _draw_map(axes[5], up.bilinear(small), "bilinear")
    for each in axes[0], *axes[2:]:
        for line in 1.5, 3.5:  # between windows
            each.axhline(line, color="0.3", lw=0.8)
            each.axvline(line, color="0.3", lw=0.8)
    for each in axes[0], axes[4]:
        for row, column in np.argwhere(sparse > 0):
            _outline(each, row, column, 1, 1)


def _draw_transposed(figure) -> None:
    title = "Transposed convolution with kernel 3 and stride 2: four ways to one map"
    axes = _row(figure, title, (0.5, 0.7, 1, 1, 1, 1))
    small, _ = up.max_pool(POOLED)
    whole = up.transposed_by_scatter(small, TENT, 2)  # (7, 7)
    matrix = up.convolution_matrix(TENT, whole.shape, 2)  # (9, 49)
    _draw_map(axes[0], TENT, "the kernel", phases=True)
    axes[1].imshow(np.ma.masked_equal(matrix.T, 0), cmap="Greens", vmin=0, vmax=1.2, aspect="auto")
    axes[1].set(xticks=[], yticks=[], xlabel="9 values of the map", ylabel="49 of the result")
    axes[1].set_title("1. by a matrix", fontsize=10)
    _draw_map(axes[2], up.with_zeros_between(small, TENT, 2), "2. by zeros between and around")
    _outline(axes[2], 2, 2, 3, 3)
    _draw_map(axes[3], whole, "3. by a kernel a value: 2 of 9")
    _outline(axes[3], 0, 0, 3, 3, OTHER)
    _outline(axes[3], 2, 2, 3, 3, MARK)
    _draw_map(axes[4], whole, "4. in phases: a part of the kernel each", phases=True)
    _draw_map(axes[5], whole, 'Keras\' "same" keeps the frame')
    _outline(axes[5], 0, 0, 6, 6)


def _draw_chequerboards(figure) -> None:
    title = "Kernels of ones, stride 2, on a map of ones: how many values meet at each place"
    axes = _row(figure, title, (1,) * 5)
    ones = np.ones((5, 5))
    words = {2: "1", 3: "1, 2 or 4", 4: "4 inside", 5: "4, 6 or 9 inside"}
    for each, (k, found) in zip(axes, words.items(), strict=False):
        whole = up.transposed_by_scatter(ones, np.ones((k, k)), 2)
        _draw_map(each, whole, f"kernel {k}: {found}", top=max(1.2 * whole.max(), 3))
    cure = up.convolve(np.pad(up.nearest(ones), 1), np.ones((3, 3)))
    _draw_map(axes[4], cure, "nearest, then kernel 3: 9 inside", top=1.2 * cure.max())


def _row(figure, title: str, widths: tuple[float, ...]):
    """A row of axes under a title."""
    figure.suptitle(title, x=0.005, ha="left", fontweight="bold")
    return figure.subplots(1, len(widths), width_ratios=widths)


def _draw_map(axes, values: np.ndarray, title: str, top: float = TOP, phases: bool = False) -> None:
    """A map with its numbers in its cells; zeros are white. With `phases`, coloured by these."""
    from matplotlib.colors import ListedColormap

    if phases:
        rows, columns = np.indices(values.shape) % 2
        axes.imshow(2 * rows + columns, cmap=ListedColormap(PHASES), vmin=0, vmax=3)
    else:
        axes.imshow(np.ma.masked_equal(values, 0), cmap="Greens", vmin=0, vmax=top)
    axes.set_title(title, fontsize=10)
    axes.set(xticks=[], yticks=[])
    size = 9 if max(values.shape) < 8 else 7
    for (row, column), value in np.ndenumerate(values):
        ink = "0.75" if not value else "white" if value > 0.7 * top and not phases else "black"
        text = f"{value:.2f}".rstrip("0").rstrip(".").removeprefix("0") or "0"
        style = {"ha": "center", "va": "center", "color": ink, "fontsize": size}
        axes.text(column, row, text, in_layout=False, **style)  # else laying out takes seconds


def _outline(axes, row: int, column: int, height: int, width: int, colour: str = MARK) -> None:
    """A frame around cells."""
    from matplotlib.patches import Rectangle

    corner = column - 0.5, row - 0.5
    axes.add_patch(Rectangle(corner, width, height, fill=False, edgecolor=colour, lw=2, zorder=3))


def main() -> None:
    """Read the command line and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=FIGURE, help="the PNG")
    arguments = parser.parse_args()
    draw(arguments.output)
    print(f"Drawn: {arguments.output}")


if __name__ == "__main__":
    run(main)
