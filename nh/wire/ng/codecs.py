"""The key `codec` of an ng request, and the flags `codec-…`: which codecs of an SDP its receiver sees.

nh transcodes nothing; what chooses codecs without that is a CodecChoice.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from msgspec import structs

from nh.commands import EVERY_CODEC, CodecChoice
from nh.wire.ng.dictionary import NO, items_of, normalize_key, text_of, words_of
from nh.wire.ng.parsed_options import ParsedOptions
from nh.wire.ng.unsupported import CODEC_OPTIONS

CHOICES: Final[Mapping[bytes, str]] = {
    b"strip": "strip",
    b"mask": "mask",
    b"except": "keep",
    b"offer": "offer",
    b"transcode": "transcode",
}
"""What the key `codec` may ask for, and the field of CodecChoice with its codecs."""

CHOICE_FLAGS: Final[Mapping[bytes, str]] = {
    b"single-codec": "single",
    b"allow-no-codec-media": "reject_empty",
    b"allow-no-codec-medias": "reject_empty",
    b"allow-empty-codec-media": "reject_empty",
    b"allow-empty-codec-medias": "reject_empty",
}
"""Flags, and the field of CodecChoice that each sets."""

MAX_CODECS: Final = 64
"""Most codecs of one option: m= lines of RTP have up to 128."""

_MAX_NAME: Final = 256


def read_codec(value: object, parsed: ParsedOptions) -> None:
    """`{strip: [PCMU]}`, or words such as `strip-PCMU`."""
    for option, names in _options_of(value):
        read_codec_option(option, names, parsed)


def read_codec_option(option: bytes, names: tuple[bytes, ...], parsed: ParsedOptions) -> None:
    """Add one option of `codec`, with its codecs."""
    if NO.issuperset(names):
        return  # no codec has such a name
    if option in CHOICES:
        _choose(CHOICES[option], names, parsed)
    elif option in CODEC_OPTIONS:
        gap = CODEC_OPTIONS[option]
        name = f"codec-{text_of(option)}"
        parsed.ignore(name) if gap is None else parsed.unsupported(name, gap)
    else:
        parsed.ignore(f"codec-{text_of(option[:64])}")


def read_choice_flag(field: str, parsed: ParsedOptions) -> None:
    """A flag of CHOICE_FLAGS."""
    parsed.set("codecs", structs.replace(_present(parsed), **{field: True}))


def _options_of(value: object) -> Iterator[tuple[bytes, tuple[bytes, ...]]]:
    for option, names in items_of(value):
        yield option, words_of(names)
    for word in words_of(value):
        option = normalize_key(word).partition(b"-")[0]
        yield option, (word[len(option) + 1 :] or option,)


def _choose(field: str, names: tuple[bytes, ...], parsed: ParsedOptions) -> None:
    present: tuple[str, ...] = getattr(_present(parsed), field)
    # a script's flags have no `=`: `--` stands for it
    chosen = [text_of(name[:_MAX_NAME]).replace("--", "=") for name in names]
    every = tuple(dict.fromkeys((*present, *chosen)))
    if len(every) > MAX_CODECS:
        parsed.error(f"Invalid value for 'codec': more than {MAX_CODECS} codecs")
    parsed.set("codecs", structs.replace(_present(parsed), **{field: every[:MAX_CODECS]}))


def _present(parsed: ParsedOptions) -> CodecChoice:
    choice: CodecChoice = parsed.options.get("codecs", EVERY_CODEC)
    return choice
