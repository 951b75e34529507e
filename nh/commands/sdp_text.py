"""What ng's clients want changed in the text of the SDP alone; no media depend on it."""

import enum
from typing import Final

import msgspec


class RtcpAttribute(enum.StrEnum):
    """When a forwarded SDP has a=rtcp (RFC 3605), and whether it names the address."""

    AS_NEEDED = "as-needed"
    NONE = "none"
    FULL = "full"


class AttributeEdit(msgspec.Struct, frozen=True):
    """One change of a= lines of the forwarded SDP (ng's sdp-attr). All texts are without `a=`.

    Attributes:
        kind: media type of the media concerned, in small letters; "" for the session section.
        match: which lines: their name, `name:first-word` or whole text, in any letter case. b"" adds a line.
        text: the line from now on; b"" removes it.
    """

    kind: str
    match: bytes
    text: bytes


class SdpText(msgspec.Struct, frozen=True, kw_only=True):
    """What a client wants changed in the text of the forwarded SDP.

    Attributes:
        zero_address: announce the relay's address for media on hold by 0.0.0.0 or ::, too.
        original_direction: the direction of media on hold by such an address stays as it is.
        version: the relay numbers the versions of o=: one more whenever the SDP changed.
        force_version: one more each time.
        username, session_name: the user name of o= and the s= stay as an end got them first.
        whole_origin: all of o= stays so; implies `version` and `username`.
        generate_mid: add a=mid where it is missing.
        rtcp_attribute: see RtcpAttribute.
        extensions: RTP header extensions to remove, by the name in their a=extmap; `all` removes all.
        attributes: changes of a= lines.
        removed_media: media types, in small letters, that the receiver of an offer does not see; `other` for
            those without a meaning of their own.
    """

    zero_address: bool = False
    original_direction: bool = False
    version: bool = False
    force_version: bool = False
    username: bool = False
    session_name: bool = False
    whole_origin: bool = False
    generate_mid: bool = False
    rtcp_attribute: RtcpAttribute = RtcpAttribute.AS_NEEDED
    extensions: tuple[str, ...] = ()
    attributes: tuple[AttributeEdit, ...] = ()
    removed_media: tuple[str, ...] = ()

    @property
    def controls_origin(self) -> bool:
        """Whether o= or s= depend on what the end got before."""
        return self.version or self.force_version or self.username or self.session_name or self.whole_origin


PLAIN_TEXT: Final = SdpText()
"""Nothing but what a relay must change."""
