# The first process of a VM whose build is run from outside: it runs what the host says and tells how that went.
# ../protocol.py says what is said, and is the end that believes nothing. Perl, because every Debian image has perl-base.
#
#     perl agent.pl HOST:PORT MEMBERS EVENTS GROUPS   over TCP, in a VM: also carries 127.0.0.1:3128 to HOST:3128
#     perl agent.pl SOCKET [MEMBERS EVENTS]           over an open socket, where a test runs it first of a pid namespace
#
# SOCKET, MEMBERS and EVENTS are descriptors, the last two cgroup.procs and pids.events of the group that the build is in.
# GROUPS is another, the folder of the root of all groups; no process but this one is there yet.
#
# No module is loaded, of which each takes a tenth of a second where a machine is emulated: so the kernel's words are
# numbers here, of Linux and of x86-64. The tests run it with -Mstrict and -Mwarnings.
sub RUN() { 1 } sub INPUT() { 2 } sub SIGNAL() { 3 } sub CLEAR() { 4 } sub LEASE() { 5 }
sub HELLO() { 16 } sub OUTPUT() { 17 } sub CLOSED() { 18 } sub EXITED() { 19 } sub FAILED() { 20 } sub CLEARED() { 21 }
sub EXCEEDED() { 22 } sub LEASED() { 23 }
sub HEAD() { 9 } sub PIECE() { 1 << 16 } sub LAST() { 1 << 17 } sub MOST_OUT() { 1 << 19 } sub MOST_IN() { 1 << 20 }

sub EINTR() { 4 } sub EAGAIN() { 11 }
sub F_SETFD() { 2 } sub F_GETFL() { 3 } sub F_SETFL() { 4 } sub FD_CLOEXEC() { 1 } sub O_NONBLOCK() { 04000 }
sub PF_INET() { 2 } sub SOCK_STREAM() { 1 } sub SOL_SOCKET() { 1 } sub SO_REUSEADDR() { 2 } sub WNOHANG() { 1 }
sub IPPROTO_TCP() { 6 } sub TCP_NODELAY() { 1 }
sub CLOSE() { 3 } sub DUP2() { 33 } sub SETSID() { 112 } sub CLOCK_SETTIME() { 227 } sub EXIT_GROUP() { 231 }
sub RTC_SET_TIME() { 0x4024700a } sub RNDRESEEDCRNG() { 0x5207 }

# It ends every process that it can see: that must never be the ones of a machine that is somebody's.
$$ == 1 or die "agent: only the first process of a VM, or of a pid namespace, may be the agent\n";

my ($place, $members, $events, $groups) = @ARGV;
my ($host, $port) = split /:/, $place;
$members = inherit('>', $members) if defined $members;
$events = inherit('<', $events) if defined $events;
redirect($host, $groups) if defined $groups;
start_forwarder($host) if defined $port;
my $channel = defined $port ? dial($host, $port) : inherit('+<', $place);
my ($in, $out, $waiting) = ('', '', 0);    # from the host, to the host, and input that no command has read yet
my %runs;                                  # by number: pid, read, write, input, ended, status
my %numbers;                               # of the runs, by pid
my %kept = defined $events ? kept() : ();  # how often the kernel has kept a limit, by the limit's letter
my $looked = 0;                            # in which second

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
    if (time != $looked) { tell_kept(); $looked = time }
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
    elsif ($kind == LEASE) { lease($payload) }
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
        last if defined $got ? !$got : $! != EINTR;
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
    syscall SETSID;
    if (defined $members && !syswrite $members, "0") {    # whoever writes this joins
        syswrite $tell, "the group of its processes: $!";
        syscall EXIT_GROUP, 127;
    }
    syscall DUP2, fileno $given, 0;
    syscall DUP2, fileno $printed, $_ for 1, 2;
    %ENV = map { split /=/, $_, 2 } @$variables;
    if (!chdir $folder) { syswrite $tell, "$folder: $!" }
    else { exec { $words->[0] } @$words or syswrite $tell, "$words->[0]: $!" }
    syscall EXIT_GROUP, 127;
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
        tell_kept();
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

# What the kernel refused or ended since the last look comes before the end of the command that it happened to.
sub tell_kept {
    return unless defined $events;
    my %now = kept();
    for my $limit (sort keys %now) { say_frame(EXCEEDED, 0, $limit) if $now{$limit} > $kept{$limit} }
    %kept = %now;
}

sub kept {
    my %now = (m => 0, p => 0);
    sysseek $events, 0, 0;
    my $text;
    $now{p} = $1 if sysread($events, $text, 1 << 12) && $text =~ /^max (\d+)/m;
    open my $counters, '<', '/proc/vmstat' or return %now;
    /^oom_kill (\d+)/ and $now{m} = $1 while <$counters>;
    return %now;
}

# A machine that has waited for its build becomes what one is that was started for it: its time is the build's, and no
# more of its chance is known to anybody than of another's.
sub lease {
    my ($seconds, $chance) = unpack 'Q> a*', shift;
    my $failed = '';
    syscall(CLOCK_SETTIME, 0, pack 'q2', $seconds, 0) == 0 or $failed = "clock_settime: $!";
    if (open my $clock, '<', '/dev/rtc0') { ioctl $clock, RTC_SET_TIME, pack 'i9', gmtime $seconds }
    utime $seconds, $seconds, '/', '/run' if !$failed;
    open my $urandom, '>', '/dev/urandom' or $failed ||= "/dev/urandom: $!";
    if (!$failed) { syswrite $urandom, $chance; ioctl $urandom, RNDRESEEDCRNG, 0 or $failed = "RNDRESEEDCRNG: $!" }
    say_frame(LEASED, 0, $failed);
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
sub leave { syscall EXIT_GROUP, 0 }

sub again { return $! == EAGAIN || $! == EINTR }
sub watch { my ($set, $file) = @_; vec($$set, fileno $file, 1) = 1 }
sub is_in { my ($set, $file) = @_; return vec $set, fileno $file, 1 }

sub unblock {
    my ($file) = @_;
    fcntl $file, F_SETFL, fcntl($file, F_GETFL, 0) | O_NONBLOCK or die "agent: fcntl: $!\n";
    fcntl $file, F_SETFD, FD_CLOEXEC;
}

sub inherit {
    my ($way, $number) = @_;
    open my $file, "$way&=", $number or die "agent: no descriptor $number: $!\n";
    fcntl $file, F_SETFD, FD_CLOEXEC;
    return $file;
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
    connect $socket, address($host, $at) or die "agent: $host:$at: $!\n";
    setsockopt $socket, IPPROTO_TCP, TCP_NODELAY, 1;
    return $socket;
}

sub address {
    my ($host, $at) = @_;
    return pack 'S n C4 x8', PF_INET, $at, split /\./, $host;
}

# Where that fails, the forwarder has more to do.
sub redirect {
    my ($host, $groups) = @_;
    (my $script = $0) =~ s{[^/]*$}{redirect.pl};
    local @ARGV = ('127.0.0.1', $host, 3128, $groups);
    do $script or warn "agent: $script: $@$!\n";
    syscall CLOSE, 0 + $groups;
}

sub start_forwarder {
    my ($host) = @_;
    (my $script = $0) =~ s{[^/]*$}{forward.pl};
    socket my $listening, PF_INET, SOCK_STREAM, 0 or die "agent: socket: $!\n";
    setsockopt $listening, SOL_SOCKET, SO_REUSEADDR, 1;
    bind $listening, address('127.0.0.1', 3128) or die "agent: 127.0.0.1:3128: $!\n";
    listen $listening, 4096 or die "agent: 127.0.0.1:3128: $!\n";
    my $pid = fork // die "agent: fork: $!\n";
    return if $pid;
    syscall SETSID;
    syscall DUP2, fileno $listening, 0;
    # When memory runs out, it is the build's.
    if (open my $score, '>', '/proc/self/oom_score_adj') { syswrite $score, '-1000' }
    @ARGV = ($host, 3128);
    do $script;    # in this very process: Perl takes its time to start
    die "agent: $script: $@$!\n";
}
