# The unmodified Net::SIP::NATHelper::Client under the command of a test: one JSON object a line in, one a line out.
#
#   perl client.pl ADDRESS            ADDRESS as Net::SIP::NATHelper::Client takes it
#
#   {"call":"allocate_sockets","nat_basic":[…],"side":0,"address":"127.0.0.1","sdp":"v=0…"}
#   {"call":"activate_session","nat_basic":[…],"param":{…}}
#   {"call":"close_session","nat_basic":[…]}
#   {"call":"rpc","arguments":["name",…]}
#
# is answered with {"value":…} or, where the client died, {"died":"why"}. The media are what
# Net::SIP::SDP::get_media makes of the SDP, locked hashes and all. Text stands for bytes: one character below
# U+0100 for each, so that any byte can be told in JSON.

use strict;
use warnings;
use JSON::PP;
use Net::SIP::NATHelper::Client;
use Net::SIP::SDP;

my ($address) = @ARGV;
my $helper = Net::SIP::NATHelper::Client->new($address);
my $json = JSON::PP->new->latin1->allow_nonref->canonical;

my %calls = (
    allocate_sockets => sub {
        my ($order) = @_;
        my $media = Net::SIP::SDP->new( $order->{sdp} )->get_media;
        return $helper->allocate_sockets( @{$order}{qw( nat_basic side address )}, $media );
    },
    activate_session => sub {
        my ($order) = @_;
        return $helper->activate_session( $order->{nat_basic}, $order->{param} || () );
    },
    close_session => sub {
        my ($order) = @_;
        return $helper->close_session( $order->{nat_basic} );
    },
    rpc => sub {
        my ($order) = @_;
        return $helper->rpc( @{ $order->{arguments} } );
    },
);

# A SIP packet's strings are bytes, never Perl's characters; JSON::PP makes characters.
sub to_bytes {
    my ($value) = @_;
    if ( ref($value) eq 'ARRAY' ) { return [ map { to_bytes($_) } @$value ] }
    if ( ref($value) eq 'HASH' ) { return { map { to_bytes($_) } %$value } }
    utf8::downgrade($value) if defined $value && utf8::is_utf8($value);
    return $value;
}

$| = 1;
while ( my $line = <STDIN> ) {
    my $order = to_bytes( $json->decode($line) );
    my $call = $calls{ $order->{call} } or die "no such call: $order->{call}\n";
    my $value = eval { [ scalar $call->($order) ] };
    print $json->encode( $value ? { value => $value->[0] } : { died => "$@" } ), "\n";
}
