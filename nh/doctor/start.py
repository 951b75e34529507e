"""Checks of what decides whether nh can start: the same as those of the start."""

import contextlib
import importlib.util
from collections.abc import Callable, Mapping
from typing import Final

from nh.config.table import KernelMode
from nh.doctor.findings import Finding, Findings, failure, fault_and_remedy, ok, warning
from nh.doctor.patient import Patient
from nh.errors import ConfigError, NhError, StatsUnavailable
from nh.fastpath.probe import Availability, probe
from nh.stats import StatsReader, attach_segment, segment_name
from nh.stats.reading import SupervisorReading
from nh.supervisor.host.locked_dir import STATE_DIR, check_dir
from nh.supervisor.running_nh import system_runtime_dir
from nh.supervisor.start_checks import CHECKS, Check

SILENT_S: Final = 5.0
"""A supervisor publishes its statistics twice a second; a busy host may delay that."""

_FINE: Final[Mapping[str, str]] = {
    "shards": "each shard has media ports of its own",
    "runtime_dir": "the directory can be used",
    "address": "this host has all addresses for media",
    "ports": "no other nh claims the media ports",
    "rpc": "nh can listen on all addresses",
}
"""What is so if a check of the start finds no fault."""

_HIDDEN: Final = "nh does not start as this user; what an nh that runs has is its own"
AS_ITS_USER: Final = "run nh doctor as the relay's user, or as root"
"""What to do where this user cannot see whether an nh runs."""

_SECURE_MEDIA: Final[Mapping[str, str]] = {"cryptography": "cryptography", "OpenSSL": "pyOpenSSL"}
"""The packages of the extra srtp: module and name."""


def start_check(name: str, check: Check) -> Callable[[Patient], Findings]:
    """A check of the start as one of the doctor's."""

    def examine(patient: Patient) -> Findings:
        try:
            check(patient.settings, patient.running)
        except NhError as exc:
            found, remedy = fault_and_remedy(patient.with_origin(exc), "change the setting, or the host")
            if patient.is_hidden:
                yield warning(found, _HIDDEN, AS_ITS_USER)
            elif patient.pid is None:
                later = "" if isinstance(exc, ConfigError) else ", until that changes"
                yield failure(found, f"nh does not start{later}", remedy)
            else:
                yield _of_running(patient, found, remedy)
        else:
            yield ok(_FINE.get(name, "the settings can be used"))

    return examine


def _of_running(patient: Patient, found: str, remedy: str) -> Finding:
    if patient.compared is not None:
        return failure(found, "the nh that runs could not start again, nor be upgraded", remedy)
    return failure(
        found,
        "the nh that runs has other settings than these, or could not start again",
        f"give nh doctor the flags, environment and file of nh run; else {remedy}",
    )


def check_state(patient: Patient) -> Findings:
    """Whether calls can be stored; nh starts without a store if its default directory cannot be used."""
    settings = patient.settings
    if settings.state or settings.state_path is None:
        yield from start_check("state", CHECKS["state"])(patient)
        return
    try:
        check_dir(settings.state_path, STATE_DIR, named=False)
    except ConfigError as exc:
        found, remedy = fault_and_remedy(patient.with_origin(exc))
        yield warning(found, "calls are not stored: a restart of the host loses them", remedy)
    else:
        yield ok("the directory can be used")


START_CHECKS: Final = {name: start_check(name, check) for name, check in CHECKS.items()} | {
    "state": check_state
}


def check_running(patient: Patient) -> Findings:
    """Whether an nh runs with the runtime directory, and publishes its statistics."""
    if patient.is_hidden:
        yield warning(
            f"this user cannot see whether an nh runs with {patient.settings.runtime_path}",
            "the checks cannot tell what an nh that runs has from what other programs have",
            AS_ITS_USER,
        )
        return
    if patient.pid is None:
        other = system_runtime_dir(patient.settings.runtime_path)
        hint = f"; name another with --runtime-dir, such as {other}" if other else ""
        yield ok(f"no nh runs with {patient.settings.runtime_path}{hint}")
        return
    runs = f"nh runs with {patient.settings.runtime_path} (pid {patient.pid or 'unknown'})"
    supervisor = published(patient)
    silent_s = supervisor.heartbeat_age_s or 0.0 if supervisor is not None else 0.0
    if silent_s > SILENT_S:
        yield warning(
            f"{runs}, and its supervisor has been silent for {silent_s:.0f} s",
            "it hangs: shards relay on, but no command is executed and no new call is taken",
            f"`kill -9 {patient.pid or 'PID'}`, and start nh again: it takes the calls over",
        )
    else:
        yield ok(runs)


def published(patient: Patient) -> SupervisorReading | None:
    """The statistics that the supervisor has published last; None: they cannot be read."""
    try:
        segment = attach_segment(segment_name(patient.settings.runtime_path))
    except StatsUnavailable:
        return None
    with contextlib.closing(segment), contextlib.suppress(StatsUnavailable):
        return StatsReader(segment).read().supervisor
    return None


def check_secure_media(patient: Patient) -> Findings:
    """Whether SRTP and DTLS can be on one side of a call, where clients can ask for that."""
    missing = [each for each in _SECURE_MEDIA if importlib.util.find_spec(each) is None]
    if not (patient.settings.ng_addresses or patient.settings.http_ng):
        yield ok("no client of ng can ask for SRTP or DTLS on one side of a call")
    elif missing:
        yield warning(
            f"the extra srtp is not installed ({', '.join(_SECURE_MEDIA[each] for each in missing)})",
            "calls of a browser, or a phone with SRTP, with a plain phone are refused",
            "in nh's repository: pip install '.[srtp]'; nothing if there are no such calls",
        )
    else:
        yield ok("SRTP and DTLS can be on one side of a call")


def check_kernel_path(patient: Patient) -> Findings:
    """Whether media can be relayed inside the kernel."""
    if patient.settings.kernel is KernelMode.OFF:
        yield ok("turned off (kernel = off): all media are relayed in user space")
        return
    availability, why = probe()
    if availability is Availability.AVAILABLE:
        yield ok("media can be relayed inside the kernel")
        return
    yield warning(
        f"media are not relayed inside the kernel: {why}",
        "each packet costs more CPU; everything else works",
        "docs/how-to/kernel.md says what the kernel path needs; kernel = off ends this warning",
    )
