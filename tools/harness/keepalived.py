"""keepalived on a host, as docs/how-to/failover.md configures it."""

import contextlib
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import psutil

from tools.harness.hosts import VIRTUAL, Host
from tools.harness.program import Program

PAGE: Final = Path(__file__).parents[2] / "docs/how-to/failover.md"
ADDRESS: Final = "203.0.113.9/32"


class Instance(NamedTuple):
    """What differs between the relays of a pool: the address that moves, and as the page's table has it.

    Attributes:
        address: of the relay.
        prefix: of its store; "": it is no relay of a pool.
        router: the virtual_router_id.
    """

    address: str
    prefix: str = ""
    router: int = 51


class Keepalived(Program):
    """keepalived on a host.

    Args:
        host: where it runs.
        directory: for its files.
        instances: one for each address that the host may have.
    """

    def __init__(
        self, host: Host, directory: Path, instances: Sequence[Instance] = (Instance(VIRTUAL),)
    ) -> None:
        configuration = directory / f"keepalived-{host.number}.conf"
        configuration.write_text(configured(PAGE.read_text(), instances))
        # of their own: a host that starts again has none of before, whose numbers may be other processes' now
        pids = tempfile.mkdtemp(dir=directory)
        files = [word for flag in "pr" for word in (f"-{flag}", f"{pids}/{flag}.pid")]
        with host.namespace.entered():
            super().__init__(["keepalived", "-n", "-l", "-D", "-P", "-f", str(configuration), *files])

    def kill_all(self) -> None:
        """Kill all its processes, so that it can take nothing back."""
        for process in reversed(self.stop_all()):  # none is gone before its parent
            process.kill()
        self.wait()

    def stop_all(self) -> list[psutil.Process]:
        """Send SIGSTOP to all its processes."""
        parent = psutil.Process(self.pid)
        parent.suspend()
        stopped = [parent]
        for process in parent.children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):  # a script that has ended meanwhile
                process.suspend()
                stopped.append(process)
        return stopped


def configured(page: str, instances: Sequence[Instance]) -> str:
    """The configuration of the page, with the changes of the page's table for each relay of a pool."""
    [documented] = re.findall(r"^```\n(global_defs .*?)^```", page, re.MULTILINE | re.DOTALL)
    common, script, block = re.split(r"(?=^vrrp_)", documented, flags=re.MULTILINE)
    return common + "".join(_changed(script + block, each) for each in instances)


def _changed(text: str, instance: Instance) -> str:
    changes: Mapping[str, str] = {ADDRESS: f"{instance.address}/32"}
    if name := instance.prefix:
        changes = {
            ADDRESS: f"{instance.address}/32",
            "/readyz": f"/readyz?group={name}",
            "nh_is_ready": f"has_{name}",
            "vrrp_instance nh": f"vrrp_instance {name}",
            "virtual_router_id 51": f"virtual_router_id {instance.router}",
        }
    for before, after in changes.items():
        assert before in text, before
        text = text.replace(before, after)
    return text
