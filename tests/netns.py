"""Network namespaces for tests, which are skipped where there can be none (tools.harness.namespaces)."""

import contextlib
import subprocess
from collections.abc import Iterator

import pytest

from tests.kernel_support import skip_or_fail
from tools.harness import namespaces as harness
from tools.harness.namespaces import Namespace


@contextlib.contextmanager
def namespaces(count: int) -> Iterator[list[Namespace]]:
    """`count` new namespaces for the block; the test is skipped where that is not possible."""
    needs_namespaces()
    with harness.namespaces(count) as made:
        yield made


def needs_namespaces() -> None:
    """The test is skipped where there can be no network namespaces."""
    if reason := harness.missing():
        skip_or_fail(reason)


def needs_link_kind(namespace: Namespace, command: str, kind: str) -> None:
    """Run `command`, which makes a link of `kind`; the test is skipped if this kernel does not have it."""
    words = ["ip", "netns", "exec", namespace.name, *command.split()]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if "Unknown device type" in done.stderr or "Operation not supported" in done.stderr:
        pytest.skip(f"this kernel has no links of kind {kind}")
    assert done.returncode == 0, f"{command}: {done.stderr.strip()}"
