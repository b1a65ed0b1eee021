# The first process of a VM whose build is run from outside: it runs what the host says and tells how that went.
# ../protocol.py says what is said, and is the end that believes nothing. Perl, because every Debian image has perl-base.
#
#     perl agent.pl HOST PORT      over TCP, in a VM: also carries 127.0.0.1:3128 to HOST:3128, see docs/decisions
#     perl agent.pl DESCRIPTOR     over an open socket, where a test runs it as the first of a pid namespace
use strict;
use warnings;
use Errno qw(EAGAIN EINTR);
use Fcntl qw(F_GETFL F_SETFL F_SETFD FD_CLOEXEC O_NONBLOCK);
use POSIX qw(:sys_wait_h);
use Socket qw(:DEFAULT IPPROTO_TCP TCP_NODELAY);

use constant { RUN => 1, INPUT => 2, SIGNAL => 3, CLEAR => 4 };
use constant { HELLO => 16, OUTPUT => 17, CLOSED => 18, EXITED => 19, FAILED => 20, CLEARED => 21 };
use constant { HEAD => 9, PIECE => 1 << 16, LAST => 1 << 17, MOST_OUT => 1 << 19, MOST_IN => 1 << 20 };

# It ends every process that it can see: that must never be the ones of a machine that is somebody's.
$$ == 1 or die "agent: only the first process of a VM, or of a pid namespace, may be the agent\n";

my ($place, $port) = @ARGV;
my $forwarder = defined $port ? start_forwarder($place) : 0;
my $channel = defined $port ? dial($place, $port) : inherit($place);
my ($in, $out, $waiting) = ('', '', 0);    # from the host, to the host, and input that no command has read yet
my %runs;                                  # by number: pid, read, write, input, ended, status
my %numbers;                               # of the runs, by pid

defined $port and remove_self();
umask 022;
$SIG{PIPE} = 'IGNORE';
unblock($channel);
# A child's end wakes select up; one that comes right before it is seen to a moment later.
$SIG{CHLD} = sub { };

say_frame(HELLO, 0, 'hermit-agent 1');
while (1) {
    my ($readable, $writable) = ('', '');
    watch(\$readable, $channel) if $waiting < MOST_IN;
    watch(\$writable, $channel) if length $out;
    for my $run (values %runs) {
        watch(\$readable, $run->{read}) if $run->{read} && length($out) < MOST_OUT;
        watch(\$writable, $run->{write}) if $run->{write} && (length $run->{input} || $run->{ended});
    }
    my $ready = select $readable, $writable, undef, 0.25;
    collect();
    next if $ready <= 0;
    write_out() if is_in($writable, $channel);
    if (is_in($readable, $channel)) {
        my $got = sysread $channel, $in, PIECE, length $in;
        leave() if defined $got ? !$got : !again();
        while (length $in >= HEAD) {
            my ($kind, $number, $length) = unpack 'CNN', $in;
            last if length $in < HEAD + $length;
            my $payload = substr $in, HEAD, $length;
            substr($in, 0, HEAD + $length) = '';
            obey($kind, $number, $payload);
        }
    }
    for my $number (keys %runs) {
        my $run = $runs{$number};
        read_output($number, $run, PIECE) if $run->{read} && is_in($readable, $run->{read});
        write_input($run) if $run->{write} && is_in($writable, $run->{write});
    }
}

sub obey {
    my ($kind, $number, $payload) = @_;
    if ($kind == RUN) { start($number, $payload) }
    elsif ($kind == CLEAR) { clear() }
    elsif (my $run = $runs{$number}) {
        if ($kind == SIGNAL) { kill unpack('C', $payload), $run->{pid} if $run->{pid} }
        elsif ($kind == INPUT && $run->{write} && !$run->{ended}) {
            $run->{input} .= $payload;
            $run->{ended} = 1 if $payload eq '';
            $waiting += length $payload;
        }
    }
}

sub start {
    my ($number, $payload) = @_;
    my ($folder, $stdin, $count, @words) = split /\0/, $payload, -1;
    pop @words;    # what follows the last zero byte
    my @variables = splice @words, 0, $count;
    my ($given, $write);
    if ($stdin) { pipe($given, $write) or return say_frame(FAILED, $number, "pipe: $!") }
    else { open $given, '<', '/dev/null' or return say_frame(FAILED, $number, "/dev/null: $!") }
    pipe(my $read, my $printed) or return say_frame(FAILED, $number, "pipe: $!");
    pipe(my $told, my $tell) or return say_frame(FAILED, $number, "pipe: $!");
    my $pid = fork;
    return say_frame(FAILED, $number, "fork: $!") unless defined $pid;
    become($given, $printed, $tell, $folder, \@variables, \@words) if !$pid;
    close $_ for $given, $printed, $tell;
    my $why = '';
    while (1) {    # until exec has closed it
        my $got = sysread $told, $why, PIECE, length $why;
        last if defined $got ? !$got : !$!{EINTR};
    }
    if (length $why) {
        waitpid $pid, 0;
        return say_frame(FAILED, $number, substr $why, 0, 1000);
    }
    unblock($_) for grep { defined } $read, $write;
    $runs{$number} = { pid => $pid, read => $read, write => $write, input => '', ended => 0 };
    $numbers{$pid} = $number;
}

sub become {
    my ($given, $printed, $tell, $folder, $variables, $words) = @_;
    $SIG{PIPE} = $SIG{CHLD} = 'DEFAULT';
    POSIX::setsid();
    POSIX::dup2(fileno $given, 0);
    POSIX::dup2(fileno $printed, $_) for 1, 2;
    %ENV = map { split /=/, $_, 2 } @$variables;
    if (!chdir $folder) { syswrite $tell, "$folder: $!" }
    else {
        no warnings 'exec';
        exec { $words->[0] } @$words or syswrite $tell, "$words->[0]: $!";
    }
    POSIX::_exit(127);
}

sub read_output {
    my ($number, $run, $most) = @_;
    my $data;
    my $got = sysread $run->{read}, $data, $most;
    if ($got) { say_frame(OUTPUT, $number, $data) }
    elsif (defined $got || !again()) {
        close $run->{read};
        $run->{read} = undef;
        say_frame(CLOSED, $number, '');
        forget($number, $run);
    }
    return $got;
}

sub write_input {
    my ($run) = @_;
    if (length $run->{input}) {
        my $put = syswrite $run->{write}, $run->{input}, PIECE;
        if (defined $put) { substr($run->{input}, 0, $put) = ''; $waiting -= $put }
        elsif (!again()) { end_input($run) }    # nobody reads it any more
    }
    end_input($run) if $run->{ended} && $run->{write} && !length $run->{input};
}

sub end_input {
    my ($run) = @_;
    $waiting -= length $run->{input};
    close $run->{write};
    @$run{qw(write input)} = (undef, '');
}

# Every process of the machine whose parent has gone is the first one's child, too.
sub collect {
    while ((my $pid = waitpid(-1, WNOHANG)) > 0) {
        my $status = $?;
        my $number = delete $numbers{$pid};
        next unless defined $number;
        my $run = $runs{$number};
        # What it printed comes before how it ended; of what others go on to print, no more than a pipe holds.
        my $left = LAST;
        while ($run->{read} && $left > 0) { $left -= read_output($number, $run, PIECE) || last }
        end_input($run) if $run->{write};
        $run->{pid} = 0;
        say_frame(EXITED, $number, pack 'C', $status & 127 ? 128 + ($status & 127) : $status >> 8);
        forget($number, $run);
    }
}

sub forget {
    my ($number, $run) = @_;
    delete $runs{$number} if !$run->{pid} && !$run->{read};
}

sub clear {
    # The kernel spares the first process. A process that is being made while this is sent gets it as well.
    do { kill 'KILL', -1; collect(); select undef, undef, undef, 0.005 } while others();
    say_frame(CLEARED, 0, '');
}

# Tells whether there is a process but the first and the kernel's own, which have no command line, and no dead ones.
sub others {
    opendir my $proc, '/proc' or return 0;
    for my $pid (grep { /^[0-9]+$/ && $_ != 1 } readdir $proc) {
        open my $file, '<', "/proc/$pid/stat" or next;
        my ($state, $flags) = (<$file> // '') =~ /^.*\) (\S) (?:\S+ ){5}(\d+)/s or next;
        return 1 unless $state =~ /[ZX]/ || $flags & 0x00200000;    # PF_KTHREAD
    }
    return 0;
}

sub say_frame {
    my ($kind, $number, $payload) = @_;
    $out .= pack('CNN', $kind, $number, length $payload) . $payload;
    write_out();
}

sub write_out {
    return unless length $out;
    my $put = syswrite $channel, $out, PIECE;
    if (defined $put) { substr($out, 0, $put) = '' }
    elsif (!again()) { leave() }
}

# The end of the first process is the end of the machine.
sub leave { POSIX::_exit(0) }

sub again { return $!{EAGAIN} || $!{EINTR} }
sub watch { my ($set, $file) = @_; vec($$set, fileno $file, 1) = 1 }
sub is_in { my ($set, $file) = @_; return vec $set, fileno $file, 1 }

sub unblock {
    my ($file) = @_;
    fcntl $file, F_SETFL, fcntl($file, F_GETFL, 0) | O_NONBLOCK or die "agent: fcntl: $!\n";
    fcntl $file, F_SETFD, FD_CLOEXEC;
}

sub inherit {
    my ($number) = @_;
    open my $socket, '+<&=', $number or die "agent: no descriptor $number: $!\n";
    return $socket;
}

# A build finds nothing of Hermit's in its tree; forward.pl does the same.
sub remove_self {
    unlink $0;
    (my $folder = $0) =~ s{/[^/]*$}{};
    rmdir $folder;
}

sub dial {
    my ($host, $at) = @_;
    socket my $socket, PF_INET, SOCK_STREAM, 0 or die "agent: socket: $!\n";
    connect $socket, pack_sockaddr_in($at, inet_aton($host)) or die "agent: $host:$at: $!\n";
    setsockopt $socket, IPPROTO_TCP, TCP_NODELAY, 1;
    return $socket;
}

sub start_forwarder {
    my ($host) = @_;
    (my $script = $0) =~ s{[^/]*$}{forward.pl};
    socket my $listening, PF_INET, SOCK_STREAM, 0 or die "agent: socket: $!\n";
    setsockopt $listening, SOL_SOCKET, SO_REUSEADDR, 1;
    bind $listening, pack_sockaddr_in(3128, INADDR_LOOPBACK) or die "agent: 127.0.0.1:3128: $!\n";
    listen $listening, 4096 or die "agent: 127.0.0.1:3128: $!\n";
    my $pid = fork // die "agent: fork: $!\n";
    return $pid if $pid;
    POSIX::setsid();
    POSIX::dup2(fileno $listening, 0);
    exec $^X, $script, $host, 3128 or die "agent: $script: $!\n";
}
