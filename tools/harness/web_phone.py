"""Phones in a real browser: WebRTC with a microphone and a camera that the browser makes up.

A test signals in their place: it takes the SDP of one end, and gives it to the other.
"""

import contextlib
import http.server
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol, Self

from tools.harness.browser import running_browser
from tools.harness.firefox import running_firefox

CONNECT_S: Final = 60.0
"""How long a phone may take to connect, and to receive; a busy host draws without a graphics card."""

CHROMIUM: Final = (
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--allow-loopback-in-peer-connection",
    "--autoplay-policy=no-user-gesture-required",
    "--disable-quic",
    "--disable-sync",
    "--disable-features=WebRtcHideLocalIpsWithMdns",
)
"""Options of the command line."""

FIREFOX: Final[Mapping[str, bool | int | str]] = {
    "media.autoplay.blocking_policy": 0,
    "media.autoplay.default": 0,
    "media.navigator.permission.disabled": True,
    "media.navigator.streams.fake": True,
    "media.peerconnection.ice.loopback": True,
    "media.peerconnection.ice.obfuscate_host_addresses": False,
    # without these permissions it tells the addresses of its default route alone, whatever it captures
    "permissions.default.camera": 1,
    "permissions.default.microphone": 1,
}
"""Preferences."""

_SCRIPT: Final = Path(__file__).with_suffix(".js")
_PAGE: Final = b"<!doctype html><meta charset=utf-8><title>phones</title><script src=/script></script>"


class PhonePage(Protocol):
    """A page with the phones of web_phone.js, in any browser."""

    def value(self, expression: str) -> Any:
        """The value of an expression of JavaScript in the page."""


class Received(NamedTuple):
    """What a phone has got of one kind of media.

    Attributes:
        packets: of RTP.
        lost: packets that did not come, by their sequence numbers.
        frames: of video, decoded.
        samples: of audio, made from packets and not concealed.
        ssrc: of the stream.
    """

    packets: int
    lost: int
    frames: int
    samples: int
    ssrc: int


class WebPhone:
    """One phone of a browser.

    Args:
        tab: of phones_in_chromium() or phones_in_firefox().
        kinds: of media: audio, video.
        bundle_policy: of RTCPeerConnection: balanced, max-bundle, max-compat.
    """

    def __init__(
        self, tab: PhonePage, kinds: Sequence[str] = ("audio",), *, bundle_policy: str = "balanced"
    ) -> None:
        self._tab = tab
        self._kinds = list(kinds)
        self._name = self._call("newPhone", list(kinds), {"bundlePolicy": bundle_policy}, of=None)

    def offer(self, kinds: Sequence[str] = (), *, ice_restart: bool = False) -> str:
        """Its offer, with all candidates.

        Args:
            kinds: of media that it sends from now on; () for all that it has.
            ice_restart: whether it chooses its path anew.
        """
        return str(self._call("offer", list(kinds) or self._kinds, {"iceRestart": ice_restart}))

    def answer(self, offer: str) -> str:
        """Its answer to an offer, with all candidates and all of its media that are offered."""
        return str(self._call("answer", self._kinds, offer))

    def accept(self, answer: str) -> None:
        """Take the answer to its offer."""
        self._call("accept", answer)

    def stop(self, kind: str) -> None:
        """End one kind of media; its next offer says so."""
        self._call("stop", kind)

    def statistics(self) -> dict[str, Any]:
        """What the browser knows of its connection; see getStatistics() in web_phone.js."""
        found: dict[str, Any] = self._call("getStatistics")
        return found

    def received(self, kind: str) -> Received:
        """What it has got of one kind of media."""
        found = [each for each in self.statistics()["received"] if each["kind"] == kind]
        return Received(
            sum(each["packetsReceived"] for each in found),
            sum(each["packetsLost"] for each in found),
            sum(each.get("framesDecoded", 0) for each in found),
            sum(each.get("totalSamplesReceived", 0) - each.get("concealedSamples", 0) for each in found),
            max((each["ssrc"] for each in found), default=0),
        )

    def hears(self) -> bool:
        """Whether it has played speech."""
        return self.received("audio").samples > 0

    def sees(self) -> bool:
        """Whether it has shown a picture."""
        return self.received("video").frames > 0

    def states(self) -> list[str]:
        """The states of ICE and of the connection, in their order."""
        return list(self.statistics()["states"])

    def hang_up(self) -> None:
        """End the connection."""
        self._call("hangUp")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.hang_up()

    def _call(self, function: str, *arguments: object, of: str | None = "") -> Any:
        named = arguments if of is None else (self._name, *arguments)
        return self._tab.value(f"{function}({', '.join(map(json.dumps, named))})")


@contextlib.contextmanager
def phones_in_chromium(program: str) -> Iterator[PhonePage]:
    """A tab of a Chromium of its own, for phones."""
    with _served_page() as url, running_browser(program, *CHROMIUM) as tab:
        tab.open(url)
        tab.wait_for("typeof newPhone === 'function'")
        yield tab


@contextlib.contextmanager
def phones_in_firefox(program: str) -> Iterator[PhonePage]:
    """A tab of a Firefox of its own, for phones."""
    with _served_page() as url, running_firefox(program, FIREFOX) as tab:
        tab.open(url)
        yield tab


@contextlib.contextmanager
def _served_page() -> Iterator[str]:
    """The address of the page; a browser gives microphones to secure contexts alone, and loopback is one."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Page)
    serving = threading.Thread(target=server.serve_forever, name="page of the phones")
    serving.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


class _Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        """The page, or its script."""
        body, kind = (
            (_SCRIPT.read_bytes(), "text/javascript") if self.path == "/script" else (_PAGE, "text/html")
        )
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Requests are no news."""
