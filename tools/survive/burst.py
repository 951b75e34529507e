"""Browsers that come at the same instant, as after a restart, beside plain calls that have media."""

import time
from typing import Final, NamedTuple

import msgspec

from tools.rtpload.report.values import Report
from tools.survive.background_load import background_load
from tools.survive.scenario import RelayUnderLoad, browser_load, load_options, wait_until_latched

BEFORE_S: Final = 3.0
"""How long plain calls have media before the browsers are set up, for comparison."""

SELDOM_MS: Final = 1000.0
"""Browsers hardly send, and have no video: it is their handshakes that are measured."""

AFTER_S: Final = 1.5
UP_S: Final = 120.0


class Burst(NamedTuple):
    """What came of it.

    Attributes:
        plain, browsers: the two loads.
        quiet: when plain calls were alone, from and to, monotonic nanoseconds.
        handshakes: when the first browser began, and when the last one had keys.
    """

    plain: Report
    browsers: Report
    quiet: tuple[int, int]
    handshakes: tuple[int, int]

    def longest_gap_ms(self, span: tuple[int, int]) -> float:
        """Longest gap of a plain stream that touches a span of time; 0: none was longer than two packets."""
        from_ns, to_ns = span
        gaps = [gap for stream in self.plain.streams if stream.media for gap in stream.gaps]
        lengths = [
            gap.length_ns for gap in gaps if gap.began_ns < to_ns and gap.began_ns + gap.length_ns > from_ns
        ]
        return max(lengths, default=0) / 1e6


def play_burst(relay: RelayUnderLoad, ng: str, suite: str, *, browsers: int, calls: int) -> Burst:
    """Let it happen.

    Args:
        relay: with ports for all calls.
        ng: its address, HOST:PORT.
        suite: what the browsers have keys for.
        browsers, calls: how many.
    """
    plain = load_options(relay.address, calls=calls)
    many = msgspec.structs.replace(
        browser_load(relay, ng, suite),
        calls=browsers,
        handshakes_at_once=True,
        list_streams=False,
        nice=0,
        packet_ms=SELDOM_MS,
        payload_bytes=160,
        video=False,
    )
    with background_load(plain) as load:
        wait_until_latched(relay, load, calls)
        quiet_ns = time.monotonic_ns()
        time.sleep(BEFORE_S)
        alone_ns = time.monotonic_ns()
        with background_load(many) as newcomers:
            newcomers.wait_until_up(UP_S)
            up_ns = time.monotonic_ns()
            time.sleep(AFTER_S)
            came = newcomers.stop()
        report = load.stop()
    took_ns = int(came.signalled.commands["handshake"].max_ms * 1e6)
    return Burst(report, came, (quiet_ns, alone_ns), (up_ns - took_ns, up_ns))
