"""tools.rtpengine_tests: a script of rtpengine's tests, taken apart into its calls."""

import shutil
import subprocess
from pathlib import Path

import pytest

import tools.rtpengine_tests
from tools.rtpengine_tests.split import interfaces_of, split_script

SCRIPT = """#!/usr/bin/perl
use strict;
use NGCP::Rtpengine::AutoTest;
my ($sock_a, $sock_b, $port_a);
if ($extended_tests) {
($sock_a,
$sock_b) = new_call([qw(192.0.2.1 4000)],
    [qw(192.0.2.2 4000)]);
offer('first', { }, <<SDP);
new_call in a text begins no call
SDP
if (0) { # nested
new_call;
}
}
new_call;
my $own = 1;
answer('second', { }, <<SDP);
v=0
SDP
for my $each (1..2) {
    new_call;
}
done_testing();
"""


def test_a_script_says_which_interfaces_its_relay_has() -> None:
    start = "autotest_start(qw(-t -1 -i 192.0.2.1\n\t-i foo/2001:db8::1 -i bar=foo -n 2223))\n\tor die;"
    assert interfaces_of(f"use strict;\n{start}\n-i 192.0.2.9") == ["192.0.2.1", "foo/2001:db8::1", "bar=foo"]
    assert interfaces_of(SCRIPT) == []


def test_each_call_is_a_test_with_its_line_and_title() -> None:
    common, calls = split_script(SCRIPT)
    assert "my ($sock_a, $sock_b, $port_a);" in common
    assert "use " not in common
    assert [(call.line, call.title) for call in calls] == [(6, "first"), (16, "second")]
    assert "if (0) { # nested" in calls[0].code
    assert "$extended_tests" not in common + "".join(call.code for call in calls)


def test_variables_of_a_call_are_those_of_all() -> None:
    _, (_, second) = split_script(SCRIPT)
    assert "\n$own = 1;" in second.code
    assert second.code.rstrip().endswith("}")


COMPARE = """
require '%s';
NGCP::Rtpengine::AutoTest->import;
T::run(1, 'compared', sub {
    my @captured = NGCP::Rtpengine::AutoTest::compare_sdp('offer', @ARGV);
    print join(',', @captured), "\\n";
});
"""
GOT = "v=0\ns=x\nc=IN IP4 192.0.2.1\nt=0 0\nm=audio 4000 RTP/AVP 0\na=ptime:20\na=x\n"


@pytest.mark.parametrize(
    ("wanted", "outcome", "captured"),
    [
        (
            "v=0\nm=audio PORT RTP/AVP 0\nc=IN IP4 192.0.2.1\na=rtpmap:0 PCMU/8000\na=x\na=rtcp:PORT\n",
            "passed",
            "4000,4001",
        ),
        ("v=0\nm=audio PORT RTP/AVP 0\nc=IN IP4 192.0.2.9\na=x\n", "failed", "4000"),
        ("v=0\nm=audio PORT RTP/AVP 0\n", "failed", "4000"),
        ("v=0\nm=audio PORT RTP/AVP 0\na=x\na=sendonly\n", "failed", "4000"),
        ("v=0\nm=audio 1 RTP/AVP 0\nm=video 1 RTP/AVP 0\n", "failed", ""),
    ],
)
@pytest.mark.skipif(shutil.which("perl") is None, reason="needs perl")
def test_sdps_are_compared_loosely(wanted: str, outcome: str, captured: str) -> None:
    module = Path(tools.rtpengine_tests.__path__[0]) / "AutoTest.pm"
    done = subprocess.run(
        ["perl", "-e", COMPARE % module, GOT, wanted], capture_output=True, text=True, check=True
    )
    printed, result = done.stdout.splitlines()
    assert (printed, result.split("\t")[0]) == (captured, outcome)
