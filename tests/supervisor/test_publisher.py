"""nh.supervisor.publisher: until when a supervisor publishes its statistics."""

from types import SimpleNamespace
from typing import Any

import pytest

from nh.stats import SupervisorStats
from nh.supervisor import publisher
from nh.supervisor.publisher import PUBLISH_S, Publisher
from tests.supervisor.manual_loop import ManualLoop


def test_a_supervisor_that_hands_over_publishes_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """The segment is the next one's."""
    published: list[SupervisorStats] = []
    monkeypatch.setattr(publisher, "SupervisorWriter", lambda _: SimpleNamespace(publish=published.append))
    loop = ManualLoop()
    segment: Any = SimpleNamespace(removed=False)
    publishes = Publisher(loop, segment, SupervisorStats(), lambda: None)
    loop.advance(2 * PUBLISH_S)
    publishes.publish()
    assert len(published) == 4
    publishes.stop()
    publishes.publish()
    loop.advance(2 * PUBLISH_S)
    assert len(published) == 4
