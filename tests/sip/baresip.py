"""baresip, a SIP phone of Debian with SRTP: it calls and answers, sends a tone, and says what it hears."""

import contextlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tools.harness.own_directory import own_directory
from tools.harness.ports import claim_ports
from tools.harness.program import Program
from tools.harness.waiting import eventually

ADDRESS: Final = "127.0.0.1"

_PORTS: Final = 6
"""SIP and, at the next port, SIP over TLS; the control port; RTP and RTCP."""

_MODULES: Final = ("g711", "ausine", "aufile", "srtp", "dtls_srtp", "ice")
_APPLICATIONS: Final = ("account", "menu")
_RATES: Final = re.compile(r"audio=(\d+)/(\d+) \(bit/s\)")


def modules() -> Path | None:
    """Where baresip's modules are; None: baresip is not installed."""
    if shutil.which("baresip") is None:
        return None
    return next((path.parent for path in Path("/usr/lib").glob("**/baresip/modules/srtp.so")), None)


class Baresip:
    """A running phone.

    Args:
        program: its process.
        port: of its SIP.
    """

    def __init__(self, program: Program, port: int) -> None:
        self._program = program
        self.uri = f"sip:phone@{ADDRESS}:{port}"

    def hears(self) -> bool:
        """Whether it has got voice that it could decrypt and decode; it shows the rate of each second."""
        return any(int(received) > 0 for _, received in _RATES.findall(self._program.output))

    @property
    def output(self) -> str:
        """What it says."""
        return self._program.output


@contextlib.contextmanager
def running_baresip(
    *, media: str = "", outbound: tuple[str, int] | None = None, dial: str = ""
) -> Iterator[Baresip]:
    """A phone that answers by itself, and ends behind the context.

    Args:
        media: its media encryption, as baresip calls it, such as srtp-mand; "": plain RTP.
        outbound: the proxy that its requests go to; None: straight to whom they are for.
        dial: whom it calls as soon as it is up; "": it waits for calls.
    """
    installed = modules()
    program = shutil.which("baresip")
    assert installed is not None
    assert program is not None
    with claim_ports(_PORTS) as ports, own_directory() as directory:
        sip, rtp = ports[0], next(port for port in ports[2:] if port % 2 == 0)
        lines = [
            f"sip_listen {ADDRESS}:{sip}",
            f"net_interface {ADDRESS}",
            "audio_source ausine,440",
            f"audio_player aufile,{directory}/heard.wav",
            f"audio_alert aufile,{directory}/alert.wav",
            "ausrc_srate 48000",  # the only one of the tone, and so are two channels
            "ausrc_channels 2",
            f"rtp_ports {rtp}-{rtp + 2}",
            f"module_path {installed}",
            *(f"module {name}.so" for name in _MODULES),
            *(f"module_app {name}.so" for name in _APPLICATIONS),
        ]
        (directory / "config").write_text("".join(f"{line}\n" for line in lines))
        account = [f"<sip:phone@{ADDRESS}:{sip}>", "regint=0", "answermode=auto", "audio_codecs=PCMA"]
        if media:
            account.append(f"mediaenc={media}")
        if outbound is not None:
            account.append('outbound="sip:{}:{}"'.format(*outbound))
        (directory / "accounts").write_text(";".join(account) + "\n")
        arguments = [program, "-4", "-f", str(directory)]
        if dial:
            arguments += ["-e", f"/dial {dial}"]
        with Program(arguments) as running:
            eventually(lambda: "baresip is ready" in running.output, "baresip is ready")
            yield Baresip(running, sip)
