"""o= and s= of a forwarded SDP, where a client wants them to stay and the version to be counted.

The rules are rtpengine's: the first SDP that an end gets decides, and the version goes up by one when
anything else in the SDP changed.
"""

import hashlib
from collections.abc import Sequence

from nh.calls.origin import Origin, SentOrigin, next_version
from nh.commands import SdpText
from nh.sdp.fields import read_origin_fields, write_origin_fields
from nh.sdp.lines import Line, split_lines


def control_origin(body: bytes, before: SentOrigin | None, text: SdpText) -> tuple[bytes, SentOrigin | None]:
    """Write o= and s= of the first session section as `text` wants them.

    Args:
        body: an SDP that is finished otherwise.
        before: what its receiver was sent last; None for nothing, and then o= and s= stay.
        text: what is to stay, and whether versions are counted.

    Returns:
        The SDP, and what its receiver has been sent now. Both are as they were if there is no o= that can be
        read, or if its strings, or the next version, are too long to be kept.
    """
    lines = list(split_lines(body))
    origin_at, name_at = _find(lines, b"o="), _find(lines, b"s=")
    origin = lines[origin_at].text if origin_at is not None else b""
    fields = read_origin_fields(origin)
    if origin_at is None or fields is None:
        return body, before
    came = Origin(*fields, lines[name_at].text[2:] if name_at is not None else b"")
    if not came.is_keepable:
        return body, before
    kept = _kept(came, before.origin if before else None, text)
    _write(lines, origin_at, write_origin_fields(origin, kept.username, kept.session_id, b""))
    if name_at is not None:
        _write(lines, name_at, b"s=" + kept.session_name)
    digest = hashlib.blake2b(_join(lines), digest_size=16).digest()
    if before is not None:
        kept = kept._replace(version=_version(came, before, text, changed=digest != before.digest))
        if not kept.is_keepable:  # 9…9 plus one has one digit more
            return body, before
    _write(lines, origin_at, write_origin_fields(origin, *kept[:3]))
    return _join(lines), SentOrigin(kept, digest)


def _kept(came: Origin, before: Origin | None, text: SdpText) -> Origin:
    if before is None:
        return came
    return Origin(
        username=before.username if text.username or text.whole_origin else came.username,
        session_id=before.session_id if text.whole_origin else came.session_id,
        version=came.version,
        session_name=before.session_name if text.session_name else came.session_name,
    )


def _version(came: Origin, before: SentOrigin, text: SdpText, *, changed: bool) -> bytes:
    if text.force_version or (changed and (text.version or text.whole_origin)):
        return next_version(before.origin.version)
    return before.origin.version if text.version or text.whole_origin else came.version


def _find(lines: Sequence[Line], start: bytes) -> int | None:
    """Index of the first such line of the first session section, None without one."""
    for index, line in enumerate(lines):
        if line.text.startswith(start):
            return index
        if line.text.startswith(b"m="):
            break
    return None


def _write(lines: list[Line], index: int, text: bytes) -> None:
    lines[index] = Line(text, lines[index].end)


def _join(lines: Sequence[Line]) -> bytes:
    return b"".join(line.text + line.end for line in lines)
