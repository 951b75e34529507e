"""What the tests with a real browser have in common."""

import shutil
from collections.abc import Iterator

import pytest

from tools.harness.web_phone import PhonePage, phones_in_chromium, phones_in_firefox


@pytest.fixture(scope="session")
def chromium() -> Iterator[PhonePage]:
    """A page of Chromium, with phones."""
    with phones_in_chromium(shutil.which("chromium") or "") as page:
        yield page


@pytest.fixture(scope="session")
def firefox() -> Iterator[PhonePage]:
    """A page of Firefox, with phones."""
    with phones_in_firefox(shutil.which("firefox-esr") or "") as page:
        yield page


@pytest.fixture(
    scope="session",
    params=[
        pytest.param("chromium", marks=pytest.mark.chromium),
        pytest.param("firefox", marks=pytest.mark.firefox),
    ],
)
def tab(request: pytest.FixtureRequest) -> PhonePage:
    """A page of each browser in turn, with phones."""
    page: PhonePage = request.getfixturevalue(request.param)
    return page
