"""The memory of tensors and pictures is kept for the next ones, where the C library is glibc.

By itself glibc gives large pieces back to the system as soon as they are freed, and the pages of
the next ones are made anew, filled with zeros. A run of 200 pictures of 96x128, read from files of
480x640 (unet-l4, two cores): 12.7 s of system time, with a threshold of 32 MB for mapping, in place
of none at all, 5.1 s, of 38 s in all; 0.15 GB more memory.
"""

import ctypes

# Of malloc.h, and what they are set to. Pieces of more than 32 MB, as maps of eight pictures of
# 128x160 with 64 channels, are mapped each by itself whatever the threshold, unless nothing may be:
# a step of the preset few took 6.3 s, with this 4.0 s. The heap of a thread grows in steps of the
# last one, else by a page.
MMAP_MAX = -4, 0
TRIM_THRESHOLD = -1, 2**30
TOP_PAD = -2, 64 * 2**20


def keep_memory() -> bool:
    """Have the process keep what is freed; whether the C library does so."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # macOS, musl, Windows
        return False
    return all([mallopt(*setting) for setting in (MMAP_MAX, TRIM_THRESHOLD, TOP_PAD)])
