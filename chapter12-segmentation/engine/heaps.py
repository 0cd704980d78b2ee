"""A look at the texts of an HDF5 file before HDF5 reads them.

Texts lie in collections: a head with the collection's size, then objects one after the other, each
with its own size; number 0 is the free rest. HDF5 1.14 and 2.0 step over an object of no size for
ever, in code that hears of no signal; other damage it finds. (HDF5 File Format Specification 3.0,
III.E, "Global Heap".)
"""

import mmap
import struct
from pathlib import Path

from utils.files import open_ordinary

HEAD = b"GCOL\x01"  # signature and version
COLLECTION = struct.Struct("<5s3xQ")  # these, reserved, size
OBJECT = struct.Struct("<HHIQ")  # number, references, reserved, size


def check_heaps(path: Path) -> None:
    """Refuse a file on whose texts HDF5 would not come to an end.

    Raises:
        ValueError: a collection of texts has an object of no size.
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
    if start + COLLECTION.size > len(content):
        return
    _, size = COLLECTION.unpack_from(content, start)
    place, end = start + COLLECTION.size, min(start + size, len(content))
    while place + OBJECT.size <= end:
        number, _, _, size = OBJECT.unpack_from(content, place)
        # The size of the free rest counts its own head, that of an object does not, but is filled.
        step = size if number == 0 else OBJECT.size + -(-size // 8) * 8
        if step % 2**64 == 0:  # HDF5 counts in 8 bytes
            raise ValueError("the sizes of its texts are damaged")
        place += step
