"""A look at the texts of an HDF5 file before HDF5 reads them.

Texts lie in collections: a head with the collection's size, then objects one after the other, each
with its own size; number 0 is the free rest. HDF5 1.14 and 2.0 step over a free rest of no size for
ever, in code that hears of no signal. (HDF5 File Format Specification 3.0, III.E, "Global Heap".)
"""

import mmap
import struct
from pathlib import Path

from utils.files import open_ordinary

HEAD = b"GCOL\x01\x00\x00\x00"  # signature, version, reserved; then the size in 8 bytes
OBJECT = struct.Struct("<HHIQ")  # number, references, reserved, size


def check_heaps(path: Path) -> None:
    """Refuse a file on whose texts HDF5 would not come to an end.

    Raises:
        ValueError: an object of a collection has a size that no object can have.
        OSError: the file is missing, cannot be read, or is no ordinary file.
    """
    with open_ordinary(path) as file:
        if not path.stat().st_size:
            return  # nothing to map; HDF5 says what it is
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            start = content.find(HEAD)
            while start >= 0:
                _check_collection(content, start)
                start = content.find(HEAD, start + len(HEAD))


def _check_collection(content: mmap.mmap, start: int) -> None:
    place = start + len(HEAD) + 8
    size = int.from_bytes(content[start + len(HEAD) : place], "little")
    end = min(start + size, len(content))
    while place + OBJECT.size <= end:
        number, _, _, size = OBJECT.unpack_from(content, place)
        # The size of the free rest counts its own head, that of an object does not, but is filled.
        step = size if number == 0 else OBJECT.size + -(-size // 8) * 8
        if step < OBJECT.size or place + step > end:
            raise ValueError("the sizes of its texts are damaged")
        place += step
