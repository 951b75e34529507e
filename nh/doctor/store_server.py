"""Whether the server of the store answers, and keeps what it is given."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from nh.config import StateAway
from nh.doctor.findings import Finding, failure, ok, warning
from nh.doctor.host import Patient
from nh.errors import ConfigError, StoreUnavailable
from nh.supervisor.store.engine import StoreRefused
from nh.supervisor.store.open import locate
from nh.supervisor.store.valkey.url import SCHEMES, parse_url

if TYPE_CHECKING:
    from nh.supervisor.store.valkey.facts import ServerFacts

LEAST_VERSION: Final = (6, 2)
"""Of Redis's commands; Valkey 7.2 says 7.2."""

SLOW_S: Final = 0.05
"""A reply that takes longer is no longer that of a server in the same network."""


def check_store_server(patient: Patient) -> Iterator[Finding]:
    """Whether the server of the store answers, and keeps what it is given."""
    try:
        scheme, location = locate(patient.settings)
        if scheme not in SCHEMES:
            yield ok("the store is on no server")
            return
        from nh.supervisor.store.valkey.facts import ask  # noqa: PLC0415  needs the extra valkey

        facts = ask(parse_url(scheme, location))
    except (ConfigError, StoreRefused) as exc:
        found, _, remedy = str(exc).partition("; ")
        yield failure(found, "nh does not start", remedy or "correct the setting, or the server")
    except StoreUnavailable as exc:
        found, _, remedy = str(exc).partition("; ")
        remedy = remedy or "start the server, or correct its address in --state"
        if patient.settings.state_away is not StateAway.TAKE:
            yield failure(found, "nh does not start, or takes no new calls", remedy)
        else:
            meaning = "calls are not stored until it answers, and those that only it has are not restored"
            yield warning(found, meaning, remedy)
    except ImportError:
        yield failure(
            "the extra valkey is missing", "nh does not start", "in nh's repository: pip install '.[valkey]'"
        )
    else:
        yield from judge(facts)


def judge(facts: "ServerFacts") -> Iterator[Finding]:
    """What is wrong with a server that answers; that all is well if nothing is."""
    faults = [
        *_judge_version(facts.version),
        *([_REPLICA] if facts.is_replica else []),
        *([_evicts(facts.evicts)] if facts.evicts else []),
        *([] if facts.persists else [_VOLATILE]),
        *([_slow(facts.reply_s)] if facts.reply_s > SLOW_S else []),
    ]
    yield from faults or [ok(f"the server of the store answers within {facts.reply_s * 1000:.1f} ms")]


def _judge_version(version: str) -> Iterator[Finding]:
    parts = version.split(".")[:2]
    if not all(part.isdigit() for part in parts) or tuple(map(int, parts)) < LEAST_VERSION:
        yield failure(
            f"the server of the store has version {version or 'unknown'}",
            "nh cannot store calls there",
            "use Valkey 7.2 or later, or Redis 6.2 or later",
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
