"""What making label maps came to: counts, and notes on what was not as it should be."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from utils.errors import UserError

# Kinds of notes in the order of the report; `--strict` makes those of the first group an error.
FAULTS = {
    "missing": "listed but not in the folder",
    "unreadable": "not readable as a picture",
    "unlisted": "in the folder but not listed",
    "clipped": "partly or wholly outside the picture",
    "swapped": "annotated with width and height exchanged",
    "skipped": "not drawn",
    "unknown": "of no known class, drawn as void",
    "resized": "mask of another size than its picture",
}
REMARKS = {
    "elsewhere": "not listed here but in another annotation file",
    "merged": "listed several times, regions put together",
    "scaled": "annotated at another size than the picture has",
    "edited": "changed since it was annotated",
    "empty": "without regions, all background",
    "address": "listed by an address or in another folder, taken from this one",
    "unclassed": "of no class, as was asked",
    "turned": "taken by a camera on its side or head",
    "pages": "of several pages or frames, the first is labelled",
    "channels": "of more than three channels, which --channels in training reads",
    "scale": "how pictures of more than 8 bits are read",
    "values": "how the labels were read",
}
LISTED = 10  # notes of a kind that are printed when labels are made on the way to something else


@dataclass
class Report:
    """What making labels came to: regions per class name, picture count, and notes."""

    pictures: int = 0
    regions: Counter = field(default_factory=Counter)
    notes: list[tuple[str, str]] = field(default_factory=list)  # kind, text

    def note(self, kind: str, text: str) -> None:
        """Keep a note; `kind` is a key of `FAULTS` or `REMARKS`."""
        self.notes.append((kind, text))

    def counts(self, kinds: Iterable[str]) -> str:
        """How many notes there are of each kind, as in "2 clipped, 1 missing"."""
        counted = Counter(kind for kind, _ in self.notes)
        return ", ".join(f"{counted[kind]} {kind}" for kind in kinds if counted[kind])

    def print_notes(self, most: int | None = None) -> None:
        """Print the notes: at most `most` of each kind of fault, and a few of each remark."""
        for kind, meaning in (FAULTS | REMARKS).items():
            texts = [text for k, text in self.notes if k == kind]
            shown = texts[: LISTED if kind in REMARKS else most]
            if texts:
                print(f"{kind} ({meaning}): {len(texts)}")
                print("".join(f"    {text}\n" for text in shown), end="")
                if len(texts) > len(shown):
                    print(f"    ... and {len(texts) - len(shown)} more")

    def summary(self, path: Path) -> str:
        """One line that sums up what was made."""
        regions = ", ".join(f"{count} {name}" for name, count in self.regions.items())
        total = f", {sum(self.regions.values())} regions ({regions})" if self.regions else ""
        counts = self.counts(FAULTS | REMARKS) or "nothing to remark"
        return f"{path}: {self.pictures} pictures{total}; {counts}"

    def finish(
        self, out: Path, source: Path, strict: bool, shown: bool = True, most: int | None = None
    ) -> None:
        """Print notes and summary; call it when all is done but the writing of the label store.

        Args:
            out: the `.npy` that is about to be written.
            source: the annotation file or the folder of masks that it is made from.
            strict: whether a note of a kind in `FAULTS` is an error.
            shown: whether to print.
            most: how many notes of each kind of fault to print; None prints all.

        Raises:
            UserError: `strict`, and there are faults; names `source`, their counts and the first.
        """
        if shown:
            self.print_notes(most)
        faults = [text for kind, text in self.notes if kind in FAULTS]
        if strict and faults:
            raise UserError(
                f"{source}: --strict found {self.counts(FAULTS)} "
                f"(first: {faults[0].rstrip('.')}) and wrote nothing; correct them or leave it out."
            )
        if shown:
            print(self.summary(out))
