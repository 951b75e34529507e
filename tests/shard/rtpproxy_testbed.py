"""A relay that is told of calls in rtpproxy's commands, as SIP proxies send them, medium by medium."""

from nh.commands import DeleteAll, DeleteSessions, QuerySession
from nh.results import Closed, RelayPort, Result, SessionCounters
from nh.wire.rtpproxy import decode_request
from tests.shard.testbed import RelayTestbed, Where
from tools.harness.media_peer import MediaPeer


class RtpproxyTestbed(RelayTestbed):
    """A relay under test. A command is the line that a proxy sends, without its cookie."""

    def ask(self, line: str) -> Result:
        """The result of a command."""
        request = decode_request(line.encode())
        command = request.command
        assert not hasattr(command, "code"), command
        return self.relay.execute(command)  # type: ignore[arg-type]

    def port(self, line: str) -> Where:
        """Where the relay receives, by its reply to U or L."""
        result = self.ask(line)
        assert isinstance(result, RelayPort)
        return result.address, result.port

    def update(self, peer: MediaPeer, tags: str, *, call: str = "call", mods: str = "") -> Where:
        """U for what a phone announces."""
        return self.port(f"U{mods} {call} {peer.address} {peer.port} {tags}")

    def look_up(self, peer: MediaPeer, tags: str, *, call: str = "call", mods: str = "") -> Where:
        """L for what a phone announces."""
        return self.port(f"L{mods} {call} {peer.address} {peer.port} {tags}")

    def connect(
        self, alice: MediaPeer, bob: MediaPeer, *, mods: str = "", medium: int = 1
    ) -> tuple[Where, Where]:
        """A call of one medium; where Alice and where Bob sends to."""
        for_bob = self.update(alice, f"alice;{medium}", mods=mods)
        for_alice = self.look_up(bob, f"alice;{medium} bob;{medium}", mods=mods)
        return for_alice, for_bob

    def delete(self, *tags: str, call: str = "call", weak: bool = False) -> int:
        """D; how many offerers it ends."""
        both = [tag.encode() for tag in (*tags, "")[:2]]
        result = self.relay.execute(DeleteSessions(call.encode(), both[0], both[1], weak))
        assert isinstance(result, Closed)
        return result.sessions

    def delete_all(self) -> None:
        """X."""
        self.relay.execute(DeleteAll())

    def query(self, from_tag: str = "alice", to_tag: str = "bob", *, medium: int = 1) -> SessionCounters:
        """Q."""
        result = self.relay.execute(QuerySession(b"call", from_tag.encode(), to_tag.encode(), medium))
        assert isinstance(result, SessionCounters)
        return result

    def talk(self, alice: MediaPeer, bob: MediaPeer, places: tuple[Where, Where]) -> None:
        """RTP and RTCP go both ways, each from the port that its receiver sends to."""
        for_alice, for_bob = places
        for component in (0, 1):
            for one, to, other, source in (
                (alice, for_alice, bob, for_bob),
                (bob, for_bob, alice, for_alice),
            ):
                came_from = self.passes(one, to, other, component, b"each phone has a stream of its own")
                assert came_from == (source[0], source[1] + component)
