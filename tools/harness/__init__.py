"""What tests, tools and benchmarks share: start an nh, wait until it is ready, call through it, end it.

- `ports`: UDP ports that no other program and no other relay uses.
- `program`: a child process whose output is collected.
- `relay`: one `nh run`; `deployment`: successive ones in the same place; `command`: a subcommand of nh.
- `other_relays`: rtpengine and nathelper.pl, which nh is compared with.
- `media_peer`, `rtp_phone`: phones with real sockets; `call`: calls between two of them.
- `unbroken`: media that must not pause.
- `browser`: a real browser; `web_phone`: phones in it (WebRTC).
- `namespaces`: networks of their own; `hosts`: two hosts with a relay, and an address that moves.
- `valkey_server`, `valkey_cluster`: servers of stored calls; `keepalived`: what moves the address of a host.
- `http`: where a relay serves HTTP.
- `own_directory`: directories that the next run removes if this one is killed.
- `waiting`: conditions instead of sleeps.
- `closing`: objects that end with the block in which they are used.
"""


class HarnessError(AssertionError):
    """What was started or waited for did not do what it should; the message has its output."""
