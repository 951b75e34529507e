"""How many descriptors the process of the tests has open."""

import gc

import psutil


def descriptors_here() -> int:
    """Their number, without those of objects that no code can reach any more.

    What an earlier test left in a cycle would be closed at any moment, while a later test counts.
    """
    gc.collect()
    return psutil.Process().num_fds()
