"""How many cores of the processor a program may use."""

import os


def cores() -> int:
    """Those that the system lets it run on, which `taskset` or a container may have made fewer."""
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
