# A Net::SIP::StatelessProxy between two networks, with its media relayed by the helper at ADDRESS.
#
#   perl proxy.pl ADDRESS NEAR FAR        NEAR and FAR: IP addresses of this host to listen on, one leg each
#
# Says "NEAR-HOST:PORT FAR-HOST:PORT" on one line once it serves calls, and ends when its standard input does.

use strict;
use warnings;
use Net::SIP;
use Net::SIP::Dispatcher::Eventloop;
use Net::SIP::NATHelper::Client;
use Net::SIP::Util qw(INETSOCK);

my ( $address, @hosts ) = @ARGV;

my @legs = map {
    my $sock = INETSOCK( Proto => 'udp', LocalAddr => $_, LocalPort => 0 ) or die "cannot bind $_: $!\n";
    Net::SIP::Leg->new( sock => $sock );
} @hosts;

my $loop = Net::SIP::Dispatcher::Eventloop->new;
my $dispatcher = Net::SIP::Dispatcher->new( \@legs, $loop, do_retransmits => 0 );
$dispatcher->set_receiver(
    AcrossProxy->new(
        dispatcher => $dispatcher,
        nathelper  => Net::SIP::NATHelper::Client->new($address),
    )
);

$| = 1;
print join( ' ', map { $_->laddr(1) } @legs ), "\n";

my $stop;
$loop->addFD( \*STDIN, EV_READ, [ sub { sysread( STDIN, my $buf, 512 ) or $stop = 1 } ] );
$loop->loop( undef, \$stop );

# Which leg leads to which network is decided by the operator of a proxy (the example stateless_proxy.pl does it
# by domains): here a request that says nothing else leaves through the leg that it did not come in by.
package AcrossProxy;
use base 'Net::SIP::StatelessProxy';
use fields;

sub __forward_request_getleg {
    my AcrossProxy $self = shift;
    my ($entry) = @_;
    unless ( @{ $entry->{outgoing_leg} } ) {
        @{ $entry->{outgoing_leg} }
            = grep { $_ != $entry->{incoming_leg} } $self->{dispatcher}->get_legs;
    }
    return $self->SUPER::__forward_request_getleg($entry);
}
