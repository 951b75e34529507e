import pytest

from tests.calls.fakes import FakePlane, Proxy, make_proxy


@pytest.fixture
def plane() -> FakePlane:
    return FakePlane()


@pytest.fixture
def proxy() -> Proxy:
    return make_proxy()
