"""A real browser, Debian's Chromium without a window, driven over its debugging protocol."""

import base64
import contextlib
import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from tools.harness.own_directory import own_directory
from tools.harness.program import Program
from tools.harness.waiting import eventually

START_S = 120.0
REPLY_S = 120.0
"""A browser takes long on a busy host, and draws without a graphics card."""

HEIGHT = 900
"""Of each window, in pixels."""

OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--no-proxy-server",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)


class Tab:
    """A tab.

    Args:
        connection: to the browser.

    Attributes:
        problems: what its page reported: exceptions, errors on the console, what was refused.
    """

    def __init__(self, connection: ClientConnection) -> None:
        self.problems: list[str] = []
        self._connection = connection
        self._ids = itertools.count(1)
        self._session = ""
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self._call(f"{domain}.enable")

    def open(self, url: str, *, width: int = 1280, phone: bool = False) -> None:
        """Show a page in a window of this width, in pixels."""
        size = {"width": width, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": phone}
        self._call("Emulation.setDeviceMetricsOverride", **size)
        self._call("Page.navigate", url=url)

    def value(self, expression: str) -> Any:
        """The value of an expression of JavaScript in the page."""
        result = self._call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def wait_for(self, expression: str) -> Any:
        """Return the value of an expression when it is true; what it needs may not be there yet."""
        attempt = f"(() => {{ try {{ return {expression} }} catch {{ return false }} }})()"
        text = "document.body ? document.body.innerText : ''"
        return eventually(
            lambda: self.value(attempt), expression, START_S, poll_s=0.05, details=lambda: self.value(text)
        )

    def picture(self) -> bytes:
        """The whole page as PNG."""
        data = self._call("Page.captureScreenshot", format="png", captureBeyondViewport=True)["data"]
        return base64.b64decode(data)

    def _call(self, method: str, **parameters: object) -> dict[str, Any]:
        number = next(self._ids)
        request = {"id": number, "method": method, "params": parameters}
        if self._session:
            request["sessionId"] = self._session
        self._connection.send(json.dumps(request))
        while True:
            message: dict[str, Any] = json.loads(self._connection.recv(REPLY_S))
            if message.get("id") == number:
                assert "error" not in message, message["error"]
                result: dict[str, Any] = message["result"]
                return result
            self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        method, content = message.get("method", ""), message.get("params", {})
        serious = method == "Runtime.exceptionThrown" or (
            method == "Log.entryAdded" and content["entry"]["level"] == "error"
        )
        if serious:
            self.problems.append(json.dumps(content))


@contextlib.contextmanager
def running_browser(program: str, *options: str) -> Iterator[Tab]:
    """A tab of a browser of its own, which has ended behind the context.

    Args:
        program: Chromium.
        options: further ones of its command line.
    """
    with (
        own_directory() as profile,
        Program(
            [program, *OPTIONS, *options, f"--user-data-dir={profile}"], {"HOME": str(profile)}
        ) as browser,
    ):
        line = browser.wait_for_line("DevTools listening on", timeout_s=START_S)
        found = re.search(r"ws://\S+", line)
        assert found
        # no pings: their thread uses the random numbers of the process, which are those of property tests
        with connect(
            found[0], max_size=2**26, proxy=None, open_timeout=START_S, ping_interval=None
        ) as connection:
            yield Tab(connection)
            with contextlib.suppress(Exception):  # it ends before it replies
                connection.send(json.dumps({"id": 0, "method": "Browser.close"}))
                browser.wait()


def save(picture: bytes, directory: Path, name: str) -> None:
    """Keep a picture for people."""
    (directory / f"{name}.png").write_bytes(picture)
