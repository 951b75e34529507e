"""Whom the client of a call wants told of it, beside its replies; noted with the call."""

import ipaddress
import logging
from typing import Final

from msgspec import structs

from nh.calls.table import CallTable
from nh.calls.timeouts import TimeoutTarget
from nh.commands import Answer, Offer
from nh.logs.lines import about
from nh.logs.throttle import OnceLogger
from nh.printable import short_id
from nh.results import Rewritten

MAX_LOGGED: Final = 100
"""Most warnings that are logged, each once."""

logger = logging.getLogger(__name__)


class Targets:
    """Notes what offers and answers say of that.

    Args:
        table: the calls; its settings say where telephone events may go.
    """

    def __init__(self, table: CallTable) -> None:
        self._table = table
        self._warnings = OnceLogger(logger, MAX_LOGGED)

    def note(self, command: Offer | Answer, result: Rewritten) -> Rewritten:
        """Note it after the command; returns its result, with a warning of what is not allowed."""
        options = command.options
        if not options.timeout_callback and options.dtmf_target is None:
            return result
        call = self._table.find_call(command.call_id)
        if call is not None and options.timeout_callback:
            call.timeout_target = TimeoutTarget(callback=options.timeout_callback)
        if call is None or options.dtmf_target is None:
            return result
        if self._allows(options.dtmf_target.address):
            call.dtmf_target = options.dtmf_target
            return result
        return self._refuse(command.call_id, options.dtmf_target.address, result)

    def _refuse(self, call_id: bytes, address: str, result: Rewritten) -> Rewritten:
        warning = f"dtmf-log-dest: dtmf_address does not list {address}"
        # SIP proxies show warnings nowhere
        self._warnings.warn(warning, "call '%s': %s", short_id(call_id), warning, extra=about(call_id))
        return structs.replace(result, warning="; ".join(filter(None, (result.warning, warning))))

    def _allows(self, address: str) -> bool:
        ip = ipaddress.ip_address(address)
        listed = self._table.resources.settings.dtmf_address
        return ip.is_loopback or any(ip == ipaddress.ip_address(each) for each in listed)
