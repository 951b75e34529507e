"""nh.supervisor.kernel: when the path in the kernel starts, and what of it is waited for."""

import errno
import os
from types import SimpleNamespace
from typing import cast

import pytest

from nh.config import Settings
from nh.config.table import KernelMode
from nh.errors import KernelPathUnavailable
from nh.fastpath.netlink.interfaces import NetworkInterface, OnChange
from nh.loop import SelectorLoop
from nh.stats.layout import SupervisorStats
from nh.supervisor import kernel
from nh.supervisor.kernel import KernelService, start_kernel_service
from nh.supervisor.orphans.client import OrphanClient

SETTINGS = Settings(kernel=KernelMode.AUTO)
ORPHAN = cast(OrphanClient, "an orphan")


@pytest.fixture
def refusals(monkeypatch: pytest.MonkeyPatch) -> list[Exception]:
    """What the system says to who wants the path in the kernel, the last one first; it has it then."""
    refusals: list[Exception] = [
        KernelPathUnavailable("loading the program: out of memory", errno=errno.ENOMEM),
        OSError(errno.ENFILE, os.strerror(errno.ENFILE)),
    ]

    def service(*_: object, **__: object) -> str:
        if refusals:
            raise refusals.pop()
        return "the path in the kernel"

    monkeypatch.setattr(kernel, "KernelService", service)
    monkeypatch.setattr(kernel, "_remove_leftovers", lambda _: None)
    return refusals


def start(*orphans: OrphanClient, settings: Settings = SETTINGS) -> tuple[object, str]:
    loop = SelectorLoop()
    try:
        return start_kernel_service(loop, settings, 1, stats=SupervisorStats(), orphans=orphans)
    finally:
        loop.close()


def test_a_shortage_that_passes_leaves_the_media_of_orphans_in_the_kernel(refusals: list[Exception]) -> None:
    assert start(ORPHAN) == ("the path in the kernel", "")
    assert not refusals


def test_a_shortage_that_lasts_is_told(monkeypatch: pytest.MonkeyPatch, refusals: list[Exception]) -> None:
    monkeypatch.setattr(kernel, "SHORT_S", 0.0)
    assert start(ORPHAN) == (None, os.strerror(errno.ENFILE))


def test_without_orphans_nothing_is_waited_for(refusals: list[Exception]) -> None:
    assert start() == (None, os.strerror(errno.ENFILE))


# --- interfaces -------------------------------------------------------------------------------------


class Host:
    """A host whose kernel loads the program.

    Args:
        interfaces: are up when nh starts.
        attachable: whether the kernel attaches the program to them.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, interfaces: int, attachable: bool) -> None:
        self.up = [NetworkInterface(number, f"eth{number}", 1500) for number in range(interfaces)]
        self.attached: list[NetworkInterface] = []
        self._attachable = attachable
        program = SimpleNamespace(program_fd=-1, close=lambda: None)
        attachments = SimpleNamespace(interfaces=self.attached, update=self._update, close=lambda: None)
        monkeypatch.setattr(kernel, "load", lambda *_: program)
        monkeypatch.setattr(kernel, "Attachments", lambda *_: attachments)
        monkeypatch.setattr(kernel, "InterfaceWatch", self._watch)
        monkeypatch.setattr(kernel, "_remove_leftovers", lambda _: None)

    def _update(self, came: list[NetworkInterface], _went: list[NetworkInterface]) -> None:
        self.attached += came if self._attachable else []

    def _watch(self, _loop: object, on_change: OnChange, _names: object) -> object:
        return SimpleNamespace(start=lambda: on_change(self.up, []) if self.up else None, close=lambda: None)


@pytest.mark.parametrize("mode", [KernelMode.AUTO, KernelMode.ON])
def test_a_host_that_attaches_the_program_to_no_interface_has_no_path(
    monkeypatch: pytest.MonkeyPatch, mode: KernelMode
) -> None:
    Host(monkeypatch, interfaces=2, attachable=False)
    why = "the program cannot be attached to any interface"
    if mode is KernelMode.ON:
        with pytest.raises(KernelPathUnavailable, match=why):
            start(settings=Settings(kernel=mode))
    else:
        assert start(settings=Settings(kernel=mode)) == (None, why)


@pytest.mark.parametrize("mode", [KernelMode.AUTO, KernelMode.ON])
def test_one_interface_is_enough(monkeypatch: pytest.MonkeyPatch, mode: KernelMode) -> None:
    Host(monkeypatch, interfaces=1, attachable=True)
    service, why = start(settings=Settings(kernel=mode))
    assert isinstance(service, KernelService)
    assert (service.interfaces, why) == (["eth0"], "")


def test_interfaces_that_are_not_up_yet_are_waited_for_unless_the_path_is_required(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Host(monkeypatch, interfaces=0, attachable=True)
    service, why = start()
    assert isinstance(service, KernelService)
    assert (service.interfaces, why) == ([], "")
    with pytest.raises(KernelPathUnavailable, match="no interface that is up has an address"):
        start(settings=Settings(kernel=KernelMode.ON))
