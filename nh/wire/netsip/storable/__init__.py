"""The strict subset of Perl's Storable, as `nfreeze` writes it, that Net::SIP's protocol needs.

Plain data only: undef, booleans, numbers, strings, arrays and hashes, with references between them. Perl's
values become Python's: undef is None; strings are bytes, those with the UTF-8 flag str; a reference is its
target. Hash keys are bytes, those with the UTF-8 flag and more than ASCII in them str (for Perl, a flagged
and an unflagged ASCII key are the same key). Knows nothing of commands.

Source: Storable.xs of Storable 3.26; its network-order images of major version 2, minor versions 4 to 12.
"""

from nh.wire.netsip.storable.reader import Value, thaw
from nh.wire.netsip.storable.tags import MINOR_WRITTEN, MINORS
from nh.wire.netsip.storable.writer import freeze, freeze_array

__all__ = ["MINORS", "MINOR_WRITTEN", "Value", "freeze", "freeze_array", "thaw"]
