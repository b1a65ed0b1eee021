# The first process once the image is the root: what a build sees of its machine is made here, then the build's own
# program runs, and when that ends the machine does.
bb=/run/busybox
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 TZ=UTC HOME=/root
say() { read -r up _ </proc/uptime; echo "hermit: $up $*" >/dev/console; }
$bb mount -t proc -o nosuid,nodev,noexec proc /proc
$bb mount -t sysfs -o nosuid,nodev,noexec,ro sys /sys
$bb mkdir -p /dev/pts /dev/shm
$bb mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
$bb mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs /dev/shm
$bb hostname hermit
processes=max
read -r words </proc/cmdline
for word in $words; do
    case $word in hermit.processes=*) processes=${word#hermit.processes=} ;; esac
done
umask 022
$bb ip link set lo up
if [ -e /sys/class/net/eth0 ]; then
    $bb ip addr add 10.0.2.15/24 dev eth0
    $bb ip link set eth0 up
fi
say ready
if [ -e /run/hermit-agent/agent.pl ] && [ -x /usr/bin/perl ]; then
    # What counts the build's processes, root's too. Two open files are all that stays of it: the build's root could
    # write to what is mounted. The folder is closed by the agent, as soon as redirect.pl has used it.
    group=/run/hermit-group
    $bb mkdir $group && $bb mount -t cgroup2 group $group && echo +pids >$group/cgroup.subtree_control &&
        $bb mkdir $group/build && echo "$processes" >$group/build/pids.max &&
        exec 7<$group 8>$group/build/cgroup.procs 9<$group/build/pids.events && $bb umount -l $group && $bb rmdir $group
    if [ -e $group ]; then
        say "failed: the kernel counts no processes (cgroup2, pids)"
        $bb poweroff -f
    fi
    # The build is run from outside. Nothing of Hermit's stays in the tree, as there is nothing in a sandbox's.
    $bb rmdir /lost+found # every file system of this kind begins with one
    $bb rm /run/init2 "$bb"
    # Not every image has more than this one, and Perl says so at length.
    LC_ALL=C exec /usr/bin/perl /run/hermit-agent/agent.pl 10.0.2.2:9989 8 9 7
elif [ -e /run/hermit-agent/agent.pl ]; then
    say "failed: the image has no /usr/bin/perl (package perl-base), which runs the agent"
elif [ -x /run/hermit/start ]; then
    /run/hermit/start </dev/null >/dev/console 2>&1
    say "ended $?"
    # Artifacts leave as a tar on a disk: the host reads no file system that this machine wrote.
    for disk in /sys/block/vd*; do
        if [ "$($bb cat "$disk/serial")" != hermit-out ] || [ ! -d /run/hermit/out ]; then continue; fi
        if $bb tar -c -f "/dev/${disk##*/}" -C /run/hermit/out .; then say packed; else say "failed: no room for artifacts"; fi
    done
else
    say "failed: the data disk has no /run/hermit/start"
fi
$bb sync
$bb poweroff -f
