"""RecordWriter: writes records to one target in a thread, so that neither loop nor shards wait for a disk.

What the target does not take is lost and counted. Nothing is tried again: a disk that is full stays full for
long, and what comes meanwhile is more than memory has.
"""

import contextlib
import functools
import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import Final

import msgspec

from nh.logs.throttle import RateLimitedLogger
from nh.reasons import shortage
from nh.results import CallRecord
from nh.supervisor.records.targets import Target, open_target
from nh.threads import start_thread
from nh.wire.native.values import to_json

logger = logging.getLogger(__name__)

MAX_WAITING: Final = 10_000
"""Most records that wait for one target."""

LOG_INTERVAL_S: Final = 60.0
"""Least time between two log lines about lost records."""

_decoder: Final = msgspec.msgpack.Decoder(CallRecord)


class RecordWriter:
    """Writes to one target, from the first record on. Close it.

    Args:
        name: the target, an entry of the setting `records`, or for the log.
        open_: makes the target; None: as `name` says.
        encode: makes of a record in msgpack what the target writes; b"" for nothing.
        what: what is lost if the target does not take it, for the log.
        counter: where that is counted, for the log.
    """

    def __init__(
        self,
        name: str,
        open_: Callable[[], Target] | None = None,
        encode: Callable[[bytes], bytes] | None = None,
        *,
        what: str = "the records of calls that end now",
        counter: str = "records_lost",
    ) -> None:
        self._what = what
        self._counter = counter
        self._name = name
        self._open = open_ or functools.partial(open_target, name)
        self._encode = encode or json_line
        self._waiting: queue.Queue[bytes | None] = queue.Queue(MAX_WAITING)
        self._closing = threading.Event()
        self._reopen = threading.Event()
        self._lock = threading.Lock()
        self._written = self._lost = 0
        self._log = RateLimitedLogger(logger, time.monotonic, LOG_INTERVAL_S)
        self._thread = threading.Thread(target=self._run, name="records", daemon=True)
        self._started = False

    def put(self, record: bytes) -> None:
        """Write a record (nh.results.CallRecord in msgpack) soon.

        It is lost if too many wait, or if there is no thread; the next one tries to start it again.
        """
        try:
            if not self._started:
                start_thread(self._thread)
                self._started = True
            self._waiting.put_nowait(record)
        except OSError as exc:
            self._lose(shortage(exc))
        except queue.Full:
            self._lose(f"{MAX_WAITING} wait already")

    def reopen(self) -> None:
        """Open the file anew with the next record: logrotate has moved the one before."""
        self._reopen.set()

    def take_counts(self) -> tuple[int, int]:
        """How many records were written and how many were lost since the last call."""
        with self._lock:
            counts = self._written, self._lost
            self._written = self._lost = 0
        return counts

    def close(self, ends_at: float) -> None:
        """Write what waits until `ends_at` (monotonic seconds); what waits then is lost."""
        self._closing.set()
        with contextlib.suppress(queue.Full):  # the thread sees the event when it has written all
            self._waiting.put_nowait(None)
        if self._started:
            self._thread.join(max(0.0, ends_at - time.monotonic()))
        while True:
            try:
                record = self._waiting.get_nowait()
            except queue.Empty:
                return
            if record is not None:
                self._lose("nh ends")

    def _run(self) -> None:
        target = self._open()
        while (record := self._waiting.get()) is not None:
            if self._reopen.is_set():
                self._reopen.clear()
                target.reopen()
            self._write(target, record)
            if self._closing.is_set() and self._waiting.empty():
                break
        target.reopen()

    def _write(self, target: Target, record: bytes) -> None:
        try:
            data = self._encode(record)
            if not data:
                return
            target.write(data)
        except OSError as exc:
            target.reopen()
            self._lose(exc.strerror or str(exc))
        except Exception:
            # a bug must not end the thread
            target.reopen()
            self._lose("a bug in nh")
            logger.exception("a record could not be written: this is a bug in nh")
        else:
            with self._lock:
                self._written += 1

    def _lose(self, why: str) -> None:
        with self._lock:
            self._lost += 1
        self._log.log(
            logging.ERROR,
            "records: %s: %s; %s are lost until that changes (%s counts them)",
            self._name,
            why,
            self._what,
            self._counter,
        )


def json_line(record: bytes) -> bytes:
    """A record in JSON, as in the native protocol, on one line."""
    return msgspec.json.encode(to_json(_decoder.decode(record)))
