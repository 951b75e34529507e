"""Session descriptions as phones write and read them (RFC 8866): the parts that concern where media go."""

import dataclasses
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class MediaLine:
    """One `m=` line with the address of its `c=` line.

    Args:
        address, port: where its sender wants to receive; port 0 or 0.0.0.0: nowhere.
        kind, proto: media type and transport.
        ports: number of ports, `port/N`.
        attributes: `a=` lines, without the `a=`.
    """

    address: str
    port: int
    kind: str = "audio"
    proto: str = "RTP/AVP"
    ports: int = 1
    attributes: tuple[str, ...] = ()

    @property
    def target(self) -> tuple[str, int]:
        """Where to send to."""
        return self.address, self.port


def write_sdp(media: Sequence[MediaLine], version: int = 1) -> str:
    """A description of `media`, each with a `c=` line of its own.

    Args:
        media: in the order of the `m=` lines.
        version: of the `o=` line; goes up with every change in a dialog (RFC 3264 5).
    """
    lines = ["v=0", f"o=phone 1 {version} IN IP4 127.0.0.1", "s=-", "t=0 0"]
    for medium in media:
        number = f"{medium.port}/{medium.ports}" if medium.ports > 1 else str(medium.port)
        lines.append(f"m={medium.kind} {number} {medium.proto} {'0' if 'RTP' in medium.proto else 't38'}")
        lines.append(f"c=IN {'IP6' if ':' in medium.address else 'IP4'} {medium.address}")
        lines += [f"a={attribute}" for attribute in medium.attributes]
    return "\r\n".join(lines) + "\r\n"


def read_sdp(text: str) -> list[MediaLine]:
    """The media of a description."""
    session_address = ""
    media: list[MediaLine] = []
    for line in text.splitlines():
        name, _, value = line.partition("=")
        words = value.split()
        if name == "c" and not media:
            session_address = words[2]
        elif name == "c":
            media[-1] = dataclasses.replace(media[-1], address=words[2])
        elif name == "m":
            port, _, ports = words[1].partition("/")
            media.append(MediaLine(session_address, int(port), words[0], words[2], int(ports or 1)))
        elif name == "a" and media:
            media[-1] = dataclasses.replace(media[-1], attributes=(*media[-1].attributes, value))
    return media
