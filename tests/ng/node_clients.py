"""The clients of ng for Node.js, rtpengine-client and @jambonz/rtpengine-utils, as a test drives them."""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE, Popen
from typing import IO, Any

ROOT = Path(__file__).parents[2]
MODULES = ROOT / ".node" / "node_modules"
"""Where `make node` installs them."""

PROGRAM = Path(__file__).parent / "node" / "clients.js"


def node_clients_are_installed() -> bool:
    """Whether Node.js is there, and what the tests need of it."""
    names = ("@jambonz/rtpengine-utils", "rtpengine-client", "hep-js")
    return shutil.which("node") is not None and all((MODULES / name).is_dir() for name in names)


class NodeClients:
    """All clients of one relay, in one process.

    Args:
        requests, replies: the process's standard input and output.
    """

    def __init__(self, requests: IO[str], replies: IO[str]) -> None:
        self._requests = requests
        self._replies = replies

    def ask(self, client: str, method: str, **options: object) -> Any:
        """The reply to a request.

        Args:
            client: udp, tcp or jambonz.
            method: of the client.
            options: of the request; `_` in a name stands for the hyphen.
        """
        named = {name.replace("_", "-"): value for name, value in options.items()}
        self._requests.write(json.dumps({"client": client, "method": method, "options": named}) + "\n")
        self._requests.flush()
        line = self._replies.readline()
        assert line, "the clients' process ended; what it said is on standard error"
        return json.loads(line)


@contextlib.contextmanager
def running_node_clients(address: tuple[str, int]) -> Iterator[NodeClients]:
    """The clients of the relay at `address`, until the test is over."""
    arguments = ["node", str(PROGRAM), address[0], str(address[1])]
    environment = {**os.environ, "NODE_PATH": str(MODULES)}
    with Popen(arguments, stdin=PIPE, stdout=PIPE, text=True, env=environment) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield NodeClients(process.stdin, process.stdout)
        process.stdin.close()  # it ends with its standard input
        assert process.wait(timeout=10) == 0
