"""What the tests with a real browser have in common."""

import shutil
from collections.abc import Iterator

import pytest

from tools.harness.browser import Tab
from tools.harness.web_phone import running_web_phones


@pytest.fixture(scope="session")
def tab() -> Iterator[Tab]:
    """A page of a browser, with phones."""
    with running_web_phones(shutil.which("chromium") or "") as tab:
        yield tab
