"""What nh says below its ready line in a terminal, and nowhere else."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

from nh.config import Settings
from nh.supervisor.ready import next_steps
from tools.harness.ports import claim_ports, min_max
from tools.harness.waiting import eventually


def test_commands_find_the_relay_and_have_the_name_under_which_it_was_started(tmp_path: Path) -> None:
    own = tmp_path / "nh"
    own.touch()
    settings = Settings(runtime_dir="/tmp/my relay", http=("127.0.0.1:8080",))
    assert next_steps(settings, [str(own)]) == [
        "In another terminal:",
        f"  {own} stats --runtime-dir '/tmp/my relay'  # live view",
        f"  {own} calls --runtime-dir '/tmp/my relay'  # the calls",
        f"  {own} load --runtime-dir '/tmp/my relay'  # relay test calls",
        "The live page: http://127.0.0.1:8080/",
        "Ctrl-C ends the relay.",
    ]
    lines = next_steps(Settings(), ["/lib/nh/__main__.py"])
    assert lines[1] == f"  {sys.executable} -m nh stats  # live view"


def test_a_terminal_shows_them_when_nh_is_ready(tmp_path: Path) -> None:
    shown, terminal = os.openpty()
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, shown)
        ports = min_max(stack.enter_context(claim_ports(40)))
        words = ["run", "--shards", "1", "--runtime-dir", str(tmp_path / "run"), "--ports", ports]
        command = [sys.executable, "-m", "nh", *words]
        relay = stack.enter_context(subprocess.Popen(command, stdout=terminal, stderr=terminal))
        stack.callback(relay.terminate)
        os.close(terminal)
        output = b""

        def complete() -> bool:
            nonlocal output
            output += os.read(shown, 4096)
            return b"Ctrl-C ends the relay." in output

        eventually(complete, "nh says how to go on")
        relay.terminate()
        assert relay.wait(30) == 0
    lines = output.decode().split("\r\n")
    (ready,) = [number for number, line in enumerate(lines) if line.startswith("ready: ")]
    assert lines[ready + 1] == "In another terminal:"
    assert lines[ready + 2].endswith(f"nh stats --runtime-dir {tmp_path}/run  # live view")
