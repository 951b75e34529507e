"""What nh logs, in values: levels, areas, formats. nh.logs.lines writes them."""

import enum
from collections.abc import Mapping
from typing import Final

import msgspec


class LogLevel(enum.StrEnum):
    """How much nh logs."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(enum.StrEnum):
    """How a line looks.

    TEXT: time, level, process and message; for the journal, which knows all but the message: the message.
    JSON: an object.
    """

    TEXT = "text"
    JSON = "json"


AREAS: Final[Mapping[str, tuple[str, ...]]] = {
    "calls": (
        *("nh.shard.views.call_list", "nh.shard.observers.call_log", "nh.shard.limit_log"),
        "nh.supervisor.records",
        *("nh.shard.link", "nh.shard.link_reports", "nh.shard.shares"),
        "nh.shard.relay",
        "nh.shard.ng",
    ),
    "media": ("nh.shard.media",),
    "kernel": (
        *("nh.fastpath", "nh.supervisor.kernel"),
        *("nh.shard.media.kernel.path", "nh.shard.media.kernel.flow"),
    ),
    "rpc": ("nh.rpc", "nh.supervisor.rpc", "nh.supervisor.timeouts", "nh.server"),
    "shards": (
        "nh.supervisor.shards",
        *("nh.supervisor.shard_slots", "nh.supervisor.dispatch"),
        "nh.shard.recovery",
        *("nh.shard.lease_end", "nh.time_slice"),
    ),
    "store": ("nh.supervisor.store", "nh.supervisor.standby"),
    "handover": ("nh.supervisor.handover", "nh.supervisor.orphans", "nh.ipc"),
    "host": ("nh.supervisor.host", "nh.supervisor.runtime"),
    "http": ("nh.http", "nh.supervisor.http_process", "asyncio"),
}
"""Areas with a level of their own: the loggers of each, with all below them."""


class LogSettings(msgspec.Struct, frozen=True):
    """What is logged, and how.

    Attributes:
        level: of all areas without a level of their own.
        areas: levels by area, see AREAS.
        format: see LogFormat.
    """

    level: LogLevel = LogLevel.INFO
    areas: dict[str, LogLevel] = {}
    format: LogFormat = LogFormat.TEXT


def parse_areas(texts: tuple[str, ...]) -> dict[str, LogLevel]:
    """Read AREA=LEVEL, as the setting `log_areas` has it.

    Raises:
        ValueError: an area or a level is unknown, and the message lists all; or an area is there twice.
    """
    areas: dict[str, LogLevel] = {}
    for text in texts:
        area, equals, level = text.strip().partition("=")
        if not equals or area not in AREAS or level not in tuple(LogLevel):
            raise ValueError(
                f"log_areas: {text!r} is not AREA=LEVEL; areas are {', '.join(AREAS)}, levels"
                f" {', '.join(LogLevel)}"
            )
        if area in areas:
            raise ValueError(f"log_areas: {area} is named twice; leave one of them out")
        areas[area] = LogLevel(level)
    return areas
