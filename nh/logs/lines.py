"""nh's log on standard error: text, JSON, or the journal's form; levels by area, which change at run time.

Each process writes its own lines. No message can break its line or steer a terminal, whatever peers send:
what is not printable is escaped here, for every line.
"""

import logging
import os
import sys
import time
import traceback
from datetime import UTC, datetime
from typing import Final, NamedTuple

import msgspec

from nh.logs.settings import AREAS, LogFormat, LogSettings
from nh.printable import escaped, show_id

MAX_ID_CHARACTERS: Final = 1024
"""Longest call-id in a line of JSON."""


def configure_logging(settings: LogSettings) -> None:
    """Log to standard error with these settings from now on."""
    # no form shows them, and each line would pay (Python's Logging HOWTO, Optimization)
    logging._srcfile = None
    logging.logThreads = logging.logMultiprocessing = False
    root = logging.getLogger()
    if not any(isinstance(handler, _Handler) for handler in root.handlers):
        root.addHandler(_Handler(sys.stderr))
    for handler in root.handlers:
        if isinstance(handler, _Handler):
            handler.setFormatter(_formatter(settings.format))
    root.setLevel(settings.level.upper())
    for area, names in AREAS.items():
        level = settings.areas.get(area)
        for name in names:
            logging.getLogger(name).setLevel(level.upper() if level is not None else logging.NOTSET)


def about(call_id: bytes = b"", client: object = "") -> dict[str, str]:
    """What a line is about, as `extra` of a logging call; JSON has it in fields of its own.

    Args:
        call_id: the call; b"": none.
        client: who sent the request; "": no client.
    """
    fields = {}
    if call_id:
        fields["call_id"] = show_id(call_id)[:MAX_ID_CHARACTERS]
    if client:
        fields["client"] = escaped(str(client))
    return fields


class _Handler(logging.StreamHandler):  # type: ignore[type-arg]  # generic for mypy only
    """nh's own handler on standard error."""

    def flush(self) -> None:
        """See logging.Handler. Nothing waits: standard error is written line by line."""


def _formatter(form: LogFormat) -> logging.Formatter:
    if form is LogFormat.JSON:
        return _Json(journal=_is_journal())
    return (
        _Journal() if _is_journal() else _Text("%(asctime)s %(levelname)s %(process)d %(name)s: %(message)s")
    )


def _is_journal() -> bool:
    """Whether standard error leads to the journal (systemd.exec(5), $JOURNAL_STREAM)."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        status = os.fstat(2)
    except OSError:
        return False
    return (device, inode) == (str(status.st_dev), str(status.st_ino))


class _Text(logging.Formatter):
    """One line for each message; a traceback follows on lines of its own."""

    _second = 0
    _time = ""

    def formatTime(self, record: logging.LogRecord, _datefmt: str | None = None) -> str:  # noqa: N802
        """See logging.Formatter; lines of one second have most of it in common."""
        second = int(record.created)
        if second != self._second:
            self._second = second
            self._time = time.strftime(self.default_time_format, self.converter(second))
        return f"{self._time},{int(record.msecs):03d}"

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        """See logging.Formatter."""
        record.message = escaped(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: object) -> str:  # noqa: N802
        """See logging.Formatter."""
        return _escaped_lines(super().formatException(ei))  # type: ignore[arg-type]


class _Journal(_Text):
    """The journal has time and process of each line; it reads the priority from `<N>` (sd-daemon(3))."""

    def __init__(self) -> None:
        super().__init__("%(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter."""
        prefix = f"<{_priority(record.levelno)}>"
        return "\n".join(prefix + line for line in super().format(record).split("\n"))


class _Json(logging.Formatter):
    """One object on one line, with the fields of _JsonLine."""

    def __init__(self, *, journal: bool) -> None:
        super().__init__()
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "area": _area_of(record.name),
            "logger": record.name,
            "pid": record.process,
            "message": escaped(record.getMessage()),
        }
        for name in ("call_id", "client"):
            if value := getattr(record, name, ""):
                line[name] = value
        if record.exc_info:
            line["exception"] = _escaped_lines("".join(traceback.format_exception(*record.exc_info)).rstrip())
        prefix = f"<{_priority(record.levelno)}>" if self._journal else ""
        return prefix + msgspec.json.encode(line).decode()


def _escaped_lines(text: str) -> str:
    return "\n".join(map(escaped, text.split("\n")))


def _area_of(logger: str) -> str:
    """The area of a logger: that of its longest prefix in AREAS; "" if it has none."""
    found = [
        (len(name), area)
        for area, names in AREAS.items()
        for name in names
        if logger == name or logger.startswith(name + ".")
    ]
    return max(found, default=(0, ""))[1]


class _Priority(NamedTuple):
    least: int
    priority: int


_PRIORITIES: Final = (
    _Priority(logging.CRITICAL, 2),
    _Priority(logging.ERROR, 3),
    _Priority(logging.WARNING, 4),
    _Priority(logging.INFO, 6),
)


def _priority(level: int) -> int:
    """A level of logging as syslog(3) has it."""
    return next((each.priority for each in _PRIORITIES if level >= each.least), 7)
