# What the scripts of rtpengine's daemon tests call, for a relay that runs already. Each call of a script is one
# test (T::run), and SDPs are compared loosely (sdp_differences).
package NGCP::Rtpengine::AutoTest;

use strict;
use warnings;
use Exporter 'import';
use IO::Socket::IP;
use JSON::PP ();
use Socket qw(:all);
use Time::HiRes ();

our @EXPORT = qw(
    autotest_start autotest_init new_call new_call_nc new_ft new_tt reverse_tags ft tt cid use_json
    offer answer offer_answer rtpe_req rtpe_raw_req subscribe_request subscribe_answer publish create create_answer
    rtp rtpm rtpmre snd snd_no rcv rcv_no rcv_maybe srtp_snd srtp_rcv srtp_dec escape crlf sdp_split
    is isnt ok like unlike is_deeply cmp_ok pass fail skip diag note done_testing
);

# The scripts load modules of rtpengine, and Test::More; this file stands for those that they need.
BEGIN {
    for my $module (qw(NGCP::Rtpengine::AutoTest NGCP::Rtpclient::ICE Test2::Tools::Compare)) {
        $INC{ $module =~ s{::}{/}gr . '.pm' } = __FILE__;
    }
}
sub Test2::Tools::Compare::like { return 1 }

# DTLS and SRTP of the ends are the checkout's own, where what they need is installed.
my $has_srtp = eval { require NGCP::Rtpclient::SRTP; require NGCP::Rtpclient::DTLS; require IO::Multiplex; 1 };
if ($has_srtp) {
    no warnings 'redefine';
    *NGCP::Rtpclient::DTLS::_kill_openssl_child = sub {  # that of the module waits for one that does not end
        my ($self) = @_;
        delete @$self{qw(_openssl_in _openssl_out)};
        my $child = delete $self->{_openssl_pid} or return;
        kill 'TERM', $child;
        return waitpid $child, 0;
    };
}
my $PATIENCE_S = 15;  # a handshake that comes to nothing waits for ever
my $WITHOUT_SRTP = "it needs Crypt::OpenSSL::RSA, Crypt::Rijndael and IO::Multiplex\n";

my $json = JSON::PP->new->latin1->allow_nonref->canonical;
my $run = "$$-" . time;
my ($call_id, $from_tag, $to_tag, $relay, @sockets, @failures);
my $number = 0;
my %answered;  # dialogs: call-id and both tags

# --- outcomes ---------------------------------------------------------------------------------------------

sub check { my ($good, $what) = @_; push @failures, $what unless $good; return $good }
sub shown { my ($value) = @_; return defined $value ? $value : 'nothing' }
sub ok { return check($_[0], $_[1] // 'a condition') }
sub is {
    my ($got, $wanted, $name) = map { shown($_) } @_[0 .. 2];
    return check($got eq $wanted, "$name: $got, not $wanted");
}
sub isnt { my ($got, $other, $name) = @_; return check(shown($got) ne shown($other), "$name: " . shown($got)) }
sub like { my ($got, $pattern, $name) = @_; return check(shown($got) =~ $pattern, $name // 'a pattern') }
sub unlike { my ($got, $pattern, $name) = @_; return check(shown($got) !~ $pattern, $name // 'a pattern') }
sub is_deeply { my ($got, $wanted, $name) = @_; return check($json->encode($got) eq $json->encode($wanted), $name) }
sub cmp_ok { my ($one, $operator, $other, $name) = @_; return check(eval "shown(\$one) $operator \$other", $name) }
sub pass { return 1 }
sub fail { return check(0, $_[0]) }
sub skip { no warnings 'exiting'; last SKIP }
sub diag { }
sub note { }
sub done_testing { }

# --- the call -----------------------------------------------------------------------------------------------

sub autotest_start { return autotest_init() }

sub autotest_init {
    $relay = IO::Socket::IP->new(Type => SOCK_DGRAM, PeerHost => '127.0.0.1', PeerPort => 2223) or die "no socket: $!";
    return 1;
}

sub new_call { $_->close for splice @sockets; return new_call_nc(@_) }

sub new_call_nc {
    new_ft();
    new_tt();
    $call_id = name_of('call');
    my @opened = map { open_socket(@$_) } @_;
    push @sockets, @opened;
    return @opened;
}

sub open_socket {
    my ($address, $port) = @_;
    return IO::Socket::IP->new(Type => SOCK_DGRAM, LocalHost => $address, LocalPort => $port)
        // die "socket $address $port: $!\n";
}

sub name_of { return $number++ . "-$_[0]-$run" }
sub new_ft { return $from_tag = name_of('from') }
sub new_tt { return $to_tag = name_of('to') }
sub reverse_tags { ($from_tag, $to_tag) = ($to_tag, $from_tag); return }
sub ft { return $from_tag }
sub tt { return $to_tag }
sub cid { return $call_id }
sub use_json { }
sub crlf { return $_[0] =~ s/\r\n/\n/gr }
sub sdp_split { return split /-{8,}\n/, $_[0] }

sub rtpe_raw_req {
    my ($request) = @_;
    my $cookie = name_of('cookie');
    local $SIG{ALRM} = sub { die "no reply\n" };
    $relay->send("$cookie " . $json->encode($request));
    alarm 3;
    $relay->recv(my $reply, 65_535);
    alarm $PATIENCE_S;
    return $json->decode($reply =~ s/^\S+ //r);
}

sub rtpe_req {
    my ($command, $name, $request) = @_;
    $request->{command} = $command;
    $request->{'call-id'} //= $call_id;
    my $reply = rtpe_raw_req($request);
    die "$command: $reply->{'error-reason'}\n" if $reply->{result} eq 'error';
    return $reply;
}

# rtpengine finds the dialog of an offer by itself; proxies give the to-tag of a re-INVITE, and so does this.
sub offer {
    my ($name, $request, $sdps) = @_;
    my $from = $request->{'from-tag'} // $from_tag;
    my ($other) = grep { $_ ne $from } $from_tag, $to_tag;
    $request->{'to-tag'} //= $other if $answered{"$call_id $from_tag $to_tag"} || $answered{"$call_id $to_tag $from_tag"};
    return offer_answer('offer', $name, $request, $sdps);
}

sub answer {
    my ($name, $request, $sdps) = @_;
    $request->{'to-tag'} //= $to_tag;
    my @found = offer_answer('answer', $name, $request, $sdps);
    $answered{ join ' ', $call_id, $request->{'from-tag'}, $request->{'to-tag'} } = 1;
    return @found;
}

sub offer_answer {
    my ($command, $name, $request, $sdps) = @_;
    ($request->{sdp}, my $wanted) = sdp_split($sdps);
    $request->{'from-tag'} //= $from_tag;
    return compare_sdp($command, rtpe_req($command, $name, $request)->{sdp} // '', $wanted);
}

for my $name (qw(subscribe_request subscribe_answer publish create create_answer)) {
    no strict 'refs';
    *$name = sub { die "$name is out of nh's scope\n" };
}

# --- SDPs ---------------------------------------------------------------------------------------------------

my %WORDS = (
    PORT => '\d{1,5}', ICEBASE => '\w+', ICEUFRAG => '\S+', ICEPWD => '\S+', LOOPER => '\S+', TLS_ID => '\S+',
    BGROUPS => '[\d ]+', FINGERPRINT => '\S+', FINGERPRINT256 => '\S+', CRYPTO128 => '\S+', CRYPTO128S => '\S+',
    CRYPTO192 => '\S+', CRYPTO256 => '\S+', CRYPTO256S => '\S+',
);
my $word = join '|', sort { length $b <=> length $a } keys %WORDS;

# A key of the relay's own, of a crypto suite that nh does not have.
my $OTHER_SUITE = qr/crypto:\d+ (?:F8|NULL|AES_192)_\S+ inline:CRYPTO/;
# The SDP may lack these: what they say is so anyway, or nobody depends on it.
my $IMPLIED = qr/^(?:[stbiuep]=|a=(?:tls-id|extmap-allow-mixed|ptime:20$|$OTHER_SUITE|rtpmap:(?:0|3|4|8|9|13|18|31|34) ))/;
# It may have these although rtpengine leaves them out: it passes on what came.
my $PASSED_ON = qr/^(?:[stbiuepvokcr]=|a=(?:rtpmap|rtcp|sendrecv|ptime|fmtp|maxptime|extmap|tls-id|silence|label|mid))/;

sub pattern {
    my ($line) = @_;
    $line =~ s/\s+$//;
    my $pattern = quotemeta $line;
    $pattern =~ s/\\\?/./g;
    $pattern =~ s/SDP_VERSION/\\d+ \\d+/g;
    $pattern =~ s/RTPE_VERSION/.*/g;
    $pattern =~ s/($word)/($WORDS{$1})/g;
    $pattern =~ s/^a\\=rtpengine/a=\\w+/;
    $pattern =~ s/^(a\\=crypto\\:)\d+/$1\\d+/ if $line =~ /CRYPTO/;  # the relay's own: in any order, with any tag
    $pattern =~ s/^(a\\=rtcp\\:\S+)$/$1(?: IN IP[46] \\S+)?/;
    return qr/^$pattern=* *$/i;
}

sub sections {
    my @sections = ([]);
    for my $line (grep { length } split /\r?\n/, $_[0]) {
        push @sections, [] if $line =~ /^m=/;
        push @{ $sections[-1] }, $line;
    }
    return @sections;
}

# Lines of a section of media with what the session says of it, and with what is so by default.
sub completed {
    my ($session, @lines) = @_;
    my ($port) = $lines[0] =~ /^m=\S+ (\d+)/;
    push @lines, grep { /^c=/ } @$session unless grep { /^c=/ } @lines;
    my $direction = qr/^a=(?:sendrecv|sendonly|recvonly|inactive)$/;
    push @lines, (grep { /$direction/ } @$session)[0] // 'a=sendrecv' unless grep { /$direction/ } @lines;
    my $muxed = grep { $_ eq 'a=rtcp-mux' } @lines;
    push @lines, 'a=rtcp:' . ($muxed ? $port : $port + 1) unless grep { /^a=rtcp:/ } @lines;
    return @lines;
}

# Notes what differs; returns what the placeholders stand for.
sub compare_sdp {
    my ($name, $sdp, $expected) = @_;
    my @got = sections($sdp);
    my @wanted = sections($expected);
    check(@got == @wanted, "$name: $#got media, not $#wanted") or return;
    my @captured;
    for my $index (0 .. $#wanted) {
        my $rejected = $index && $got[$index][0] =~ /^m=\S+ 0 /;
        my @left = $index ? completed($got[0], @{ $got[$index] }) : @{ $got[0] };
        for my $line (@{ $wanted[$index] }) {
            next if $line =~ $IMPLIED || ($rejected && $line =~ /^c=/) || (!$index && $line eq 'a=sendrecv');
            my $pattern = pattern($line);
            my ($at) = grep { $left[$_] =~ $pattern } 0 .. $#left;
            check(defined $at, "$name: medium $index lacks $line") or next;
            push @captured, $left[$at] =~ $pattern if $line =~ $word;
            splice @left, $at, 1;
        }
        next if !$index || $rejected;
        check(0, "$name: medium $index has $_") for grep { $_ !~ $PASSED_ON } @left;
    }
    return @captured;
}

# --- packets ------------------------------------------------------------------------------------------------

sub snd {
    my ($socket, $port, $packet, $address) = @_;
    my $to = pack_sockaddr_in($port, inet_aton($address // '203.0.113.1'));
    defined $socket->send($packet, 0, $to) or die "send: $!\n";
    return;
}

sub snd_no { eval { snd(@_) }; return 1 }
sub escape { return quotemeta $_[0] }

sub extensions {
    my ($listed) = @_;
    return '' unless $listed && @$listed;
    my $long = grep { $_->[0] >= 16 || length $_->[1] > 16 || ($_->[0] && !length $_->[1]) } @$listed;
    my $body = '';
    for my $extension (@$listed) {
        my ($id, $data) = @$extension;
        $body .= $long ? pack('C C/a*', $id, $data) : pack('C a*', $id << 4 | length($data) - 1, $data);
    }
    $body .= "\0" while length($body) % 4;
    return ($long ? "\x10\x00" : "\xbe\xde") . pack('n', length($body) / 4) . $body;
}

sub rtp {
    my ($type, $sequence, $timestamp, $ssrc, $payload, $listed) = @_;
    my $extensions = extensions($listed);
    my @header = (length $extensions ? 0x90 : 0x80, $type, $sequence, $timestamp, $ssrc);
    return pack 'C C n N N a* a*', @header, $extensions, $payload;
}

sub rtpmre {
    my ($type, $sequence, $timestamp, $ssrc, $payload, $listed) = @_;
    my $extensions = extensions($listed);
    my $pattern = quotemeta pack 'C C', length $extensions ? 0x90 : 0x80, $type;
    $pattern .= $sequence < 0 ? '(..)' : quotemeta pack 'n', $sequence;
    $pattern .= $_ < 0 ? '(....)' : quotemeta pack 'N', $_ for $timestamp, $ssrc;
    $pattern .= quotemeta($extensions) . $payload;
    return qr/^$pattern$/s;
}

sub rtpm {
    my ($type, $sequence, $timestamp, $ssrc, $payload, $other, $listed) = @_;
    ($other, $listed) = (undef, $other) if ref $other;
    my $pattern = defined $other ? '(' . quotemeta($payload) . '|' . quotemeta($other) . ')' : quotemeta $payload;
    return rtpmre($type, $sequence, $timestamp, $ssrc, $pattern, $listed);
}

sub rcv {
    my ($socket, $port, $pattern, $keys) = @_;
    local $SIG{ALRM} = sub { die "no packet arrives\n" };
    alarm 1;
    my $from = $socket->recv(my $packet, 65_535, 0);
    alarm $PATIENCE_S;
    defined $from or die "receive: $!\n";
    my (undef, $address, $source) = getnameinfo($from, NI_NUMERICHOST | NI_NUMERICSERV);
    $packet = srtp_open($packet, $keys) if $keys;
    check($packet =~ $pattern, 'a packet differs');
    my @found = grep { defined } ($packet =~ $pattern)[0 .. $#+ - 1];
    for (@found) { $_ = unpack(length == 2 ? 'n' : 'N', $_) if length == 2 || length == 4 }
    check($port == -1 || $port == $source, "a packet comes from port $source, not $port");
    return $port == -1 && @found ? ($source, $address, @found) : @found;
}

sub srtp_keys {
    my ($keys) = @_;
    die $WITHOUT_SRTP unless $has_srtp;
    $keys->{session} //= [ NGCP::Rtpclient::SRTP::gen_rtp_session_keys(
        NGCP::Rtpclient::SRTP::decode_inline_base64($keys->{key}, $keys->{cs})) ];
    my ($key, $authentication, $salt) = @{ $keys->{session} };
    return ($keys->{cs}, $key, $salt, $authentication, $keys->{roc});
}

sub srtp_snd {
    my ($socket, $port, $packet, $keys, $address) = @_;
    (my $sealed, $keys->{roc}) = NGCP::Rtpclient::SRTP::encrypt_rtp(srtp_keys($keys), '', 0, 0, 0, $packet);
    return snd($socket, $port, $sealed, $address);
}

sub srtp_open {
    my ($packet, $keys) = @_;
    (my $opened, $keys->{roc}, my $tag, my $computed) = NGCP::Rtpclient::SRTP::decrypt_rtp(srtp_keys($keys), $packet);
    check($tag eq substr($computed, 0, length $tag), 'SRTP is not authentic');
    return $opened;
}

sub srtp_rcv { return rcv(@_) }
sub srtp_dec { my ($packet, $keys) = @_[6, 7]; return srtp_open($packet, $keys) }

sub rcv_no {
    my ($socket) = @_;
    Time::HiRes::sleep(0.1);
    return check(!defined $socket->recv(my $packet, 65_535, MSG_DONTWAIT), 'a packet arrives that should not');
}

sub rcv_maybe { my ($socket) = @_; Time::HiRes::sleep(0.1); $socket->recv(my $packet, 65_535, MSG_DONTWAIT); return 1 }

# One call of a script; prints a line: its outcome, its first line in the script, its title, what failed first.
sub T::run {
    my ($line, $title, $code) = @_;
    @failures = ();
    local $SIG{__WARN__} = sub { };
    local $SIG{ALRM} = sub { die "it hangs\n" };
    alarm $PATIENCE_S;
    eval { $code->(); 1 } or push @failures, $@;
    alarm 0;
    my $why = @failures ? $failures[0] =~ s/\s+/ /gr : '';
    print join("\t", @failures ? 'failed' : 'passed', $line, $title, substr $why, 0, 200), "\n";
    return;
}

1;
