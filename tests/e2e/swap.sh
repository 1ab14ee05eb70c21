#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Swap on a tmem-nbd export of tmemd: a program in a memory cgroup too small
# for it finds all of its pages as it wrote them, from the store and from the
# overflow file.

. "$(dirname "$0")/lib.sh"
requires_swap
requires_loop
requires_fuse
requires nbdfuse --version
requires_memory 2048

mib=192 passes=2
[[ -z ${TMEM_TEST_FULL:-} ]] || mib=512 passes=10

# Whoever serves swap is not swapped.
servers=$(memcg_path "tmem-swap-servers-$$")
cleanup_fn memcg_free "$servers"
memcg_new "$servers"
memcg_noswap "$servers"
join_servers() {
	echo "$1" >"$servers/cgroup.procs"
}

# A budget that a part of the program's pages does not fit into.
start_tmemd --budget 32M
join_servers "$tmemd_pid"
start_nbd swap --tmemd "$tmemd_socket" --size 1G --overflow "$tmp/overflow"
join_servers "$nbd_pid"

# Cleaned up in this order: the program, swap, the device.
cleanup_fn nbd_device_free "$tmp/device"
(
	join_servers "$BASHPID"
	nbd_device_new "$nbd_socket" swap "$tmp/device"
)
device=$(nbd_device_of "$tmp/device")
cleanup_fn swap_off "$device"
swap_on "$device"
cgroup_new program swap-program $((48 << 20))

mkfifo "$tmp/go"
exec {go}<>"$tmp/go"
memcg_run "$program" swapper --mib "$mib" --passes "$passes" --hold \
	<&"$go" >"$tmp/swapper.log" 2>&1 &
pid=$!
filled() {
	(($(grep -c '^fill' "$tmp/swapper.log") >= pass)) || gone "$pid"
}
for ((pass = 1; pass <= passes; pass++)); do
	wait_for 600 filled && alive "$pid" ||
		fail "the program did not fill its memory: $(<"$tmp/swapper.log")"
	swapped=$(memcg_swapped "$program")
	((swapped > (mib - 64) << 20)) ||
		fail "only $swapped bytes of the program are in swap"
	(($(stat_of .host.persistent_pages) > 0)) ||
		fail "the store holds none of the program's pages"
	echo >&"$go"
done
wait "$pid" || fail "the program found wrong bytes: $(<"$tmp/swapper.log")"
grep -q "^done $((mib * 256 * passes))$" "$tmp/swapper.log" ||
	fail "the program did not check all pages: $(<"$tmp/swapper.log")"
(($(stat -c %b "$tmp/overflow") > 0)) || fail "nothing overflowed"
used=$(stat_of .host.peak_used)
((used <= 32 << 20)) || fail "$used bytes used of a budget of 32 MiB"
