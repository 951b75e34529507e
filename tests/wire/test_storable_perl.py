"""The Storable subset against Perl's own Storable."""

import json
import random
import subprocess
from collections.abc import Sequence
from typing import Any

import pytest

from nh.wire.netsip.storable import Value, freeze, thaw

pytestmark = pytest.mark.perl

THAW_AND_FREEZE = 'print unpack("H*", nfreeze(thaw(pack "H*", $_))), "\\n" for map { chomp; $_ } <STDIN>'

SHARED = r"""
my $s = ["s"]; my $h = { k => $s }; my $locked = { one => $s, two => 2 };
lock_keys(%$locked, "one", "two", "three");
my @holes; $holes[2] = $s; $holes[4] = $s;
my $key = "caf\xe9"; utf8::upgrade($key);
for (
    [$s, $s], [$h, $s, $h, $h->{k}], [undef, $s, undef, [$s]], [1, "x", 70000, $h, $s],
    { a => $s, b => [$s, [$s]], c => $h }, [$locked, $s, $locked], [\@holes, $s],
    [{ $key => $s }, $s], ["\x{20ac}", $s, "\xff", $s], [1 == 1, $s, 1 == 0, $s], [0.5, $s, 1e12, $s],
) { print unpack("H*", nfreeze($_)), " ", JSON::PP->new->canonical->latin1->encode($_), "\n" }
"""


def perl(script: str, *lines: str) -> list[str]:
    """What the script prints, given the lines on standard input."""
    modules = ["-MStorable=nfreeze,thaw", "-MHash::Util=lock_keys", "-MJSON::PP"]
    try:
        done = subprocess.run(
            ["perl", *modules, "-e", script],
            input="\n".join(lines).encode(),
            capture_output=True,
            check=False,
        )
    except FileNotFoundError:
        pytest.skip("needs Perl")
    assert not done.stderr, done.stderr
    return done.stdout.decode("latin-1").splitlines()


def random_value(chance: random.Random, depth: int) -> Value:
    """A plain value that Storable keeps as it is."""
    kind = chance.randrange(9 if depth else 6)
    size = chance.choice([0, 1, 5, 254, 255, 256, 300])
    if kind == 0:
        return None
    if kind in (1, 2):
        return chance.choice([0, 1, -1, 127, 128, -128, -129, 2**31 - 1, -(2**31), chance.randrange(10**6)])
    if kind in (3, 4):
        return chance.randbytes(size)
    if kind == 5:
        return "".join(
            chance.choice("a\u00e9\u20ac\U0001f600") for _ in range(size or 1)
        )  # Perl does not flag ""
    inside = [random_value(chance, depth - 1) for _ in range(chance.randrange(5))]
    if kind in (6, 7):
        return inside
    keys: Sequence[bytes | str] = [b"", b"addr", b"\xff\x00", "\u20ac", "na\u00efve"]
    return dict(zip(keys, inside, strict=False))


def test_perl_reads_what_is_written_and_writes_what_is_read() -> None:
    chance = random.Random(5)
    values = [random_value(chance, 5) for _ in range(300)]
    images = perl(THAW_AND_FREEZE, *(freeze(value).hex() for value in values))
    assert [thaw(bytes.fromhex(image)) for image in images] == values


def test_what_perl_shares_is_read_as_perl_sees_it() -> None:
    lines = perl(SHARED)
    assert len(lines) == 11
    for line in lines:
        image, _, seen = line.partition(" ")
        assert as_seen(thaw(bytes.fromhex(image))) == as_seen(json.loads(seen))


def as_seen(value: Any) -> Any:
    """A value in the terms of both JSON::PP and Storable: all scalars are strings of characters."""
    if isinstance(value, list):
        return [as_seen(item) for item in value]
    if isinstance(value, dict):
        return {as_seen(key): as_seen(item) for key, item in value.items()}
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, float):
        return format(value, ".15g")
    if isinstance(value, bool):
        return "1" if value else ""
    return None if value is None else str(value)
