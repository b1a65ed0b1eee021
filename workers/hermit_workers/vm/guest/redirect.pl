# Spares the guest's forwarder (forward.pl) the carrying: two programs in the kernel give a connection to FROM:PORT the
# address TO before it is made, two more say FROM again to who asks for the other end. They belong to the control group
# whose open folder is descriptor FOLDER, and to all below it: agent.pl gives the root of all groups.
#
#     perl redirect.pl FROM TO PORT FOLDER
#
# An optimisation that has no say: the wire is what decides where a guest gets to. Where the kernel has no such programs, or
# they do not apply (a socket bound to an address, another network namespace), all is as it was: the forwarder listens.
# No module is loaded, as in agent.pl; numbers are of Linux and of x86-64.
package redirect;

sub CLOSE() { 3 } sub GETSOCKOPT() { 55 } sub BPF() { 321 }
sub PROG_LOAD() { 5 } sub PROG_ATTACH() { 8 } sub CGROUP_SOCK_ADDR() { 18 }
sub CONNECT4() { 10 } sub CONNECT6() { 11 } sub GETPEERNAME4() { 29 } sub GETPEERNAME6() { 30 }
sub PF_INET() { 2 } sub SOCK_STREAM() { 1 } sub IPPROTO_TCP() { 6 }
sub SOL_SOCKET() { 1 } sub SO_NETNS_COOKIE() { 71 } sub GET_NETNS_COOKIE() { 122 }
# Where things are in struct bpf_sock_addr, and in the struct bpf_sock that it points to.
sub IP4() { 4 } sub IP6() { 8 } sub PORT() { 24 } sub PROTOCOL() { 36 } sub SOCK() { 64 } sub SOURCE() { 24 }
# What instructions do: a register becomes four or eight bytes of memory, or goes there; it becomes a number, a number of
# eight bytes, or another register; go on only if a register's lower half is a number, or all of it another register; call
# a function of the kernel's; end.
sub LOAD() { 0x61 } sub LOAD64() { 0x79 } sub STORE() { 0x63 }
sub SET() { 0xb7 } sub SET64() { 0x18 } sub COPY() { 0xbf }
sub UNLESS() { 0x56 } sub UNLESS_SAME() { 0x5d } sub CALL() { 0x85 } sub LEAVE() { 0x95 }

my ($from, $to, $port, $folder) = @ARGV;
unlink __FILE__;
(my $near, my $far, $port) = (word(split /\./, $from), word(split /\./, $to), unpack 'S', pack 'n', $port);
my @mapped = ([IP6, 0], [IP6 + 4, 0], [IP6 + 8, word(0, 0, 255, 255)]);    # ::ffff:0:0/96, Java's
my @here = namespace();
my $failed
    = attach(CONNECT4, program(1, IP4, $near, $far))
    || attach(CONNECT6, program(1, IP6 + 12, $near, $far, @mapped))
    || attach(GETPEERNAME4, program(0, IP4, $far, $near))
    || attach(GETPEERNAME6, program(0, IP6 + 12, $far, $near, @mapped));
warn "redirect: not all that goes to $from is redirected: $failed\n" if $failed;

# Puts `new` where the address is `old`, the port is the one, and the `others` are as they are to be.
sub program {
    my ($unbound, $place, $old, $new, @others) = @_;
    my @steps = (
        [COPY, 6, 1],    # r6: what the program is given
        [CALL, 0, 0, 0, GET_NETNS_COOKIE],
        [SET64, 7, 0, 0, $here[0]], [0, 0, 0, 0, $here[1]],
        [UNLESS_SAME, 0, 7],
    );
    push @steps, [LOAD, 2, 6, $_->[0]], [UNLESS, 2, 0, undef, $_->[1]]
        for [PROTOCOL, IPPROTO_TCP], [PORT, $port], [$place, $old], @others;
    # From a loopback address nothing leaves.
    push @steps, [LOAD64, 2, 6, SOCK], [LOAD, 2, 2, SOURCE], [UNLESS, 2] if $unbound;
    push @steps, [SET, 2, 0, 0, $new], [STORE, 6, 2, $place];
    for my $at (0 .. $#steps) {
        $steps[$at][3] = $#steps - $at if $steps[$at][0] == UNLESS || $steps[$at][0] == UNLESS_SAME;    # to the end
    }
    return join '', map { instruction(@$_) } @steps, [SET, 0, 0, 0, 1], [LEAVE];    # it may go on
}

# Gives eight bytes: what to do, with which registers, how far to go or where to look, and a number.
sub instruction {
    my ($code, $into, $of, $offset, $number) = map { $_ // 0 } @_[0 .. 4];
    return pack 'C C s l', $code, $into | $of << 4, $offset, $number;
}

# Gives what the kernel calls the network namespace that this runs in, in two halves.
sub namespace {
    socket my $socket, PF_INET, SOCK_STREAM, 0 or return (0, 0);
    my ($cookie, $length) = ("\0" x 8, pack 'L', 8);    # no other length will do, and Perl's own call has another
    syscall GETSOCKOPT, fileno $socket, SOL_SOCKET, SO_NETNS_COOKIE, $cookie, $length;
    return unpack 'l2', $cookie;
}

# Gives an address as the kernel's programs see it: in the order of the network.
sub word { return unpack 'l', pack 'C4', @_ }

# Loads a program and attaches it, for as long as the group is there; says what went wrong.
sub attach {
    my ($hook, $program) = @_;
    my $license = "\0";
    my $load = pack 'L2 P P x8 x8 x8 x16 x4 L', CGROUP_SOCK_ADDR, length($program) / 8, $program, $license, $hook;
    my $descriptor = syscall BPF, PROG_LOAD, $load, length $load;
    return "bpf: $!" if $descriptor < 0;
    my $where = pack 'L4', $folder, $descriptor, $hook, 0;
    my $failed = syscall(BPF, PROG_ATTACH, $where, length $where) < 0 ? "cgroup: $!" : '';
    syscall CLOSE, $descriptor;
    return $failed;
}
1;
