"""The numbers of Storable's image that both directions share (Storable.xs: SX_ and SHV_)."""

from typing import Final

MAX_DEPTH: Final = 32
"""Deepest nesting; every array or hash below the root counts twice, because a reference holds it."""

NETWORK_ORDER_2: Final = 0x05
MINORS: Final = range(4, 13)
"""Minor versions that are read. The tags of the subset never changed; each minor version only added some.
4 (Perl 5.6) has UTF-8 strings, 5 (Perl 5.8) hashes with flags; 6 to 11 added code, weak references, version
strings and regular expressions, 12 booleans, which Perl writes in images of minor version 11."""
MINOR_WRITTEN: Final = 11

BACK_REFERENCE: Final = 0
LONG_STRING: Final = 1
ARRAY: Final = 2
HASH: Final = 3
REFERENCE: Final = 4
UNDEF: Final = 5
DOUBLE: Final = 7
BYTE: Final = 8
INT32: Final = 9
STRING: Final = 10
SV_UNDEF: Final = 14
SV_YES: Final = 15
SV_NO: Final = 16
UTF8: Final = 23
LONG_UTF8: Final = 24
FLAGGED_HASH: Final = 25
UNDEF_ELEMENT: Final = 31  # of an array, where SV_UNDEF is an element that does not exist
TRUE: Final = 34
FALSE: Final = 35

RESTRICTED: Final = 0x01  # of a hash: its keys are locked
KEY_UTF8: Final = 0x01
KEY_WAS_UTF8: Final = 0x02  # was flagged, but is Latin-1 on the wire
KEY_LOCKED: Final = 0x04
KEY_PLACEHOLDER: Final = 0x10  # a key that a locked hash would allow, without a value
KEY_FLAGS: Final = KEY_UTF8 | KEY_WAS_UTF8 | KEY_LOCKED | KEY_PLACEHOLDER
