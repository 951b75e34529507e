"""The reply to ng's `statistics`: rtpengine's structure, filled with what nh counts; all else is 0.

Names and types are those of rtpengine 10.5: fractions are text. The section `nh` has what rtpengine does not
tell. docs/reference/ng.md says what is filled.
"""

from collections.abc import Mapping
from typing import Any, Final

_COMMANDS: Final[Mapping[str, str]] = {
    "ping": "ping",
    "offer": "offer",
    "answer": "answer",
    "delete": "delete",
    "query": "query",
    "list": "list",
    "start recording": "startrec",
    "stop recording": "stoprec",
    "start forwarding": "startfwd",
    "stop forwarding": "stopfwd",
    "block DTMF": "blkdtmf",
    "unblock DTMF": "unblkdtmf",
    "block media": "blkmedia",
    "unblock media": "unblkmedia",
    "play media": "playmedia",
    "stop media": "stopmedia",
    "play DTMF": "playdtmf",
    "statistics": "stats",
    "silence media": "slnmedia",
    "unsilence media": "unslnmedia",
    "publish": "pub",
    "subscribe request": "subreq",
    "subscribe answer": "subans",
    "unsubscribe": "unsub",
}
"""rtpengine's commands, and what the names of their counters begin with."""

_COUNTED: Final = ("offer", "answer", "delete", "query", "list")
"""Commands whose counters in nh.stats.ShardStats have the same name."""

_LOAD: Final = ("load_percent", "cpu_percent", "byte_rate", "at_limit")
"""Statistics of nh for which rtpengine has no name."""

_NO_TIME: Final = "0.000000"

_EMPTY: Final[Mapping[str, Mapping[str, int | str]]] = {
    "currentstatistics": {
        "sessionsown": 0,
        "sessionsforeign": 0,
        "sessionstotal": 0,
        "transcodedmedia": 0,
        **{
            f"{what}rate{path}": 0
            for path in ("_user", "_kernel", "")
            for what in ("packet", "byte", "error")
        },
        "media_userspace": 0,
        "media_kernel": 0,
        "media_mixed": 0,
    },
    "totalstatistics": {
        "uptime": "0",
        "managedsessions": 0,
        "rejectedsessions": 0,
        "timeoutsessions": 0,
        "silenttimeoutsessions": 0,
        "finaltimeoutsessions": 0,
        "offertimeoutsessions": 0,
        "regularterminatedsessions": 0,
        "forcedterminatedsessions": 0,
        **{
            f"relayed{what}{path}": 0
            for path in ("_user", "_kernel", "")
            for what in ("packets", "packeterrors", "bytes")
        },
        "zerowaystreams": 0,
        "onewaystreams": 0,
        "avgcallduration": _NO_TIME,
        "totalcallsduration": _NO_TIME,
        "totalcallsduration2": _NO_TIME,
        "totalcallsduration_stddev": _NO_TIME,
    },
    "intervalstatistics": {
        "totalcallsduration": _NO_TIME,
        "minmanagedsessions": 0,
        "maxmanagedsessions": 0,
        **{f"{which}{command}delay": _NO_TIME for command in _COMMANDS for which in ("min", "max", "avg")},
        **{f"{which}{command}requestrate": "0" for command in _COMMANDS for which in ("min", "max", "avg")},
    },
    "mos": {
        "mos_total": _NO_TIME,
        "mos2_total": _NO_TIME,
        "mos_samples_total": 0,
        "mos_average": _NO_TIME,
        "mos_stddev": _NO_TIME,
    },
    "controlstatistics": {f"total{name}count": 0 for name in _COMMANDS.values()},
}


def make_statistics(values: Mapping[str, Any]) -> dict[str, Any]:
    """The dictionary `statistics` of the reply.

    Args:
        values: those of nh.results.Stats.
    """
    totals, supervisor = values["totals"], values["supervisor"]
    known: dict[str, dict[str, Any]] = {
        "currentstatistics": {"sessionsown": totals["calls"], "sessionstotal": totals["calls"]},
        "totalstatistics": {
            "uptime": str(int(max(values["time"] - supervisor["running_since"], 0))),
            **_ended(totals),
            **_relayed(totals),
        },
        "controlstatistics": {
            "proxies": [],
            **{f"total{name}count": _executed(totals, name) for name in _COUNTED},
            "totalblkmediacount": _executed(totals, "block"),
        },
    }
    sections = {name: {**section, **known.get(name, {})} for name, section in _EMPTY.items()}
    of_nh = {name: totals[name] for name in _LOAD} | {"draining": supervisor["draining"]}
    return {**sections, "interfaces": [], "transcoders": [], "nh": of_nh}


def _ended(totals: Mapping[str, Any]) -> dict[str, int]:
    expired = totals["expired_silent"] + totals["expired_hold"] + totals["expired_replaced"]
    return {
        "managedsessions": totals["sessions_ended"],
        "rejectedsessions": sum(value for name, value in totals.items() if name.startswith("refused_")),
        "timeoutsessions": totals["expired_silent"],
        "silenttimeoutsessions": totals["expired_hold"],
        "offertimeoutsessions": totals["expired_unused"],
        "regularterminatedsessions": max(totals["sessions_ended"] - expired, 0),
    }


def _relayed(totals: Mapping[str, Any]) -> dict[str, int]:
    dropped = sum(value for name, value in totals.items() if name.startswith("drop_"))
    return {
        "relayedpackets_user": max(totals["packets_out"] - totals["kernel_packets"], 0),
        "relayedbytes_user": max(totals["bytes_out"] - totals["kernel_bytes"], 0),
        "relayedpacketerrors_user": dropped,
        "relayedpackets_kernel": totals["kernel_packets"],
        "relayedbytes_kernel": totals["kernel_bytes"],
        "relayedpackets": totals["packets_out"],
        "relayedbytes": totals["bytes_out"],
        "relayedpacketerrors": dropped,
    }


def _executed(totals: Mapping[str, Any], counters: str) -> int:
    return sum(totals[f"{counters}_{outcome}"] for outcome in ("ok", "refused", "failed"))
