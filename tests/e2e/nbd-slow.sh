#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# An overflow file on a disk that takes as long as the test wants: only requests
# that need it wait for it, also when clients do not read their replies or
# leave, and when the server ends. Of several pages, only that one fails which
# the disk cannot read, or has no room for.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/nbd-lib.sh"
requires_fuse
requires python3 --version

start_faultfs
start_export disk --size 128M --overflow "$tmp/disk/overflow"
# First of all: a server that waits for the disk does not end.
cleanup_fn disk well

# Not in the foreground: a signal would wait for its end.
python3 "$e2e_dir/nbd-slow.py" "$nbd_socket" "$tmp/disk" "$tmp/below" &
cleanup_fn stop_process "$!"
wait "$!"

# Each error is counted, and the log has a line for many.
errors=$(nbd_stat disk overflow_errors)
lines=$(cat "$tmp"/*.log | grep -c "the overflow file failed" || true)
((errors >= 68)) || fail "$errors errors were counted"
((lines > 0 && lines < errors / 2)) ||
	fail "$lines lines were logged of $errors errors"

# Of the last clients, requests are under way: their memory is the kernel's.
(($(nbd_stat disk connections) == 2)) ||
	fail "connections ended before their requests"
kill -TERM "$nbd_pid"
disk well
wait_for 30 gone "$nbd_pid" || fail "the server did not end"
