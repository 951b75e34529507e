"""All checks, each in bounded time: a check that hangs or fails is a finding, and the others go on."""

import threading
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from nh.doctor import announced, network, resources, start
from nh.doctor.findings import Finding, Findings, Status, fault_and_remedy, warning
from nh.doctor.patient import Patient
from nh.doctor.settings import check_settings
from nh.doctor.store_server import check_store_server, check_stored
from nh.errors import ConfigError
from nh.printable import escaped
from nh.reasons import shortage
from nh.threads import start_thread

CHECK_S: Final = 5.0
"""A check may take so long."""

_LONGER_S: Final[Mapping[str, float]] = {"store_server": 15.0}
"""What may take longer: a server may take 2 s for each of several replies."""

Check = Callable[[Patient], Findings]

CHECKS: Final[Mapping[str, Check]] = {
    "running": start.check_running,
    "settings": check_settings,
    **start.START_CHECKS,
    "nat": announced.check_nat,
    "virtual_address": announced.check_virtual,
    "secure_media": start.check_secure_media,
    "kernel_path": start.check_kernel_path,
    "ephemeral_ports": network.check_ephemeral_ports,
    "used_ports": network.check_used_ports,
    "socket_buffers": network.check_buffers,
    "conntrack": network.check_conntrack,
    "firewall": network.check_firewall,
    "network_cards": network.check_cards,
    "descriptors": resources.check_descriptors,
    "cpus": resources.check_cpus,
    "shared_memory": resources.check_shared_memory,
    "state_disk": resources.check_state_disk,
    "store_server": check_store_server,
    "stored": check_stored,
    "records": resources.check_records,
    "clock": resources.check_clock,
    "leftovers": resources.check_leftovers,
}
"""The checks by name, in the order in which they are shown."""


def examine(patient: Patient, checks: Mapping[str, Check] = CHECKS) -> Findings:
    """The findings of all checks, in their order; a fault that several checks find is told by the first.

    A check that says something of a setting says where its value came from, too.
    """
    told: set[str] = set()
    for name, check in checks.items():
        for finding in _bounded(name, check, patient):
            found = escaped(finding.found)
            if found in told:
                continue
            if finding.status is not Status.OK:
                told.add(found)
            yield msgspec.structs.replace(finding, check=name, found=found)


def _bounded(name: str, check: Check, patient: Patient) -> list[Finding]:
    found: list[Finding] = []
    thread = threading.Thread(target=_run, args=(name, check, patient, found), daemon=True, name=name)
    try:
        start_thread(thread)
    except OSError as exc:
        fault, remedy = fault_and_remedy(shortage(exc))
        return [
            warning(f"the check {name} cannot begin: {fault}", "it is not known whether all is well", remedy)
        ]
    limit_s = _LONGER_S.get(name, CHECK_S)
    thread.join(limit_s)
    if thread.is_alive():
        return [
            *found,
            warning(
                f"the check {name} did not end within {limit_s:g} s",
                "it is not known whether all is well",
                "look at the load of the host, its name servers, and the server of the store, and try again",
            ),
        ]
    return found


def _run(name: str, check: Check, patient: Patient, found: list[Finding]) -> None:
    try:
        found.extend(check(patient))
    except ConfigError as exc:  # the checks of the start tell of it, too
        fault, remedy = fault_and_remedy(patient.with_origin(exc), "correct the setting")
        found.append(warning(fault, "what depends on it is not known", remedy))
    except Exception as exc:
        found.append(
            warning(
                f"the check {name} failed: {type(exc).__name__}: {exc}",
                "it is not known whether all is well",
                "this is a bug in nh: report it",
            )
        )


def worst(findings: list[Finding]) -> Status:
    """The worst status of all."""
    order = list(Status)
    return max((each.status for each in findings), key=order.index, default=Status.OK)
