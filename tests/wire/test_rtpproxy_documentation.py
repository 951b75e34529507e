"""docs/reference/rtpproxy.md has every command, counter, feature and error of the codec."""

from pathlib import Path

import pytest

from nh.wire.rtpproxy import replies, requests
from nh.wire.rtpproxy.errors import Error

DOCUMENT = (Path(__file__).parents[2] / "docs" / "reference" / "rtpproxy.md").read_text()
COMMANDS = DOCUMENT[DOCUMENT.index("## Commands") : DOCUMENT.index("### What is different")]
ERRORS = DOCUMENT[DOCUMENT.index("## Errors") :]


@pytest.mark.parametrize("name", sorted({*requests.REQUESTS, *requests.UNSUPPORTED}))
def test_every_command_is_listed(name: str) -> None:
    assert any(f"`{name}{end}" in COMMANDS for end in ("`", "[", " "))


@pytest.mark.parametrize("name", sorted({*replies.COUNTERS, *replies.STATISTICS, *replies.FEATURES}))
def test_every_counter_and_feature_is_listed(name: str) -> None:
    assert f"`{name}`" in DOCUMENT


@pytest.mark.parametrize("error", sorted(Error))
def test_every_error_is_listed(error: Error) -> None:
    assert f"`E{error.value}`" in ERRORS
