# Carries connections from the guest's own 127.0.0.1:3128, where builds see the proxy in every cell, to the host's end of the
# wire. The listening socket is descriptor 0; HOST and PORT are the arguments. agent.pl runs it in a child of its own.
# No module is loaded, as there.
package forward;

sub PIECE() { 1 << 16 }
sub EINTR() { 4 } sub EAGAIN() { 11 } sub EINPROGRESS() { 115 }
sub F_GETFL() { 3 } sub F_SETFL() { 4 } sub O_NONBLOCK() { 04000 }
sub PF_INET() { 2 } sub SOCK_STREAM() { 1 } sub SOL_SOCKET() { 1 } sub SO_ERROR() { 4 }
sub IPPROTO_TCP() { 6 } sub TCP_NODELAY() { 1 }
my $to = pack 'S n C4 x8', PF_INET, $ARGV[1], split /\./, $ARGV[0];
open my $listening, '+<&=', 0 or die "forward: $!\n";
unlink __FILE__;
(my $folder = __FILE__) =~ s{/[^/]*$}{};
rmdir $folder;
unblock($listening);
$SIG{PIPE} = 'IGNORE';
my %ends;    # by descriptor: file, other (its pair's), held (to be written here), over (no more comes), shut, dialling

while (1) {
    my ($readable, $writable) = ('', '');
    # Each connection is two descriptors; the sets of select(2) have 1024.
    vec($readable, fileno $listening, 1) = 1 if keys %ends < 1000;
    for my $number (keys %ends) {
        my $end = $ends{$number};
        vec($writable, $number, 1) = 1 if length $end->{held} || $end->{dialling};
        vec($readable, $number, 1) = 1 if !$end->{dialling} && !$end->{over} && length $ends{ $end->{other} }{held} < PIECE;
    }
    next if select($readable, $writable, undef, undef) < 0;
    take_one() if vec $readable, fileno $listening, 1;
    for my $number (keys %ends) {
        put($number) if $ends{$number} && vec $writable, $number, 1;
        get($number) if $ends{$number} && vec $readable, $number, 1;
    }
}

sub take_one {
    accept my $near, $listening or return;
    socket my $far, PF_INET, SOCK_STREAM, 0 or return;
    for my $file ($near, $far) {
        unblock($file);
        setsockopt $file, IPPROTO_TCP, TCP_NODELAY, 1;
    }
    connect $far, $to or $! == EINPROGRESS or return;
    my ($one, $two) = (fileno $near, fileno $far);
    $ends{$one} = { file => $near, other => $two, held => '', over => 0, shut => 0, dialling => 0 };
    $ends{$two} = { file => $far, other => $one, held => '', over => 0, shut => 0, dialling => 1 };
}

sub get {
    my ($number) = @_;
    my ($end, $other) = ($ends{$number}, $ends{ $ends{$number}{other} });
    my $got = sysread $end->{file}, my $data, PIECE;
    if ($got) {
        $other->{held} .= $data;
        put($end->{other});
    }
    elsif (defined $got) {
        $end->{over} = 1;
        put($end->{other});
    }
    elsif ($! != EAGAIN && $! != EINTR) { drop($number) }
}

sub put {
    my ($number) = @_;
    my $end = $ends{$number};
    if ($end->{dialling}) {
        return drop($number) if unpack 'i', getsockopt $end->{file}, SOL_SOCKET, SO_ERROR;
        return unless getpeername $end->{file};
        $end->{dialling} = 0;
    }
    if (length $end->{held}) {
        my $done = syswrite $end->{file}, $end->{held};
        if (defined $done) { substr($end->{held}, 0, $done) = '' }
        elsif ($! != EAGAIN && $! != EINTR) { return drop($number) }
    }
    return if length $end->{held} || !$ends{ $end->{other} }{over} || $end->{shut};
    shutdown $end->{file}, 1;
    $end->{shut} = 1;
    drop($number) if $ends{ $end->{other} }{shut};    # both ways have ended
}

sub drop {
    my ($number) = @_;
    my $end = delete $ends{$number};
    my $other = delete $ends{ $end->{other} };
    close $_->{file} for $end, $other;
}

sub unblock {
    my ($file) = @_;
    fcntl $file, F_SETFL, fcntl($file, F_GETFL, 0) | O_NONBLOCK;
}
