#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# Runs as the guest's command: every line "e2e: ok NAME" or "e2e: not ok NAME:
# reason" becomes a test of test-debian. Quick commands of the shell first, the C
# programs then, at last the kernel's log.

ok() { echo "e2e: ok $1"; }
bad() { echo "e2e: not ok $1: $2"; }

# expect NAME WANTED COMMAND...: the command prints this.
expect()
{
	name=$1 wanted=$2
	shift 2
	got=$("$@" 2>&1)
	if [ "$got" = "$wanted" ]; then ok "$name"; else bad "$name" "$got"; fi
}

pipeline() { seq 1 2000 | sort -rn | head -n 1000 | tail -n 1 | tr 1 x; }
hash_of_data() { yes popf | head -c 1000000 | sha256sum | cut -c 1-16; }
subshells() { i=0; while [ "$i" -lt 40 ]; do i=$(sh -c "echo \$(($i + 1))"); done; echo "$i"; }
compress() { seq 1 20000 | gzip | gunzip | md5sum | cut -c 1-8; }
trapped() { sh -c 'trap "echo got it; exit 3" USR1; kill -USR1 $$; sleep 1'; echo $?; }
background() { for i in 1 2 3 4 5; do (sleep 0.1; true) & done; wait; echo 'done'; }

expect shell_pipeline x00x pipeline
expect hash_of_data 137ebdba76d0d642 hash_of_data
expect subshells 40 subshells
expect compression e071f707 compress
expect shell_trap 'got it
3' trapped
expect background_jobs 'done' background
expect machine x86_64 uname -m

if grep -q '^LOC:' /proc/interrupts; then
	ok interrupts_are_counted
else
	bad interrupts_are_counted "$(head -n 3 /proc/interrupts)"
fi

/e2e/check64
/e2e/check32

# The kernel patches itself: static keys, ftrace, kprobes.
flip_static_key()
{
	for i in 1 2 3 4 5; do
		echo 1 >/proc/sys/kernel/sched_schedstats || return 1
		echo 0 >/proc/sys/kernel/sched_schedstats || return 1
	done
	echo flipped
}
expect static_key flipped flip_static_key

tracing=/sys/kernel/tracing
mount -t tracefs tracefs $tracing 2>/dev/null
trace_functions()
{
	echo 'vfs_*' >$tracing/set_ftrace_filter || return 1
	echo function >$tracing/current_tracer || return 1
	cat /etc/passwd >/dev/null
	# a new tracer, and the removal of a probe, empty the buffer
	grep -q vfs_read $tracing/trace || echo 'vfs_read was not seen'
	echo nop >$tracing/current_tracer
	echo traced
}
probe_kernel()
{
	echo 'p:e2e vfs_open' >$tracing/kprobe_events || return 1
	echo 1 >$tracing/events/kprobes/e2e/enable
	for i in 1 2 3 4 5; do cat /etc/passwd >/dev/null; done
	echo 0 >$tracing/events/kprobes/e2e/enable
	hits=$(grep -c e2e: $tracing/trace)
	[ "$hits" -ge 5 ] || echo "only $hits hits"
	echo >$tracing/kprobe_events
	echo probed
}
if [ -e $tracing/current_tracer ]; then
	expect ftrace traced trace_functions
	echo >$tracing/trace
fi
if [ -e $tracing/kprobe_events ]; then
	expect kprobe probed probe_kernel
fi

bad='WARNING|BUG:|Oops|stall|lockup|hung|general protection|unhandled'
complaints=$(dmesg | grep -iE "$bad|clocksource.*unstable")
if [ -z "$complaints" ]; then
	ok kernel_log_is_clean
else
	bad kernel_log_is_clean "$(echo "$complaints" | head -n 1)"
	echo "$complaints"
fi
echo "e2e: kernel at $(grep -m 1 ' _text$' /proc/kallsyms | cut -d ' ' -f 1)"
echo "e2e: clock $(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)"
dmesg >/tmp/dmesg; echo "e2e: boot $(grep -m 1 'Run /init' /tmp/dmesg)"
echo 'e2e: end'
