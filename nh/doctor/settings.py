"""Which settings the checks judge by, and whether the nh that runs has those that were meant."""

from typing import Final

import msgspec

from nh.config.sources import COMMAND_LINE, ENVIRONMENT
from nh.doctor.comparison import Comparison, Difference, Value
from nh.doctor.findings import Findings, failure, fault_and_remedy, ok, warning
from nh.doctor.patient import Patient
from nh.errors import NhError
from nh.printable import counted
from nh.supervisor.reload import CHANGEABLE, NEEDS_RESTART
from nh.supervisor.running_nh import RunningNh
from nh.supervisor.settings_in_force import RUN_TIME
from nh.supervisor.start_checks import check_host

_OF_A_PROCESS: Final = (COMMAND_LINE, ENVIRONMENT, RUN_TIME)
"""Origins of settings that no other process has."""


def check_settings(patient: Patient) -> Findings:
    """Whether the nh that runs has the settings that were given."""
    named = f"with {patient.file}" if patient.file is not None else "without a file (--config, NH_CONFIG)"
    if patient.is_hidden:
        yield ok(
            "an nh that runs tells its settings to its user and root: the checks judge by those given,"
            f" {named}"
        )
    elif patient.pid is None:
        yield ok(f"no nh runs: the checks judge by the settings given, {named}")
    elif patient.compared is None:
        yield warning(
            "the nh that runs does not tell its settings: it is of another release, or a disk is full",
            "the checks judge by the settings given, which may be others",
            "give nh doctor the flags, environment and file of nh run",
        )
    else:
        yield ok(_in_force(patient))
        yield from _judge(patient.compared, patient.running)


def _in_force(patient: Patient) -> str:
    """What the nh that runs uses, one line."""
    settings = patient.settings
    served = {
        "rpc": settings.rpc_addresses,
        **{name: getattr(settings, name) for name in ("ng", "rtpproxy", "http")},
    }
    limits = {
        name: getattr(settings, name) for name in ("max_calls", "max_sockets", "max_cpu", "max_bandwidth")
    }
    parts = [
        f"in force: {counted(settings.shards, 'shard')}",
        f"ports {settings.ports}",
        *(f"{name} {', '.join(addresses)}" for name, addresses in served.items() if addresses),
        *(f"{name} {limit:g}" for name, limit in limits.items() if limit),
    ]
    return "; ".join(parts)


def _judge(compared: Comparison, running: RunningNh | None) -> Findings:
    own = [each for each in compared.differences if each.in_force.origin in _OF_A_PROCESS]
    if own:
        listed = "; ".join(f"{_shown(each.name, each.in_force)}, here {_text(each.given)}" for each in own)
        yield ok(f"the nh that runs has, and the checks judge by: {listed}")
    asked = [each for each in compared.differences if each not in own and each.given.origin in _OF_A_PROCESS]
    for each in asked:
        yield warning(
            _apart(each),
            "the checks judge by what the nh that runs has",
            "leave it out of the flags and the environment of nh doctor; or `nh run --check` with it says"
            " whether nh could be upgraded to it",
        )
    pending = [each for each in compared.differences if each not in own and each not in asked]
    for each in pending:
        command = "`nh reload`" if each.name in CHANGEABLE else "`nh upgrade`"
        command = "a restart of nh" if each.name in NEEDS_RESTART else command
        yield warning(_apart(each), "the change is not in force", f"{command} brings it into force")
    if pending:
        yield from _could_be_used(compared, running)


def _could_be_used(compared: Comparison, running: RunningNh | None) -> Findings:
    try:
        with compared.given.naming_origins():
            check_host(compared.given.settings, running)
    except NhError as exc:
        found, remedy = fault_and_remedy(str(exc), "change the setting back, or the host")
        meaning = "with the settings as they are now nh could not start again, nor be upgraded"
        yield failure(found, meaning, remedy)


def _apart(each: Difference) -> str:
    return f"{_shown(each.name, each.in_force)} in the nh that runs, and {_text(each.given)} here"


def _shown(name: str, value: Value) -> str:
    return f"{name} = {_text(value)}"


def _text(value: Value) -> str:
    text = msgspec.json.encode(value.value).decode()
    return f"{text} ({value.origin})"
