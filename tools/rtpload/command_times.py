"""How long the relay takes for each command; used by several threads at once."""

import contextlib
import threading
import time
from collections.abc import Iterator

from tools.rtpload.streams.histogram import Histogram


class CommandTimes:
    """A histogram for each command's name. What fails is not counted: refusals are quick, timeouts slow."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_name: dict[str, Histogram] = {}

    @contextlib.contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Time what is done inside as one command of that name."""
        start = time.perf_counter_ns()
        yield
        self.record(name, time.perf_counter_ns() - start)

    def record(self, name: str, duration_ns: int) -> None:
        """Count one command."""
        with self._lock:
            self._by_name.setdefault(name, Histogram()).record(duration_ns)

    def histograms(self) -> dict[str, Histogram]:
        """By name, in the order in which they came up first."""
        with self._lock:
            return dict(self._by_name)
