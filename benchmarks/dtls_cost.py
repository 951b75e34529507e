"""Handshakes of DTLS: what one costs the relay, in CPU time.

    python -m benchmarks.dtls_cost

Each handshake is one of nh.dtls with an end of OpenSSL, without a network; the time of the end is left out.
"""

from tools.ending import end_in_order

if __name__ == "__main__":
    end_in_order()  # from here on: it covers the imports, too

import argparse
import time
from typing import Final

from nh.dtls.association import Association
from nh.dtls.attempts import Budget
from nh.dtls.fingerprints import read_fingerprints
from nh.dtls.identity import Identity, new_certificate
from tools.rtpload.openssl_end import OpensslEnd

HANDSHAKES: Final = 100
ROUNDS: Final = 5


def cost_us(identity: Identity, *, active: bool, ice: bool) -> float:
    """The CPU of the relay for a handshake, µs.

    Args:
        identity: its certificate.
        active: the relay is the client.
        ice: ICE has validated the end; otherwise it gets a cookie first.
    """
    spent = 0
    for _ in range(HANDSHAKES):
        end = OpensslEnd(client=not active)
        expected = read_fingerprints([end.fingerprint.encode()])
        said = [] if active else end.begin()
        relay: Association | None = None
        while relay is None or said:
            began = time.process_time_ns()
            relay = relay or Association(identity, expected, active=active, budget=Budget())
            if relay.timer_at == 0:
                relay.on_timer(now=0.0)
            for datagram in said:
                relay.receive(datagram, "end", validated=ice, answers=True, now=0.0)
            answers = relay.take_output()
            spent += time.process_time_ns() - began
            said = [each for answer in answers for each in end.receive(answer.payload)]
        assert relay.established
    return spent / HANDSHAKES / 1000


def main() -> None:
    """Measure all, in turn, and print the range of the rounds."""
    argparse.ArgumentParser(
        prog="python -m benchmarks.dtls_cost",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    ).parse_args()
    identity = Identity(new_certificate(wall=time.time()))
    kinds = [(active, ice) for active in (False, True) for ice in (True, False)]
    costs: dict[tuple[bool, bool], list[float]] = {kind: [] for kind in kinds}
    for _ in range(ROUNDS):
        for active, ice in kinds:
            costs[active, ice].append(cost_us(identity, active=active, ice=ice))
    for (active, ice), found in costs.items():
        least, most = min(found), max(found)
        role, source = "active" if active else "passive", "with ICE" if ice else "without ICE"
        rate = f"{1e6 / most:.0f} to {1e6 / least:.0f} a second"
        print(f"{role}, {source}: {least:.0f} to {most:.0f} µs, {rate}")


if __name__ == "__main__":
    main()
