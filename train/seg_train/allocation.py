"""How a process that decodes pictures all day gets its memory."""

from __future__ import annotations

import ctypes

# glibc's mallopt parameters (malloc.h).
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGEST_MMAP_THRESHOLD = 32 * 1024 * 1024  # glibc refuses more
_KEPT_BYTES = 256 * 1024 * 1024


def keep_freed_memory() -> bool:
    """Let this process keep up to 256 MB that it has freed instead of handing it back; False where glibc is not used.

    By default every decoded picture is mapped anew and its pages are faulted in one by one, which takes as long as the
    decoding itself.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library, or Windows
        return False
    mallopt.argtypes, mallopt.restype = (ctypes.c_int, ctypes.c_int), ctypes.c_int
    kept = mallopt(_TRIM_THRESHOLD, _KEPT_BYTES), mallopt(_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)
    return kept == (1, 1)
