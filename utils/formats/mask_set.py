"""A set of masks with what is found out of it: then each kind of pixel has its class id."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from utils.classes import FILE_NAME, VOC_COLOURS, VOID, Classes
from utils.formats.index_masks import Colour, Look, Pixel
from utils.reading import Reading, read_reading

BLACK, WHITE = (0, 0, 0), (255, 255, 255)
VOC = VOC_COLOURS(256)


@dataclass
class Masks:
    """The masks of a folder, what is known of it, and what is found out by `mask_meaning.decide`.

    Attributes:
        looks: at each mask.
        folder: of the masks.
        source: the `classes.json` of the data folder; None when there is none yet.
        classes: of the data folder; None when there is no `source`.
        reading: what is asked, and what was decided before.
        seen: how many pixels of each kind there are, after `as_grey`.
        as_grey: gives the kind of pixel as which one is read: masks of colours or with a palette
            may hold nothing but greys.
        in_colours: whether masks of colours hold nothing but greys.
        clear: the alpha value below which a pixel is transparent; 0 when alpha says nothing.
        in_alpha: whether objects are where those masks are opaque that know transparency.
        by_colour: whether palettes are read by their colours, else by index.
        anew: whether a program that reduces colours may have numbered those of palettes, which are
            read by index all the same; then other masks of class ids need not fit.
        taken: colours that palettes have for indices that are class ids.
        grey: how grey masks are read: "ids", "black and white" or "colours".
        flags: the greatest values of grey masks that hold nothing but 0 and it, as with 1 bit.
        void: colours that were said to mean void.
        likely_void: colours that mean void unless they are a class's.
        remarks: sentences on how the masks are read.
    """

    looks: list[Look]
    folder: Path
    source: Path | None
    classes: Classes | None
    reading: Reading
    seen: Counter[Pixel] = field(default_factory=Counter)
    as_grey: Callable[[Pixel], Pixel] = lambda pixel: pixel
    in_colours: bool = False
    clear: int = 0
    in_alpha: bool = False
    by_colour: bool = False
    anew: bool = False
    taken: dict[int, Colour] = field(default_factory=dict)
    grey: str = "ids"
    flags: frozenset[int] = frozenset()
    void: set[Colour] = field(default_factory=set)
    likely_void: set[Colour] = field(default_factory=lambda: {VOC[VOID]})
    remarks: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Count the pixels, and take the colours of void that are known."""
        for look in self.looks:
            for pixel, count in look.pixels():
                self.seen[pixel] += count
        self.void = {tuple(bytes.fromhex(text[1:])) for text in self.reading.void_colours}

    @property
    def place(self) -> Path:
        """Where the `classes.json` is, or belongs."""
        return self.source or self.folder.parent / FILE_NAME

    @property
    def two(self) -> bool:
        """Whether there is one class besides the background, as far as is known."""
        return self.classes is None or len(self.classes) == 2

    @property
    def standard(self) -> bool:
        """Whether the classes have the colours that they get when none are given."""
        return self.classes is None or self.classes.colours == VOC[: len(self.classes)]

    @property
    def numbered(self) -> bool:
        """Whether the classes were made of masks, and nobody has named one since."""
        names = self.classes.names if self.classes else ()
        return all(name == f"class {index}" for index, name in enumerate(names) if index)

    def is_clear(self, pixel: Pixel) -> bool:
        """Whether a pixel is transparent."""
        return pixel.alpha is not None and pixel.alpha < self.clear

    @property
    def of_a_class(self) -> bool:
        """Whether 255, which else means void beside ids, was said to be the value of a class."""
        return VOID in self.reading.ids

    def is_void(self, value: int | None) -> bool:
        """Whether a value was said to mean void."""
        return value in self.reading.void

    def as_void(self, values: Iterable[int]) -> str:
        """What to do where values mean void, together with those that were said to before."""
        void = sorted({*self.reading.void, *values})
        if read_reading(self.source).void:  # which no option may contradict
            return f'put "void": {void} into the "reading" of {self.source}'
        return f"give --void {' '.join(map(str, void))}"

    def of(self, kind: str) -> Counter[Pixel]:
        """The pixels of a kind of mask, those left out that are transparent or only alpha tells."""
        return Counter(
            {
                pixel: count
                for pixel, count in self.seen.items()
                if pixel.kind == kind
                and not self.is_clear(pixel)
                and not (self.in_alpha and pixel.alpha is not None)
            }
        )

    def first(self, test: Callable[[Pixel], bool]) -> Look:
        """The first mask with a pixel of which the test is true.

        Raises:
            LookupError: there is none.
        """
        for look in self.looks:
            if any(test(self.as_grey(pixel)) for pixel, _ in look.pixels()):
                return look
        raise LookupError("no mask has such a pixel")

    def class_of(self, colour: Colour | None) -> int | None:
        """The class id, or void, of a colour; None when it is no class's."""
        if colour in self.void:
            return VOID
        if self.classes and colour in self.classes.colours:
            return self.classes.colours.index(colour)
        return VOID if colour in self.likely_void else None

    def label(self, pixel: Pixel) -> int | None:
        """The class id, or void, of a kind of pixel; None when it belongs to no class."""
        pixel = self.as_grey(pixel)
        label = self._label(pixel)
        known = label is None or label == VOID or 0 <= label < len(self.classes)
        return label if known else None

    def _label(self, pixel: Pixel) -> int | None:
        clear = self.is_clear(pixel)
        if self.in_alpha and pixel.alpha is not None:
            return 0 if clear else 1
        if pixel.kind == "palette" and not self.by_colour:
            return self.label_of_value(pixel.value)
        if pixel.kind == "grey" and self.grey != "colours":
            return self.label_of_grey(pixel)
        label = self.class_of(pixel.colour)
        return 0 if clear and label != VOID else label

    def label_of_grey(self, pixel: Pixel) -> int:
        """What the value of a grey pixel stands for, whether there is such a class or not."""
        clear = self.is_clear(pixel)
        if pixel.white in self.flags:
            if self.of_a_class and 1 not in self.reading.ids:  # white is 255 with 1 bit, too
                return self.label_of_value(0 if clear or not pixel.value else VOID)
            return int(not clear and pixel.value > 0)
        if self.is_void(pixel.value):
            return VOID
        if self.grey == "black and white":
            return int(not clear and pixel.colour[0] >= (self.reading.threshold or 128))
        void = pixel.value == VOID and not self.of_a_class
        if clear and not (void and self.reading.masks == "ids"):
            return 0
        return self.label_of_value(pixel.value)

    def label_of_value(self, value: int) -> int:
        """The class id, or void, of a value of masks of ids; -1 where values of classes are given
        and this is none of them.
        """
        if self.is_void(value):
            return VOID
        if value in self.reading.ids:
            return self.reading.ids.index(value)
        return -1 if self.reading.ids and value != VOID else value
