"""nh.supervisor.kernel: the path in the kernel where the system has no room for it at the moment."""

import errno
import os
from typing import cast

import pytest

from nh.config import Settings
from nh.config.table import KernelMode
from nh.errors import KernelPathUnavailable
from nh.loop import SelectorLoop
from nh.stats.layout import SupervisorStats
from nh.supervisor import kernel
from nh.supervisor.kernel import start_kernel_service
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


def start(*orphans: OrphanClient) -> tuple[object, str]:
    loop = SelectorLoop()
    try:
        return start_kernel_service(loop, SETTINGS, 1, stats=SupervisorStats(), orphans=orphans)
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
