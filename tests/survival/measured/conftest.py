"""A relay that faults may strike, one at a time on a host, and a seed to repeat what they did."""

import contextlib
import fcntl
import os
import random
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tools.harness.deployment import Deployment
from tools.harness.ports import claim_ports
from tools.harness.relay import place_for_relay
from tools.survive.scenario import HANG_S, RELAY_NICE, kernel_settings

SEED = "NH_SURVIVE_SEED"
"""Environment variable: the seed of a run that shall be repeated, as its output has it."""

RUNS = int(os.environ.get("NH_SURVIVE_RUNS", "1"))
"""Environment variable: how often each fault strikes, each time with another seed."""

PORTS = 1700
"""Twice what 200 calls need: each shard has half of them, and call-ids are not dealt out evenly."""

WAITING_S = 900
"""For the turn of a test: those of another pytest-xdist worker are gone through one by one, too."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "run" in metafunc.fixturenames:
        metafunc.parametrize("run", range(RUNS))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # to compare the paths of 12,000 items took a twelfth of the time of their collection
    here = f"{Path(__file__).parent}{os.sep}"
    for item in items:
        if str(item.path).startswith(here):
            item.add_marker(pytest.mark.timeout(WAITING_S))
            item.add_marker(pytest.mark.slow)
            if item.path.name != "test_verdict.py":
                item.add_marker(pytest.mark.survive)


@pytest.fixture
def rng(run: int) -> random.Random:
    """All chance of a test; its seed is printed."""
    seed = int(os.environ.get(SEED, "0")) or secrets.randbits(32)
    print(f"{SEED}={seed + run}")
    return random.Random(seed + run)


@pytest.fixture
def alone() -> Iterator[None]:
    """One of these tests at a time on a host: 20,000 packets a second twice over would measure the host."""
    path = Path(tempfile.gettempdir()) / f"nh-test-survive-{os.getuid()}"
    lock = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


@pytest.fixture(params=["user-space", pytest.param("kernel", marks=pytest.mark.kernel)])
def relay(request: pytest.FixtureRequest, tmp_path: Path, alone: None) -> Iterator[Deployment]:
    """A relay with two shards, over either path; nothing of it is left behind the test."""
    with started_relay(tmp_path, kernel_settings(request.param == "kernel")) as deployment:
        yield deployment


@pytest.fixture
def secured_relay(tmp_path: Path, alone: None) -> Iterator[Deployment]:
    """The same for calls with SRTP on one side, which come over ng."""
    key = tmp_path / "key"
    key.write_text(secrets.token_hex(32))
    key.chmod(0o600)
    with claim_ports(1) as [port]:
        settings = {"ng": f"127.0.0.1:{port}", "address": "127.0.0.1", "state_key_file": key}
        with started_relay(tmp_path / "calls", settings) as deployment:
            yield deployment


@contextlib.contextmanager
def started_relay(state: Path, settings: Mapping[str, object]) -> Iterator[Deployment]:
    """A relay whose processes have ended behind the context.

    Args:
        state: its setting.
        settings: further ones.
    """
    settings = {"hang_s": HANG_S, "prefork": 1, "state": state, **settings}
    with place_for_relay(PORTS) as place:
        deployment = Deployment(place, settings, nice=RELAY_NICE)
        with contextlib.closing(deployment):
            deployment.start()
            yield deployment
