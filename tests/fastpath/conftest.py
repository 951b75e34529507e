"""Namespaces and a loop for the tests of the kernel path."""

from collections.abc import Iterator

import pytest

from nh.loop import SelectorLoop
from tests.netns import Namespace, namespaces


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    """A network namespace that the test is in."""
    with namespaces(1) as (only,), only.entered():
        yield only


@pytest.fixture
def loop() -> Iterator[SelectorLoop]:
    a_loop = SelectorLoop()
    yield a_loop
    a_loop.close()
