"""Perl's client and a relay that drains: a new call is answered with undef, a known one as ever."""

import signal

import psutil
import pytest

from tests.netsip.perl_calls import AUDIO, REQUEST, RESPONSE, basic, new_call, set_up
from tests.netsip.perl_helper import PerlHelperClient
from tools.harness.relay import Relay, place_for_relay

pytestmark = pytest.mark.perl


def test_new_calls_are_undef_and_known_ones_go_on_until_the_last_bye() -> None:
    with place_for_relay() as place:
        relay = Relay(place, 2)
        with relay.program as program, PerlHelperClient(relay.unix_address) as client:
            relay.wait_until_ready()
            call = new_call()
            set_up(client, basic(call, "1"))
            psutil.Process(program.pid).send_signal(signal.SIGUSR1)
            program.wait_for_line("draining: new calls are refused")
            assert client.allocate(basic(new_call()), REQUEST, AUDIO) is None
            again = basic(call, "2")
            assert client.allocate(again, REQUEST, AUDIO)
            assert client.allocate(again, RESPONSE, AUDIO)
            assert client.activate(again) == 1
            assert client.close_session(basic(call, None)) == 1
            assert program.wait() == 0
