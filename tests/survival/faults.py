"""What calls outlive: each fault happens to a deployment, whose relay then serves again."""

from typing import Final

from tests.ng.client import NgClient
from tests.profiles import quick_first
from tools.harness.command import nh_ok
from tools.harness.deployment import Deployment
from tools.harness.relay import kill_those_that_run


def kill_shards(deployment: Deployment) -> None:
    kill_those_that_run(deployment.relay.shard_processes())


def upgrade(deployment: Deployment) -> None:
    nh_ok(deployment.place, "upgrade")


def take_over(deployment: Deployment) -> None:
    deployment.start("--takeover")


def kill_supervisor(deployment: Deployment) -> None:
    deployment.kill_supervisor()
    deployment.start()


def kill_everything(deployment: Deployment) -> None:
    """As a power cut: the calls come back from the store."""
    deployment.kill_everything()
    deployment.start()


EACH_FAULT: Final = quick_first([kill_shards, upgrade, take_over, kill_supervisor, kill_everything])
"""For pytest.mark.parametrize: a call with all that it has outlives each of them."""


def ng_client(deployment: Deployment) -> NgClient:
    """A client of the run that serves now."""
    line = deployment.relay.program.wait_for_line("ready: ")
    host, port = line.split("; ng ")[1].split(";")[0].rsplit(":", 1)
    return NgClient((host, int(port)))
