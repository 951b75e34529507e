"""Core dumps of nh have no key of a call in them."""

import resource
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from tools.harness.relay import running_relay

CORE_PATTERN = Path("/proc/sys/kernel/core_pattern")

DIE = """
import os, resource, sys
if sys.argv[2] == "nh":
    from nh.supervisor.host.core_dumps import keep_memory_out_of_core_dumps
    keep_memory_out_of_core_dumps()
    assert resource.getrlimit(resource.RLIMIT_CORE)[0] == 0
# as a collector behind a pipe, which no limit holds
resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)
os.chdir(sys.argv[1])
key = bytes.fromhex(sys.stdin.read())
if os.fork() == 0:
    os.abort()
os.wait()
"""


def dump(directory: Path, key: bytes, how: str) -> bytes:
    """The core dump of a process that was forked with a key in its memory; b"": there is none."""
    directory.mkdir()
    subprocess.run(
        [sys.executable, "-c", DIE, str(directory), how], input=key.hex(), text=True, check=True, timeout=60
    )
    return b"".join(each.read_bytes() for each in directory.glob("core*"))


@pytest.mark.skipif(
    not CORE_PATTERN.read_text().startswith("core") or not resource.getrlimit(resource.RLIMIT_CORE)[1],
    reason="core dumps of this host go elsewhere",
)
def test_a_dump_of_a_process_that_nh_started_has_no_key_in_it(tmp_path: Path) -> None:
    key = secrets.token_bytes(30)
    assert key in dump(tmp_path / "plain", key, "plain")
    without = dump(tmp_path / "nh", key, "nh")
    assert b"ELF" in without[:4]
    assert key not in without


def test_all_processes_of_a_relay_keep_their_memory_out_of_dumps() -> None:
    with running_relay(shards=1) as relay:
        pids = [relay.program.pid, *[each.pid for each in relay.shard_processes()]]
        assert len(pids) == 2
        for pid in pids:
            assert int(Path(f"/proc/{pid}/coredump_filter").read_text(), 16) == 0
            limits = Path(f"/proc/{pid}/limits").read_text()
            assert "Max core file size        0" in limits
