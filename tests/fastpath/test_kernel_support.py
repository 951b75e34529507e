"""tests.kernel_support: a test is skipped for a proved reason only."""

import errno
from collections.abc import Iterator

import pytest

from tests import kernel_support
from tests.kernel_support import SWITCH, proved_obstacle, skip_or_fail


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """What was found out of this host."""
    proved_obstacle.cache_clear()
    yield
    proved_obstacle.cache_clear()


def test_a_kernel_that_refuses_every_program_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(kernel_support, "load_trivial_program", refuse)
    assert "CAP_BPF and CAP_NET_ADMIN" in proved_obstacle()


def test_an_old_kernel_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.release", lambda: "5.4.0-150-generic")
    assert proved_obstacle() == "needs Linux 5.10, this is 5.4.0-150-generic"


@pytest.mark.kernel
def test_here_there_is_none() -> None:
    assert proved_obstacle() == ""


@pytest.mark.parametrize(
    ("switch", "outcome"), [("", pytest.skip.Exception), ("require", pytest.fail.Exception)]
)
def test_a_reason_to_skip_is_a_failure_where_the_tests_have_to_run(
    monkeypatch: pytest.MonkeyPatch, switch: str, outcome: type[BaseException]
) -> None:
    monkeypatch.setenv(SWITCH, switch)
    with pytest.raises(outcome):
        skip_or_fail("needs what is not there")
