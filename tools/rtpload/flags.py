"""One flag for each option of a load: the help that goes with each field of LoadOptions.

Types and defaults come from LoadOptions itself, so that there is one place for them; so does validation.
"""

import inspect
from collections.abc import Callable
from typing import Annotated, Any, Final, get_type_hints

import typer

from nh.cli.options import settings_of
from nh.errors import ConfigError
from nh.supervisor.settings_in_force import addresses_in_force
from tools.rtpload.codec import CODECS
from tools.rtpload.options import ControlKind, LoadOptions

_CALLS: Final = "Calls"
_MEDIA: Final = "Media"
_RELAY: Final = "The relay"
_GENERATOR: Final = "The generator itself"

MAX_CPUS: Final = 8192
"""Linux has no more (NR_CPUS)."""

HELP: Final[dict[str, tuple[str, str]]] = {
    "control": (_RELAY, "protocol of its control socket"),
    "relay_address": (_RELAY, "where it shall take media (default: loopback)"),
    "timeout_s": (_RELAY, "longest time of a command"),
    "relay_pid": (
        _RELAY,
        "process whose CPU and memory are measured, its children too; auto: the nh at ADDRESS",
    ),
    "runtime_dir": (_RELAY, "nh's runtime directory, for --relay-pid auto (default: where ADDRESS is)"),
    "calls": (_CALLS, "calls at once; with --find-capacity: the number to begin with"),
    "ramp": (_CALLS, "new calls per second at the beginning; 0: as fast as the relay sets them up"),
    "time_s": (_CALLS, "how long the load goes on once all calls are up"),
    "duration": (
        _CALLS,
        "how long calls last: seconds, exp:MEAN or uniform:LOW-HIGH; others take their place",
    ),
    "one_way": (_CALLS, "share of the calls in which only the caller sends, 0 to 1"),
    "hold": (_CALLS, "share of the calls that are put on hold for a while, 0 to 1"),
    "reinvite": (_CALLS, "share of the calls with a re-INVITE, 0 to 1"),
    "forks": (_CALLS, "branches of each call that ring and lose before one answers; for ng"),
    "srtp": (
        _MEDIA,
        "callees have SRTP of this crypto suite, such as AES_CM_128_HMAC_SHA1_80; for ng (needs pylibsrtp)",
    ),
    "webrtc": (
        _MEDIA,
        "callees are browsers: ICE, and DTLS for the suite of --srtp (needs pyopenssl, too)",
    ),
    "video": (_MEDIA, "browsers have video beside their audio, in one bundle"),
    "handshakes_at_once": (
        _MEDIA,
        "browsers wait until all calls are set up, and then begin all at once",
    ),
    "codec": (_MEDIA, ", ".join(CODECS)),
    "packet_ms": (_MEDIA, "packet time"),
    "payload_bytes": (_MEDIA, "payload of a packet; 0: as the codec's rate says"),
    "rtcp": (_MEDIA, "whether phones send RTCP, too"),
    "rtcp_interval_s": (_MEDIA, "mean time between two RTCP reports of a phone"),
    "jitter_ms": (_MEDIA, "send each packet up to so much late, at random"),
    "ipv6": (_MEDIA, "media over IPv6"),
    "phone_addresses": (_MEDIA, "where the phones are, once for each address (default: loopback)"),
    "processes": (_GENERATOR, "worker processes; 0: as many as the packets and descriptors need"),
    "cpus": (_GENERATOR, "CPUs for the workers, such as 0,2-5 (default: any)"),
    "nice": (_GENERATOR, "priority of the workers, -20 to 19: below 0, they go before others"),
    "signallers": (_GENERATOR, "commands under way at once"),
    "drain_s": (_GENERATOR, "longest wait for a call's last packets"),
    "seed": (_GENERATOR, "of all chance"),
    "retry_s": (_GENERATOR, "how long a command without an answer is sent again; 0: not at all"),
    "list_streams": (_GENERATOR, "in the JSON, what became of each stream, packet by packet"),
}
_NAMES: Final = {"phone_addresses": "--phone-address", "ipv6": "--ipv6/--ipv4"}
_AS_TYPED: Final[dict[str, tuple[Any, Any]]] = {"cpus": (str, ""), "phone_addresses": (list[str], [])}
"""Type and default on the command line, where they are not those of the field."""


def takes_load_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give `command` a keyword-only flag for each option but the address.

    Args:
        command: takes them as **options, as `read_options` wants them, after flags of its own.
    """
    own = [p for p in inspect.signature(command).parameters.values() if p.kind is not p.VAR_KEYWORD]
    hints = get_type_hints(LoadOptions)
    defaults = LoadOptions(address="")
    flags = []
    for name, (panel, text) in HELP.items():
        kind, default = _AS_TYPED.get(name, (hints[name], getattr(defaults, name)))
        option = typer.Option(
            _NAMES.get(name, _flag(name, default)),
            help=text,
            rich_help_panel=panel,
            show_default=default != "",
        )
        flags.append(
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option]
            )
        )
    signature = inspect.Signature([*own, *flags])
    command.__signature__ = signature  # type: ignore[attr-defined]  # what typer reads
    command.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
    return command


def read_options(address: str, typed: dict[str, Any]) -> LoadOptions:
    """The options, checked.

    Args:
        address: of the relay.
        typed: the flags' values by field.

    Raises:
        ConfigError: one cannot be used; the message begins with its flag.
    """
    try:
        return _checked(address, typed)
    except ConfigError as exc:
        name, colon, why = str(exc).partition(": ")
        if not colon or name not in typed:
            raise
        flag = _NAMES.get(name, f"--{name.replace('_', '-')}")
        raise ConfigError(f"{flag}: {why}") from exc


def _checked(address: str, typed: dict[str, Any]) -> LoadOptions:
    fields = {
        **typed,
        "cpus": parse_cpus(typed["cpus"]),
        "phone_addresses": tuple(typed["phone_addresses"]),
    }
    options = LoadOptions(address=address, **fields)
    options.check()
    return options


def nh_address(typed: dict[str, Any]) -> str:
    """Where the nh of this host serves the protocol; "" where no relay is needed.

    Args:
        typed: the flags' values by field.

    Returns:
        A path, or HOST:PORT.

    Raises:
        ConfigError: a setting cannot be used, or nh does not serve the protocol.
    """
    if typed["control"] == ControlKind.DIRECT:
        return ""
    settings = settings_of(runtime_dir=typed["runtime_dir"] or None)
    if typed["control"] != ControlKind.NG:
        return settings.rpc_addresses[0]
    ng = settings.ng or addresses_in_force(settings.runtime_path, "ng")
    if not ng:
        raise ConfigError("address: nh's settings name no address for ng; say HOST:PORT")
    return ng[0]


def parse_cpus(text: str) -> tuple[int, ...]:
    """CPU numbers of a list such as `0,2-5`. Raises ConfigError if it is none."""
    cpus: set[int] = set()
    for part in filter(None, text.split(",")):
        first, dash, last = part.partition("-")
        if not (first.isdecimal() and (last.isdecimal() or not dash) and len(part) < 12):
            raise ConfigError(f"cpus: {part!r} is neither a number nor FIRST-LAST")
        low, high = int(first), int(last or first)
        if not low <= high < MAX_CPUS:
            raise ConfigError(f"cpus: {part!r} does not ascend from 0 to {MAX_CPUS - 1}")
        cpus.update(range(low, high + 1))
    return tuple(sorted(cpus))


def _flag(name: str, default: Any) -> str:
    flag = "--" + name.replace("_", "-")
    return f"{flag}/--no-{flag[2:]}" if default is True else flag
