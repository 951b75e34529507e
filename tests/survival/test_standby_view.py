"""What an operator sees of a standby: whose calls it has, and what keeps it from taking them over."""

import contextlib
import json
import re
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from nh.errors import StatsUnavailable
from tools.harness.call import RelayedCall
from tools.harness.command import nh
from tools.harness.deployment import Deployment
from tools.harness.ports import free_port
from tools.harness.relay import place_for_relay
from tools.harness.valkey_server import ValkeyServer, valkey_server
from tools.harness.waiting import eventually

pytestmark = pytest.mark.valkey

USER, PASSWORD = "standby", "open-sesame"
WAIT_S = 60.0


class Scene(NamedTuple):
    """A relay `active` with a call, and the server that has its calls, encrypted."""

    server: ValkeyServer
    directory: Path
    active: Deployment

    @contextlib.contextmanager
    def standby(self, key: str, **settings: object) -> Iterator[Deployment]:
        """A standby of it, with another key or the same."""
        self.set_password(PASSWORD)
        (self.directory / "password").touch(0o600)
        (self.directory / "password").write_text(f"{PASSWORD}\n")
        state = f"valkey://{USER}@{self.location}&password_file={self.directory}/password"
        with deployment(self, key, standby=True, state=state, **settings) as standby:
            standby.launch()
            yield standby

    def set_password(self, password: str) -> None:
        """Change the password of the standbys at the server, which ends their connections."""
        client = self.server.client(password=PASSWORD)
        rules = ["reset", "on", f">{password}", "~*", "+@all"]
        client.execute_command("ACL", "SETUSER", USER, *rules)
        client.execute_command("CLIENT", "KILL", "USER", USER)

    @property
    def location(self) -> str:
        return f"{self.server.host}:{self.server.port}/0?prefix=pair-1"

    @property
    def holder(self) -> str:
        return f"{socket.gethostname()}:{self.active.place.directory}"


@contextlib.contextmanager
def deployment(scene: Scene, key: str, **settings: object) -> Iterator[Deployment]:
    path = scene.directory / f"{key}.key"
    path.write_text(key * 32)
    path.chmod(0o600)
    with place_for_relay() as place:
        made = Deployment(place, {"state_key_file": path, **settings}, shards=1)
        with contextlib.closing(made):
            yield made


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    directory = tmp_path_factory.mktemp("scene")
    with valkey_server({"requirepass": PASSWORD}) as server:
        scene = Scene(server, directory, None)  # type: ignore[arg-type]  # which needs it
        state = f"valkey://:{PASSWORD}@{scene.location}"
        with deployment(scene, "a", state=state, silent_s=3600) as active:  # its call has no media
            active.start()
            with RelayedCall(active.address, b"call"):
                yield scene._replace(active=active)


def group(standby: Deployment) -> dict[str, Any]:
    """What the statistics say of the group."""
    with contextlib.suppress(StatsUnavailable):  # it has not begun
        supervisor: Any = standby.stats().to_builtins()["supervisor"]
        if found := supervisor["standby_groups"]:
            return dict(found[0])
    return {"calls": 0, "ready": 0, "fault": ""}


def until_faulty(standby: Deployment, why: str) -> str:
    """What it says is wrong, once that contains `why`; before, it may say that a connection was lost."""

    def fault() -> str:
        found = str(group(standby)["fault"])
        return found if why in found else ""

    return eventually(fault, f"it says: {why}", WAIT_S, details=lambda: f"{group(standby)}")


def until_ready(standby: Deployment) -> dict[str, Any]:
    eventually(lambda: group(standby)["ready"], "it could take over", WAIT_S, details=standby.last_output)
    return group(standby)


def readiness(http: str) -> tuple[int, dict[str, Any]] | None:
    """Status and reply of /readyz; None: it is not served yet."""
    try:
        with urllib.request.urlopen(f"http://{http}/readyz", timeout=5) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code, json.load(exc)
    except OSError:
        return None


def says(standby: Deployment, command: str, *words: str) -> str:
    """What a command that fails says."""
    result = nh(standby.place, command, *words)
    assert result.exit_code == 1, result.output
    return result.output


def test_a_standby_says_whose_calls_it_has_wherever_an_operator_looks(scene: Scene) -> None:
    http = f"127.0.0.1:{free_port()}"
    with scene.standby("a", http=http) as standby:
        found = until_ready(standby)
        assert (found["group"], found["holder"], found["calls"]) == ("pair-1", scene.holder, 1)
        said = says(standby, "health")
        assert said.startswith("nh is a standby for pair-1 since 2")
        assert re.search(r": 1 call warm, lag \d\.\d s$", said.rstrip()), said
        health = json.loads(says(standby, "health", "--json"))
        assert health["standby_groups"][0]["holder"] == scene.holder
        assert health["standby_since"] > 0
        assert nh(standby.place, "health", "--alive").exit_code == 0
        assert f"ask the relay that has the calls: {scene.holder}" in says(standby, "calls")
        picture = nh(standby.place, "stats", "--once").output
        assert "standby for " in picture
        assert "calls of  warm" in picture
        ready = eventually(lambda: readiness(http), "HTTP answers", WAIT_S, details=standby.last_output)
        assert ready is not None
        status, reply = ready
        assert (status, reply["why"][:34]) == (503, "nh is a standby for pair-1 since 2")


def test_a_standby_with_another_key_is_not_ready_and_the_calls_are_left_to_others(scene: Scene) -> None:
    with scene.standby("b") as standby:
        until_faulty(standby, "its calls are encrypted with another key")
        assert group(standby)["ready"] == 0
        standby.relay.program.wait_for_line("this relay cannot take its calls over", timeout_s=WAIT_S)
        assert "encrypted with another key" in says(standby, "health")
        assert "encrypted with another key" in nh(standby.place, "stats", "--once").output
        assert "encrypted with another key" in says(standby, "promote")
        assert "encrypted with another key" in says(standby, "promote", "--force")


def test_a_standby_that_the_server_refuses_says_so_until_the_password_is_right(scene: Scene) -> None:
    with scene.standby("a") as standby:
        until_ready(standby)
        scene.set_password("changed")
        fault = until_faulty(standby, "the server refuses user and password")
        assert PASSWORD not in fault
        assert fault in says(standby, "health")
        (scene.directory / "password").write_text("changed\n")
        assert until_ready(standby)["fault"] == ""
