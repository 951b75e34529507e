"""Reads the statistics of the nh with one runtime directory, across restarts of that nh."""

from pathlib import Path
from types import TracebackType

from nh.cli.options import no_statistics
from nh.cli.stats.quantities import duration
from nh.cli.stats.rates import STALE_S
from nh.errors import StatsUnavailable
from nh.stats import StatsReader, attach_segment, segment_name
from nh.stats.reading import StatsReading


class Watch:
    """Readings of the nh run that has `runtime_dir`; a context manager.

    Raises:
        NotRunning: no nh runs there; the message names the options that lead elsewhere.
        Unavailable: one runs, and has none.
        StatsUnavailable: the statistics cannot be read.
    """

    def __init__(self, runtime_dir: Path) -> None:
        self._name = segment_name(runtime_dir)
        self._gone = False
        try:
            self._segment = attach_segment(self._name)
        except StatsUnavailable as exc:
            raise no_statistics(runtime_dir) if isinstance(exc.__cause__, FileNotFoundError) else exc from exc
        self._reader = StatsReader(self._segment)

    def __enter__(self) -> "Watch":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._segment.close()

    def read(self) -> StatsReading:
        """The current values; after nh has stopped, its last ones until another nh starts."""
        reading = self._reader.read()
        if not _stale(reading):
            self._gone = False
            return reading
        # nh unlinks its segment when it ends, and the next nh makes another with the same name
        try:
            segment = attach_segment(self._name)
        except StatsUnavailable:
            self._gone = True
            return reading
        self._segment.close()
        self._segment, self._reader = segment, StatsReader(segment)
        self._gone = False
        return self._reader.read()

    @property
    def stopped(self) -> bool:
        """Whether nh has ended in order since the last reading: a killed one leaves its statistics."""
        return self._gone

    def warning(self, reading: StatsReading) -> str:
        """The fault of the nh that wrote `reading`, the last one read; "": none."""
        if self._gone:
            return "nh has stopped; these are its last values"
        if _stale(reading):
            silent_s = reading.supervisor.heartbeat_age_s or 0
            return (
                f"the supervisor has been silent for {duration(silent_s)}: it hangs, or it was killed;"
                " shards that live relay on, and new calls are refused:"
                f" `kill -9 {reading.supervisor.pid}` if it is there, and start nh again"
            )
        return ""


def _stale(reading: StatsReading) -> bool:
    return (reading.supervisor.heartbeat_age_s or 0) > STALE_S
