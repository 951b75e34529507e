# Sets up calls through Net::SIP::NATHelper::Client, one after the other, as fast as the relay answers.
#
#   perl set_up_calls.pl RPC-ADDRESS LISTEN-ADDRESS
#
# Standard input has a line `NUMBER CALLER-HOST PORT CALLEE-HOST PORT` for each call; the answer is a line with the
# ports to which caller and callee have to send, and after the last call one with the seconds that it all took.

use strict;
use warnings;
use Hash::Util 'lock_keys';
use Net::SIP::NATHelper::Client;
use Time::HiRes 'time';

my ($rpc, $listen) = @ARGV;
my $client = Net::SIP::NATHelper::Client->new($rpc);

# what Net::SIP::SDP::get_media gives, with its locked keys
sub media {
    my ($host, $port) = @_;
    my %medium = (
        addr => $host, port => $port, range => 2, proto => 'RTP/AVP', media => 'audio', fmt => [0],
        lines => [['m', "audio $port RTP/AVP 0"], ['a', 'rtpmap:0 PCMU/8000'], ['a', 'sendrecv']],
    );
    lock_keys(%medium);
    return [\%medium];
}

my @calls = map { [split] } <STDIN>;
my @answers;
my $start = time();
for (@calls) {
    my ($number, @ends) = @$_;
    my @basic = (
        "call-$number\@benchmarks", '1', "from\0tag-$number\0127.0.0.1:5060", "to\0tag-$number\0127.0.0.1:5070",
        'sip:from@example.org', 'sip:to@example.org',
    );
    my $for_callee = $client->allocate_sockets(\@basic, 0, $listen, media(@ends[0, 1])) or die "allocate refused";
    my $for_caller = $client->allocate_sockets(\@basic, 1, $listen, media(@ends[2, 3])) or die "allocate refused";
    $client->activate_session(\@basic) or die "activate refused";
    push @answers, "$for_caller->[0][1] $for_callee->[0][1]\n";
}
my $duration = time() - $start;
print @answers, "$duration\n";
