"""nh.logs.lines: lines for people, programs and the journal, that no peer can break; levels by area."""

import importlib
import json
import logging
import os
import pkgutil
import re
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import nh
from nh.logs.lines import about, configure_logging
from nh.logs.settings import AREAS, LogFormat, LogLevel, LogSettings, parse_areas
from nh.printable import SHORT_BYTES, escaped, short_id, show_id

OWN_NO_AREA = {
    "nh.loop",
    "nh.supervisor.main",
    "nh.supervisor.publisher",
    "nh.supervisor.supervisor",
    "nh.supervisor.reload",
    "nh.supervisor.settings_in_force",
    "nh.supervisor.shutdown",
}
"""Loggers of the whole: they have the level of all."""


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[], list[str]]]:
    """What was logged to standard error, by line; logging is as before afterwards."""
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    root.handlers[:] = []
    path = tmp_path / "log"
    for name in ("_srcfile", "logThreads", "logMultiprocessing"):
        monkeypatch.setattr(logging, name, getattr(logging, name))
    with path.open("w", buffering=1) as stream:  # as standard error is
        monkeypatch.setattr("nh.logs.lines.sys", types.SimpleNamespace(stderr=stream))
        yield lambda: path.read_text().splitlines()
    root.handlers[:] = before
    root.setLevel(level)
    for names in AREAS.values():
        for name in names:
            logging.getLogger(name).setLevel(logging.NOTSET)


def test_text_has_time_level_process_and_logger(logged: Callable[[], list[str]]) -> None:
    configure_logging(LogSettings())
    logging.getLogger("nh.rpc.frontend").warning("a client %s", "fell")
    (line,) = logged()
    assert re.fullmatch(
        rf"\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d,\d{{3}} WARNING {os.getpid()} nh\.rpc\.frontend: a client fell",
        line,
    )


def test_each_line_has_its_own_time(logged: Callable[[], list[str]]) -> None:
    configure_logging(LogSettings())
    logger = logging.getLogger("nh.rpc.frontend")
    times = (1_000_000_000.25, 1_000_000_000.5, 1_000_000_061.75, 1_000_000_000.0)
    for at in times:
        record = logging.makeLogRecord({"levelno": logging.WARNING, "msg": "late"})
        record.created, record.msecs = at, at % 1 * 1000
        logger.handle(record)
    shown = [" ".join(line.split(" ")[:2]) for line in logged()]
    assert shown == [
        time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at)) + f",{at % 1 * 1000:03.0f}" for at in times
    ]


def test_json_has_call_and_client_in_fields_of_their_own(logged: Callable[[], list[str]]) -> None:
    configure_logging(LogSettings(format=LogFormat.JSON))
    logger = logging.getLogger("nh.shard.media.kernel.path")
    logger.error("call '%s' is lost", "a", extra=about(b"a\n\xff" + b"b" * 200, "192.0.2.1:5"))
    logger.warning("without")
    first, second = map(json.loads, logged())
    assert first.pop("time").endswith("+00:00")
    assert first == {
        "level": "error",
        "area": "kernel",
        "logger": "nh.shard.media.kernel.path",
        "pid": os.getpid(),
        "message": "call 'a' is lost",
        "call_id": r"a\x0a\xff" + "b" * 200,
        "client": "192.0.2.1:5",
    }
    assert "call_id" not in second
    assert "client" not in second


@pytest.mark.parametrize("form", list(LogFormat))
def test_in_the_journal_each_line_has_its_priority_and_no_second_time(
    logged: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch, form: LogFormat
) -> None:
    status = os.fstat(2)
    monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
    configure_logging(LogSettings(LogLevel.DEBUG, format=form))
    logger = logging.getLogger("nh.rpc")
    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL):
        logger.log(level, "said")
    try:
        raise ValueError("oh")
    except ValueError:
        logger.exception("failed")
    lines = logged()
    assert [line[:3] for line in lines[:5]] == ["<7>", "<6>", "<4>", "<3>", "<2>"]
    assert all(line.startswith("<3>") for line in lines[5:])
    if form is LogFormat.TEXT:
        assert lines[0] == "<7>nh.rpc: said"
        assert lines[-1] == "<3>ValueError: oh"
    else:
        assert json.loads(lines[-1][3:])["exception"].endswith("ValueError: oh")


def test_standard_error_that_leads_elsewhere_is_not_the_journal(
    logged: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "1:2")
    configure_logging(LogSettings())
    logging.getLogger("nh.rpc").error("said")
    assert not logged()[0].startswith("<")


def test_an_area_has_a_level_of_its_own_until_it_has_none(logged: Callable[[], list[str]]) -> None:
    rpc, media, kernel = (
        logging.getLogger(f"nh.{name}") for name in ("rpc.x", "shard.media.x", "fastpath.x")
    )
    configure_logging(LogSettings(LogLevel.WARNING, {"rpc": LogLevel.DEBUG, "media": LogLevel.ERROR}))
    for logger in (rpc, media, kernel):
        logger.debug("debug")
        logger.warning("warning")
    configure_logging(LogSettings(LogLevel.WARNING))
    rpc.debug("again")
    media.warning("again")
    assert [line.split(" ", 4)[4] for line in logged()] == [
        "nh.rpc.x: debug",
        "nh.rpc.x: warning",
        "nh.fastpath.x: warning",
        "nh.shard.media.x: again",
    ]


@pytest.mark.parametrize("text", ["rpc", "weather=debug", "rpc=loud", "", "rpc=", "=debug"])
def test_what_is_no_area_and_level_is_refused_with_all_there_are(text: str) -> None:
    with pytest.raises(ValueError, match=r"^log_areas: .* is not AREA=LEVEL; areas are calls,"):
        parse_areas((text,))


def test_every_logger_of_nh_belongs_to_an_area() -> None:
    for module in pkgutil.walk_packages(nh.__path__, "nh."):
        source = importlib.util.find_spec(module.name)
        assert source is not None
        assert source.origin is not None
        if "logging.getLogger(__name__)" not in Path(source.origin).read_text():
            continue
        names = [name for names in AREAS.values() for name in names]
        inside = any(module.name == name or module.name.startswith(name + ".") for name in names)
        assert inside != (module.name in OWN_NO_AREA), module.name


@pytest.mark.parametrize(
    ("logger", "area"),
    [
        ("nh.shard.media", "media"),
        ("nh.shard.media.plane", "media"),
        ("nh.shard.media.kernel.path", "kernel"),
        ("nh.shard.media.kernel.path.x", "kernel"),
        ("nh.shard.mediation", ""),
        ("nh.shard", ""),
    ],
)
def test_a_line_says_the_area_of_the_longest_name_that_its_logger_is_of(
    logged: Callable[[], list[str]], logger: str, area: str
) -> None:
    configure_logging(LogSettings(format=LogFormat.JSON))
    logging.getLogger(logger).error("said")
    (line,) = map(json.loads, logged())
    assert line.get("area", "") == area


def test_the_library_of_the_http_process_belongs_to_its_area(logged: Callable[[], list[str]]) -> None:
    configure_logging(LogSettings(LogLevel.WARNING, {"http": LogLevel.DEBUG}, LogFormat.JSON))
    logging.getLogger("asyncio").debug("said")
    (line,) = map(json.loads, logged())
    assert line["area"] == "http"


HOSTILE = st.one_of(
    st.binary(max_size=300),
    st.text(max_size=100).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.sampled_from(
        [b"\x1b[2J\x1b]0;title\x07", b"<script>alert(1)</script>", b"a" * 10_000, b"\r\nERROR nh: "]
    ),
    st.sampled_from(["\u202eevil", "\u2028", "\x9b31m", "\u0000"]).map(str.encode),
)


@given(HOSTILE)
def test_no_identifier_breaks_a_line_or_steers_a_terminal(identifier: bytes) -> None:
    shown = short_id(identifier)
    assert shown.isprintable()
    assert len(shown) <= 4 * SHORT_BYTES + 1
    assert escaped(f"call '{shown}'") == f"call '{shown}'"
    assert show_id(identifier).isprintable()


@given(st.lists(HOSTILE, min_size=1, max_size=5), st.sampled_from(LogFormat), st.booleans())
def test_each_line_is_one_line_whatever_a_peer_sends(
    identifiers: list[bytes], form: LogFormat, careless: bool
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        root = logging.getLogger()
        before, level = root.handlers[:], root.level
        root.handlers[:] = []
        try:
            configure_logging(LogSettings(format=form))
            (handler,) = root.handlers
            record = logging.LogRecord("nh.rpc", logging.ERROR, "", 1, "call '%s': %s", (), None)
            for identifier in identifiers:
                text = identifier.decode("utf-8", "replace") if careless else short_id(identifier)
                record.args = (text, text)
                vars(record).update(about(identifier, text))
                line = handler.format(record)
                assert line.isprintable()
                if form is LogFormat.JSON:
                    assert json.loads(line)["level"] == "error"
        finally:
            root.handlers[:] = before
            root.setLevel(level)
            patch.undo()
