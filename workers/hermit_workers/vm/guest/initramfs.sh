#!/bin/busybox sh
# The first process of every VM: finds the image and the build's own disk, lays one over the other and goes on there.
# /bin/busybox is all there is, with applets by name; the build's disks are found by serial and never by their place.
# shellcheck shell=dash
bb=/bin/busybox
say() { read -r up _ </proc/uptime; echo "hermit: $up $*"; }
die() { say "failed: $*"; $bb poweroff -f; }
$bb mkdir -p /proc /sys /dev /image /scratch /new
$bb mount -t proc proc /proc
$bb mount -t sysfs sys /sys
$bb mount -t devtmpfs dev /dev
say kernel
read -r words </proc/cmdline # what the shell itself does takes no process, which is slow where it is emulated
for word in $words; do
    case $word in
    # Nothing more is asked of a machine that is only tried: that it boots this kernel to here.
    hermit.probe=*) say "probe ${word#hermit.probe=}"; $bb poweroff -f ;;
    hermit.clock=*) clock=${word#hermit.clock=} ;;
    esac
done
# Under KVM the kernel takes its time from the host and not from the clock that the machine was given.
[ -z "$clock" ] || $bb date -u -s "@$clock" >/dev/null || die "the clock cannot be set to $clock"
while read -r module; do
    $bb insmod "/modules/$module" || die "the module $module is not of this kernel"
done </modules.order
say modules
image='' scratch='' data=''
for disk in /sys/block/vd*; do
    # A serial has no end of line, so that read(1) fails and still has it.
    read -r serial <"$disk/serial"
    case $serial in
    hermit-image) image=/dev/${disk##*/} ;;
    hermit-scratch) scratch=/dev/${disk##*/} ;;
    hermit-data) data=/dev/${disk##*/} ;;
    esac
done
[ -n "$image" ] || die "no disk has the serial hermit-image"
[ -n "$scratch" ] || die "no disk has the serial hermit-scratch"
[ -n "$data" ] || die "no disk has the serial hermit-data"
$bb mount -t ext4 -o ro "$image" /image || die "the image cannot be mounted"
# The inode tables that mke2fs left for later stay unwritten: nobody needs them before the disk is thrown away.
$bb mount -t ext4 -o noatime,nobarrier,noinit_itable "$scratch" /scratch || die "the scratch disk cannot be mounted"
$bb mkdir -p /scratch/upper /scratch/work
$bb mount -t overlay -o lowerdir=/image,upperdir=/scratch/upper,workdir=/scratch/work overlay /new ||
    die "the image and the scratch disk cannot be laid over each other"
say root
# A tar, read from the disk as from a tape: no file system of the host's making is between.
$bb tar -x -f "$data" -C /new || die "the data disk holds no tar"
say data
$bb mount --move /dev /new/dev
$bb umount /sys /proc
$bb cp /bin/busybox /init2 /new/run/ 2>/dev/null || die "the image has no /run"
exec $bb switch_root /new /run/busybox sh /run/init2
