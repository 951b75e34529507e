"""Perl's side of the NAT helper: the client class under our command, and the stock server."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tools.harness.closing import Closing

CLIENT = Path(__file__).parent / "perl" / "client.pl"


class HelperDied(AssertionError):
    """Net::SIP::NATHelper::Client died, as it does on a connection that closes without a reply."""


class PerlHelperClient(Closing):
    """An unmodified Net::SIP::NATHelper::Client in a Perl process.

    Args:
        address: HOST:PORT, or the path of a Unix socket.
        wrapped_in: a command that runs it, such as setpriv.

    Values are Perl's: lists, numbers, strings (a character below U+0100 for each byte), None for undef.
    """

    def __init__(self, address: str, *, wrapped_in: Sequence[str] = ()) -> None:
        self._process = subprocess.Popen(
            [*wrapped_in, "perl", str(CLIENT), address], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def allocate(self, nat_basic: list[Any], side: int, sdp: str, address: str = "127.0.0.1") -> Any:
        """`allocate_sockets` with the media that Net::SIP reads in `sdp`."""
        return self._call("allocate_sockets", nat_basic=nat_basic, side=side, address=address, sdp=sdp)

    def activate(self, nat_basic: list[Any], param: Mapping[str, str] | None = None) -> Any:
        """`activate_session`."""
        return self._call("activate_session", nat_basic=nat_basic, param=param)

    def close_session(self, nat_basic: list[Any]) -> Any:
        """`close_session`."""
        return self._call("close_session", nat_basic=nat_basic)

    def rpc(self, *arguments: Any) -> Any:
        """Any command with any arguments."""
        return self._call("rpc", arguments=arguments)

    def _call(self, call: str, **order: object) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        line = json.dumps({"call": call, **order}) + "\n"
        self._process.stdin.write(line.encode())
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, f"client.pl ended on {line[:200]}"
        outcome = json.loads(answer.decode("latin-1"))
        if "died" in outcome:
            raise HelperDied(outcome["died"])
        return outcome["value"]

    def close(self) -> None:
        """End the Perl process."""
        self._process.communicate()
