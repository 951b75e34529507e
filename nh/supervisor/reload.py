"""Reload: settings that change while nh runs, the levels of the log, and files of records that were moved.

The settings are read again from their sources. What can change at run time takes effect; the names of all
others are reported, because `nh upgrade` brings them into force without the end of a call.
"""

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from nh.calls.settings import RelaySettings
from nh.config import Settings
from nh.config.sources import ENVIRONMENT, LoadedSettings
from nh.errors import ConfigError, Refused
from nh.ipc.link_messages import Reconfigure
from nh.logs.lines import configure_logging
from nh.logs.settings import AREAS, LogLevel
from nh.paths import real_path
from nh.results import LogState, Reloaded
from nh.supervisor.host.fd_limits import holdable_sockets
from nh.supervisor.host.port_slices import limits_share
from nh.supervisor.runtime import Runtime
from nh.supervisor.settings_in_force import RUN_TIME
from nh.supervisor.shards.fd_budget import FdBudget
from nh.supervisor.shards.slot import ShardSlot
from nh.supervisor.shards.watchdog import Watchdog

logger = logging.getLogger(__name__)

RETRY_S: Final = 0.5
"""After so long the settings are sent again to a shard that did not read."""

CHANGEABLE: Final = frozenset(
    {
        *RelaySettings.__struct_fields__,
        *("log_level", "log_areas", "log_format"),
        *("hang_s", "idle_client_s", "max_clients"),
    }
)
"""The settings that can change at run time."""

NEEDS_RESTART: Final = frozenset({"runtime_dir"})
"""The settings that no upgrade changes: the next supervisor finds the calls by them."""


class Reloader:
    """Changes the settings of a running nh.

    Args:
        runtime: the host's resources, with the settings of the start. RPC has limits of its own, HTTP logs,
            too, and records open their files anew at each reload, as logrotate wants it.
        slots: the shards.
        budget: of the sockets that the supervisor holds; what clients leave of its descriptors.
        watchdog: has a limit of its own.
        reread: reads the settings from their sources again; raises ConfigError.
    """

    def __init__(
        self,
        runtime: Runtime,
        slots: Sequence[ShardSlot],
        *,
        budget: FdBudget,
        watchdog: Watchdog,
        reread: Callable[[], LoadedSettings],
    ) -> None:
        self._runtime = runtime
        self._settings = runtime.settings
        self._slots = slots
        self._budget = budget
        self._watchdog = watchdog
        self._reread = reread
        for slot in slots:
            slot.events.up.append(self._send)  # it may have been started with the settings before

    def reload(self) -> Reloaded:
        """Read the settings again, and apply what can change.

        Raises:
            Refused: a setting cannot be used; all settings stay as they are.
        """
        if self._runtime.records is not None:
            self._runtime.records.reopen()
        try:
            loaded = self._reread()
        except ConfigError as exc:
            logger.error("reload: %s; all settings stay as they are", exc)
            raise Refused(f"{exc}; all settings stay as they are") from exc
        new, origins = loaded.settings, loaded.origins
        differ = [
            name for name in Settings.__struct_fields__ if getattr(new, name) != getattr(self._settings, name)
        ]
        applied = tuple(name for name in differ if name in CHANGEABLE)
        waiting = tuple(name for name in differ if name not in CHANGEABLE | NEEDS_RESTART)
        restart = tuple(name for name in differ if name in NEEDS_RESTART)
        self._apply(
            {name: getattr(new, name) for name in applied}, {name: origins.get(name) for name in applied}
        )
        # the environment and the flags of a process stay: what can be without effect anew is in the file
        in_vain = {
            name: origins[name]
            for name, others in loaded.without_effect.items()
            if any(other != ENVIRONMENT for other in others)
        }
        reloaded = Reloaded(applied, waiting, restart, in_vain)
        logger.info("reload: %s", "; ".join(reloaded.lines()))
        return reloaded

    def why_no_upgrade(self) -> str:
        """Why the next code could not go on with the settings as they are now; "" if nothing is known."""
        own = self._settings.runtime_path
        try:
            wanted = self._reread().settings.runtime_path
        except ConfigError:  # the installed code judges its settings
            return ""
        if real_path(wanted) == real_path(own):
            return ""
        return (
            f"runtime_dir: {wanted} is not {own}, where the next nh finds the calls; set it back, or end nh"
            " and start it again"
        )

    def set_log(self, level: LogLevel | None, area: str) -> LogState:
        """Change a level of the log until the next reload or start; None: change nothing.

        Args:
            level: the new level.
            area: the area; "": all areas, which then have no level of their own.

        Raises:
            Refused: there is no such area.
        """
        if area and area not in AREAS:
            raise Refused(f"the log has no area {area[:64]!r}; areas are {', '.join(AREAS)}")
        areas = self._settings.log.areas
        if level is not None:
            areas = areas | {area: level} if area else {}
            changed: dict[str, object] = {} if area else {"log_level": level}
            changed |= {"log_areas": tuple(f"{name}={each}" for name, each in areas.items())}
            self._apply(changed, dict.fromkeys(changed, RUN_TIME))
        return LogState(self._settings.log_level, areas)

    def _apply(self, values: Mapping[str, object], origins: Mapping[str, str | None]) -> None:
        if not values:
            return
        runtime = self._runtime
        self._settings = settings = msgspec.structs.replace(self._settings, **values)
        configure_logging(settings.log)
        runtime.http.change_log(settings.log)
        self._watchdog.hang_s = settings.hang_s
        runtime.rpc.change_limits(settings.idle_client_s, settings.max_clients)
        self._budget.resize(holdable_sockets(runtime.descriptors, settings, len(self._slots)))
        runtime.in_force.change(settings, origins)
        for slot in self._slots:
            slot.reconfigure(Reconfigure(limits_share(settings.relay, len(self._slots)), settings.log))
            self._send(slot)

    def _send(self, slot: ShardSlot) -> None:
        if not slot.send_settings():
            self._runtime.loop.call_later(RETRY_S, functools.partial(self._send, slot))
