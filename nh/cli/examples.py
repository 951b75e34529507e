"""Examples of each command: its help shows them, and so does its man page."""

from collections.abc import Mapping
from typing import Final

EXAMPLES: Final[Mapping[str, tuple[tuple[str, str], ...]]] = {
    "run": (
        ("nh run", "a relay for Net::SIP on this host"),
        ("nh run --ng 127.0.0.1:2223 --address 192.0.2.1", "for Kamailio and OpenSIPS"),
        ("nh run --ng 127.0.0.1:2223 --address 10.0.0.5!192.0.2.1", "the same behind a static NAT"),
        ("nh run --config /etc/nh.toml --check", "only check whether it could start"),
    ),
    "stats": (
        ("nh stats", "live; q ends it, s sorts the shards, f shows those that are not well"),
        ("nh stats --once", "one picture, and all counters"),
        ("nh stats --json --interval 10s", "a line of JSON every 10 s"),
    ),
    "health": (
        ("nh health", "whether new calls are taken"),
        ("nh health --alive --json", "for a health check that must not end a relay that drains"),
    ),
    "calls": (
        ("nh calls --one-way --silent", "calls with media from one end only, or from none"),
        ("nh calls --address 198.51.100.0/24 --sort loss", "the calls of a network, most loss first"),
        ("nh calls --contains alice", "calls whose call-id contains alice"),
        ("nh calls --ended --limit 20", "the calls that ended last, and why"),
        ("nh calls a84b4c76e66710@example.org", "one call in full"),
    ),
    "why": (
        ("nh why a84b4c76e66710@example.org", "whether both ends hear each other, and if not, why"),
        ("nh why --json a84b4c76e66710@example.org", "the same for programs"),
    ),
    "close": (
        ("nh close a84b4c76e66710@example.org", "end this call"),
        ("nh close -- a@192.0.2.1 -b@192.0.2.1", "end two; behind -- a call-id may begin with -"),
    ),
    "drain": (("nh drain --limit-s 1h", "refuse new calls; end after the last one, or in an hour"),),
    "undrain": (("nh undrain", "take new calls again"),),
    "promote": (
        ("nh promote", "take the calls of the other relay, which relays until this one does"),
        ("nh promote --force pair-1", "take those of pair-1 even if its relay does not let go"),
    ),
    "move": (("nh move --to relay-2", "give that standby all calls of this host, without losing a packet"),),
    "upgrade": (("nh upgrade", "go on with the installed nh and the present settings"),),
    "shards": (("nh shards 8", "go on with eight shards"),),
    "reload": (("nh reload", "read the file of settings again"),),
    "log": (
        ("nh log", "print the levels"),
        ("nh log warning calls", "no lines about the begin and end of calls"),
        ("nh log info", "all areas as usual"),
    ),
    "config": (
        ("nh config --config /etc/nh.toml", "all settings, with where each comes from"),
        ("nh config --json", "the same for programs"),
    ),
    "load": (
        ("nh load --calls 200 --time-s 30", "200 calls through the nh on this host"),
        ("nh load /run/nh2/nh.sock --find-capacity", "how many calls another nh carries well"),
    ),
    "doctor": (
        ("nh doctor -q", "warnings and failures only"),
        ("nh doctor --config /etc/nh.toml --json", "with the settings of a service, for programs"),
    ),
}
"""By command: (command line, what it does)."""


def epilog(command: str, text: str) -> str:
    """What stands below the options in the help of a command: its own text, then its examples."""
    lines = [f"{line}  ({what})" for line, what in EXAMPLES.get(command, ())]
    return "\n\n".join(filter(None, [text, "Examples:", *lines]))
