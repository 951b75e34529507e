"""Whether the server of the store answers, and keeps what it is given."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final

from nh.config import Settings
from nh.config.sources import SECRET
from nh.config.table import StateAway
from nh.doctor.findings import Finding, Findings, failure, fault_and_remedy, ok, warning
from nh.doctor.patient import Patient
from nh.doctor.start import published
from nh.errors import ConfigError, StoreUnavailable
from nh.printable import counted
from nh.supervisor.store.engine import StoreRefused
from nh.supervisor.store.open import locate
from nh.supervisor.store.sealed import KEY_DIFFERS, KEY_MISSING, key_check, read_state_key
from nh.supervisor.store.valkey.url import SCHEMES, parse_url

if TYPE_CHECKING:
    from nh.supervisor.store.valkey.facts import GroupFacts, ServerFacts

MIN_VERSION: Final = (6, 2)
"""Of Redis's commands; Valkey 7.2 says 7.2."""

NO_START: Final = "nh does not start"
NO_START_AGAIN: Final = "calls are not stored, and the nh that runs could not start again"
FOLLOWS_NOT: Final = "a standby follows no calls, and can take none over, until that is corrected"

SLOW_S: Final = 0.05
"""A reply that takes longer is no longer that of a server in the same network."""


def check_store_server(patient: Patient) -> Findings:
    """Whether the server of the store answers, and keeps what it is given."""
    try:
        if SECRET in patient.settings.state:
            yield _PASSWORD_UNKNOWN
            return
        scheme, location = locate(patient.settings)
        if scheme not in SCHEMES:
            yield ok("the store is on no server")
            return
        from nh.supervisor.store.valkey.facts import ask  # noqa: PLC0415  needs the extra valkey

        target = parse_url(scheme, location)
        names = dict.fromkeys(name or target.prefix for name in patient.settings.groups or ("",))
        facts, groups = ask(target, [*names])
    except ConfigError as exc:
        yield _fault(patient.with_origin(exc), failure, NO_START, "correct the setting")
    except StoreRefused as exc:
        meaning = NO_START if patient.pid is None else NO_START_AGAIN
        meaning = FOLLOWS_NOT if patient.settings.groups else meaning
        yield _fault(patient.with_origin(exc), failure, meaning, "correct the setting, or the server")
    except StoreUnavailable as exc:
        yield _away(patient.with_origin(exc), patient.settings)
    except ImportError:
        yield failure("the extra valkey is missing", NO_START, "in nh's repository: pip install '.[valkey]'")
    else:
        yield from judge(facts, [*judge_keys(patient.settings, groups)])


def check_stored(patient: Patient) -> Findings:
    """Whether the store takes the calls of the nh that runs."""
    supervisor = published(patient) if patient.pid is not None else None
    if supervisor is None:
        yield ok("no nh that this user can see runs and has calls to store")
    elif not supervisor.store_fault:
        yield ok("the nh that runs has no fault of its store")
    else:
        found, remedy = fault_and_remedy(
            supervisor.store_fault, "the log of nh has more, in lines with `store`"
        )
        waiting = counted(supervisor.store_pending, "call")
        meaning = f"calls go on but are not stored, {waiting} waiting: a restart of everything loses them"
        yield warning(found, meaning, remedy)


def _fault(why: str, kind: Callable[[str, str, str], Finding], meaning: str, remedy: str) -> Finding:
    found, said = fault_and_remedy(why, remedy)
    return kind(found, meaning, said)


def _away(why: str, settings: Settings) -> Finding:
    remedy = "start the server, or correct its address in --state: valkeys:// is for TLS, valkey:// is not"
    if settings.groups:
        return _fault(why, failure, FOLLOWS_NOT, remedy)
    if settings.state_away is not StateAway.TAKE:
        return _fault(why, failure, "nh does not start, or takes no new calls", remedy)
    meaning = "calls are not stored until it answers, and those that only it has are not restored"
    return _fault(why, warning, meaning, remedy)


def judge_keys(settings: Settings, groups: Iterable["GroupFacts"]) -> Findings:
    """Calls that the key of this relay does not open."""
    try:
        own = key_check(read_state_key(settings.state_key_file))
    except ConfigError:  # another check says so
        return
    for group in groups:
        if group.key not in ("", own) and (group.calls or settings.groups):
            found, remedy = fault_and_remedy(KEY_DIFFERS if own else KEY_MISSING)
            meaning = "this relay cannot take them over" if settings.groups else NO_START
            yield failure(f"{group.name}: {found}", meaning, remedy)


def judge(facts: "ServerFacts | None", further: Sequence[Finding] = ()) -> Findings:
    """What is wrong with a server that answers, and `further` faults; that all is well if nothing is."""
    if facts is None:
        yield _FACTS_REFUSED
        yield from further
        return
    faults = [
        *_judge_version(facts.version),
        *([_REPLICA] if facts.is_replica else []),
        *([_evicts(facts.evicts)] if facts.evicts else []),
        *([] if facts.persists else [_VOLATILE]),
        *([_slow(facts.reply_s)] if facts.reply_s > SLOW_S else []),
        *further,
    ]
    yield from faults or [ok(f"the server of the store answers within {facts.reply_s * 1000:.1f} ms")]


def _judge_version(version: str) -> Findings:
    parts = version.split(".")[:2]
    if not all(part.isdigit() for part in parts) or tuple(map(int, parts)) < MIN_VERSION:
        yield failure(
            f"the server of the store has version {version or 'unknown'}",
            "nh cannot store calls there",
            "use Valkey 7.2 or later, or Redis 6.2 or later",
        )


_PASSWORD_UNKNOWN: Final = warning(
    "the nh that runs has a store whose URL has a password, and nh doctor was given another URL",
    "it is not known whether the server of the store answers",
    "give nh doctor the same `state`: the environment or the file of nh run",
)

_FACTS_REFUSED: Final = warning(
    "the server of the store answers, but its ACL refuses INFO to this user",
    "calls are stored; it is not known whether the server evicts them, or loses them when it ends",
    "permit it at the server: `ACL SETUSER USER +info`, with the user of the URL",
)

_REPLICA: Final = failure(
    "the server of the store is a read-only replica",
    "calls are not stored",
    "name the primary, or the Sentinels with ?sentinel=NAME",
)

_VOLATILE: Final = warning(
    "the server of the store has neither appendonly nor a replica",
    "if it and this host end together, the calls are lost",
    "set `appendonly yes` at the server, or give it a replica",
)


def _evicts(policy: str) -> Finding:
    return warning(
        f"the server of the store has maxmemory-policy {policy}",
        "when its memory is full, it may remove all calls of a relay; nh writes them again",
        "set `maxmemory-policy noeviction` at the server",
    )


def _slow(reply_s: float) -> Finding:
    return warning(
        f"the server of the store answers after {reply_s * 1000:.0f} ms",
        "calls are on the server so much later, and no command waits for it",
        "use a server in the same network",
    )
