import os
import platform
import resource

import numpy as np

from seg_train.allocation import keep_freed_memory


def faults_of(rounds):
    """Return how many pages are faulted in while pictures are made and dropped."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(rounds):
        pictures = [np.ones((700, 700, 3), np.uint8) for _ in range(4)]
        del pictures
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def test_pages_of_dropped_pictures_are_used_again():
    is_glibc = platform.libc_ver()[0] == "glibc"
    assert keep_freed_memory() is is_glibc
    if is_glibc:
        faults_of(3)
        pages = 700 * 700 * 3 * 4 // os.sysconf("SC_PAGE_SIZE")
        assert faults_of(50) < 5 * pages  # mapped anew they would be 50 times that
