#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The overflow file on a disk that is well, full and bad: cold pages are
# written out, and each failure is that of the pages concerned and of no others.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/nbd-lib.sh"
requires_fuse
requires qemu-io --version

start_faultfs
start_export disk --size 128M --overflow "$tmp/disk/overflow"

io() {
	qemu-io -f raw "$@" "$nbd_uri"
}
# Pages that no codec makes smaller: write_pages NAME OFFSET-IN-MIB MIB
write_pages() {
	head -c "$3M" /dev/urandom >"$tmp/$1"
	io -c "write -q -s $tmp/$1 $2M $3M"
}
same_pages() {
	nbdcopy "$nbd_uri" "$tmp/all"
	cmp -n "$(stat -c %s "$tmp/$1")" -i "0:$(($2 << 20))" "$tmp/$1" \
		"$tmp/all" || fail "$1 reads otherwise than it was written"
}
wrote_out() {
	(($(nbd_stat disk written_out) > $1))
}

# More than the budget: what came first goes to the file, in few large writes,
# and what comes later finds room.
write_pages first 0 32
wait_for 60 wrote_out 1000 || fail "no cold pages were written out"
(($(nbd_stat disk overflow_errors) == 0)) || fail "the overflow file failed"
same_pages first 0
read -r _ requests bytes < <(grep ^write "$tmp/disk/control")
((bytes / requests >= 4 * 4096)) ||
	fail "$bytes bytes were written by $requests requests: nothing was merged"

# A bad disk: reads of what is in the file fail, and say so, until it is well.
disk fail read 0 $((32 << 20))
! nbdcopy "$nbd_uri" "$tmp/all" 2>"$tmp/said" || fail "a bad disk was read"
grep -q "Input/output error" "$tmp/said" || fail "said: $(<"$tmp/said")"
grep -q "reading page .* failed: Input/output error" "$tmp"/*.log ||
	fail "the error was not logged"
disk well
same_pages first 0

# A full disk: writes fail that find no room, with the right error, and all that
# was written before is there; it is no error for long.
errors=$(nbd_stat disk overflow_errors)
disk space $(($(stat -c '%b * 512' "$tmp/below/overflow") + (1 << 20)))
head -c 64M /dev/urandom >"$tmp/second"
! io -c "write -s $tmp/second 32M 64M" >"$tmp/said" 2>&1 ||
	fail "64 MiB were written to a full disk"
grep -q "No space left on device" "$tmp/said" || fail "said: $(<"$tmp/said")"
(($(nbd_stat disk overflow_errors) > errors)) || fail "no error was counted"
same_pages first 0
disk well
io -c "write -q -s $tmp/second 32M 64M" || fail "the disk is not full any more"
same_pages second 32

# Trimmed, nothing is left of either.
io -c "discard -q 0 128M"
nbdcopy "$nbd_uri" "$tmp/all"
cmp -n $((128 << 20)) "$tmp/all" /dev/zero || fail "trimmed pages are not zeros"
(($(stat -c %b "$tmp/below/overflow") * 512 < 1 << 20)) ||
	fail "trimmed pages keep their slots"

# What is held above a smaller budget is written out.
if [[ $where == hosted ]]; then
	write_pages third 0 12
	admin set --budget 6M 2>"$tmp/said" || true
	within_budget() {
		(($(stat_of .host.used) <= 6 << 20))
	}
	wait_for 60 within_budget || fail "the budget was not reached"
	same_pages third 0
fi
