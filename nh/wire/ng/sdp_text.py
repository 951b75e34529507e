"""The keys of an ng request about the text of the SDP alone: sdp-attr, extmap, and what `replace` has.

Texts that a client wants in the SDP must not break its lines; `--` stands for `=` and `..` for a space in
them, because the flags of a proxy's script have neither.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from nh.commands import AttributeEdit, RtcpAttribute
from nh.wire.ng.dictionary import items_of, normalized_words, strings_of, text_of, words_of
from nh.wire.ng.parsed_options import ParsedOptions
from nh.wire.ng.unsupported import HEADERS

TEXT_FLAGS: Final[Mapping[bytes, tuple[str, object]]] = {
    b"generate-mid": ("generate_mid", True),
    b"original-sendrecv": ("original_direction", True),
    b"no-rtcp-attribute": ("rtcp_attribute", RtcpAttribute.NONE),
    b"full-rtcp-attribute": ("rtcp_attribute", RtcpAttribute.FULL),
    b"strip-extmap": ("extensions", ("all",)),
}
"""Flags that change the text of the SDP: the field of SdpText and its value."""

_REPLACE: Final[Mapping[bytes, str]] = {
    b"zero-address": "zero_address",
    b"sdp-version": "version",
    b"force-increment-sdp-ver": "force_version",
    b"username": "username",
    b"session-name": "session_name",
    b"origin-full": "whole_origin",
}

_SESSION: Final = frozenset({"none", "global"})

MAX_EDITS: Final = 256
"""Most changes of a= lines in one request."""


def read_replace(value: object, parsed: ParsedOptions) -> None:
    """`replace`: which parts of the SDP are the relay's; it writes c= in any case."""
    for word in normalized_words(value):
        if word in _REPLACE:
            parsed.set_text(_REPLACE[word])
        if word in (b"origin", b"origin-full"):
            parsed.set("replace_origin")
        elif word not in _REPLACE and word != b"session-connection":
            parsed.ignore(f"replace-{text_of(word[:64])}")


def read_extmap(value: object, parsed: ParsedOptions) -> None:
    """`extmap`: RTP header extensions to strip from the SDP; packets with them would need to be rewritten."""
    for name, listed in items_of(value):
        if name == b"strip":
            parsed.set_text("extensions", tuple(text_of(word) for word in words_of(listed)))
        elif name == b"mask" and words_of(listed):
            parsed.unsupported("extmap=mask", HEADERS)
        elif name != b"mask":
            parsed.ignore(f"extmap={text_of(name[:64])}")
    for word in words_of(value):
        parsed.ignore(f"extmap={text_of(word[:64])}")


def read_removed_media(value: object, parsed: ParsedOptions) -> None:
    """`sdp-media-remove`: media types that the receiver of an offer is not to see."""
    parsed.set_text("removed_media", tuple(text_of(word)[:64].lower() for word in words_of(value)))


def read_attributes(value: object, parsed: ParsedOptions) -> None:
    """`sdp-attr`: a dictionary by media type and command, or flags such as `add-audio-ptime:20`."""
    edits = [*parsed.text.attributes]
    for kind, command, operand in _attribute_commands(value):
        match, text = _operands(command, operand)
        if not (match or text) or not kind:
            parsed.ignore(f"sdp-attr-{text_of(command[:64] or kind[:64])}")
        elif len(edits) == MAX_EDITS:
            parsed.error(f"Invalid value for 'sdp-attr': more than {MAX_EDITS} changes")
        elif any(byte in match + text for byte in b"\r\n\0"):
            parsed.error("Invalid value for 'sdp-attr': a line may have no line break and no NUL byte")
        else:
            name = text_of(kind).lower()
            edits.append(AttributeEdit("" if name in _SESSION else name, match, text))
    parsed.set_text("attributes", tuple(edits))


def _attribute_commands(value: object) -> Iterator[tuple[bytes, bytes, object]]:
    """Media type, command and what it applies to; an incomplete flag has no media type."""
    for flag in words_of(value):
        command, _, rest = flag.partition(b"-")
        kind, _, operand = rest.partition(b"-")
        yield kind, command, operand
    for kind, commands in items_of(value):
        if not isinstance(commands, dict):
            yield kind, b"", None
        for command, operands in items_of(commands):
            is_pair = isinstance(operands, list) and len(strings_of(operands)) == 2
            if command == b"substitute" and is_pair and b">" not in strings_of(operands)[0]:
                yield kind, command, operands
                continue
            for each in operands if isinstance(operands, list) else [operands]:
                yield kind, command, each


def _operands(command: bytes, operand: object) -> tuple[bytes, bytes]:
    """What a command matches and what it writes; both are empty if it cannot be read."""
    words = [word.replace(b"--", b"=").replace(b"..", b" ") for word in strings_of(operand)]
    if command == b"substitute" and len(words) == 1:
        words = [part for part in words[0].split(b">", 1) if part]
    words = [word.removeprefix(b"a=") for word in words]
    match command, words:
        case b"add", [text]:
            return b"", text
        case b"remove", [text]:
            return text, b""
        case b"substitute", [before, after] if before and after:
            return before, after
    return b"", b""
