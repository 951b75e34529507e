"""How much memory Python's objects take that are still there afterwards."""

import contextlib
import tracemalloc
from collections.abc import Iterator


@contextlib.contextmanager
def grows_less_than(most_bytes: int) -> Iterator[None]:
    """What is done within the context leaves fewer bytes of objects behind."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        yield
        after, _ = tracemalloc.get_traced_memory()
        assert after - before < most_bytes
    finally:
        tracemalloc.stop()
