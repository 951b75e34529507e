"""A real browser, Debian's Firefox without a window, driven over WebDriver BiDi."""

import contextlib
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from websockets.sync.client import ClientConnection, connect

from tools.harness.browser import REPLY_S, START_S
from tools.harness.own_directory import own_directory
from tools.harness.program import Program

QUIET: Final[Mapping[str, bool | int | str]] = {
    "app.normandy.enabled": False,
    "app.update.disabledForTesting": True,
    "browser.safebrowsing.downloads.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.page": 0,
    "datareporting.policy.dataSubmissionEnabled": False,
    "extensions.update.enabled": False,
    "media.gmp-manager.updateEnabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "network.proxy.type": 0,
    "services.settings.server": "data:,",
    "toolkit.telemetry.enabled": False,
}
"""Preferences with which it asks nothing of the Internet."""


class FirefoxTab:
    """A tab of Firefox.

    Args:
        connection: to the browser, which has no session yet.
    """

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._ids = itertools.count(1)
        self._call("session.new", capabilities={})
        self._context = self._call("browsingContext.getTree")["contexts"][0]["context"]

    def open(self, url: str) -> None:
        """Show a page; return when it has loaded."""
        self._call("browsingContext.navigate", context=self._context, url=url, wait="complete")

    def value(self, expression: str) -> Any:
        """The value of an expression of JavaScript in the page."""
        result = self._call(
            "script.evaluate",
            expression=f"(async () => JSON.stringify(await ({expression})) ?? 'null')()",
            target={"context": self._context},
            awaitPromise=True,
        )
        assert result["type"] == "success", result["exceptionDetails"]
        return json.loads(result["result"]["value"])

    def close(self) -> None:
        """End the browser."""
        self._call("browser.close")

    def _call(self, method: str, **parameters: object) -> dict[str, Any]:
        number = next(self._ids)
        self._connection.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message: dict[str, Any] = json.loads(self._connection.recv(REPLY_S))
            if message.get("id") == number:
                assert message["type"] == "success", message
                result: dict[str, Any] = message["result"]
                return result


@contextlib.contextmanager
def running_firefox(program: str, preferences: Mapping[str, bool | int | str]) -> Iterator[FirefoxTab]:
    """A tab of a Firefox of its own, which has ended behind the context.

    Args:
        program: Firefox.
        preferences: those beside QUIET.
    """
    with own_directory() as home:
        profile = home / "profile"
        profile.mkdir()
        _write_preferences(profile / "user.js", {**QUIET, **preferences})
        options = ("--headless", "--no-remote", "--remote-debugging-port", "0", "--profile", str(profile))
        with Program([program, *options], {"HOME": str(home), "MOZ_HEADLESS": "1"}) as browser:
            line = browser.wait_for_line("WebDriver BiDi listening on", timeout_s=START_S)
            found = re.search(r"ws://\S+", line)
            assert found
            with connect(
                f"{found[0]}/session", max_size=2**26, proxy=None, open_timeout=START_S, ping_interval=None
            ) as connection:
                tab = FirefoxTab(connection)
                yield tab
                with contextlib.suppress(Exception):  # it ends before it replies
                    tab.close()
                    browser.wait()


def _write_preferences(path: Path, preferences: Mapping[str, bool | int | str]) -> None:
    lines = (f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in preferences.items())
    path.write_text("".join(lines))
