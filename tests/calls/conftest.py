import pytest

from tests.calls.fakes import FakePlane, Proxy, make_proxy
from tests.calls.ng_proxy import NgProxy, make_ng_proxy


@pytest.fixture
def plane() -> FakePlane:
    return FakePlane()


@pytest.fixture
def proxy() -> Proxy:
    return make_proxy()


@pytest.fixture
def ng() -> NgProxy:
    return make_ng_proxy()
