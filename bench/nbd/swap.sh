#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A program swaps to a device, which is there for that alone:
#
#	swap.sh FOLDER MIB SWAPPER PAGES zram|SOCKET COMMAND...
#
# COMMAND serves NBD at SOCKET. The program, SWAPPER, has MIB of the pages in
# the file PAGES, and a quarter of that in memory. To standard output goes a
# line of it for each step,
#
#	serving PID|memory BYTES	it waits for a line of standard input
#	swapped BYTES
#	fill SECONDS
#	check SECONDS
#
# Exit status 77, having said why, where this host or user cannot swap. However
# it ends, swap is off and everything gone.
set -euo pipefail
. "${0%/*}/../../tests/lib/host.sh"

folder=$1 mib=$2 swapper=$3 pages=$4 socket=$5
shift 5

skip() {
	echo "swap is left out: $*" >&2
	exit 77
}
((EUID == 0)) || skip "only root may swap"
servers=$(memcg_path "bench-nbd-servers-$$") || skip "no memory cgroups"
program=$(memcg_path "bench-nbd-program-$$")
[[ $socket == zram || -c /dev/fuse ]] || skip "no /dev/fuse"
[[ $socket != zram || -e /sys/class/zram-control ]] || skip "no zram"
why=$(swap_is_free /proc/swaps 2>&1) || skip "$why"

server_pid='' swapper_pid='' device=''
clean_up() {
	trap '' INT TERM HUP
	[[ -z $swapper_pid ]] || kill -KILL "$swapper_pid" 2>/dev/null || true
	memcg_free "$program"
	[[ -z $device ]] || swap_off "$device" || {
		echo "$device stays in swap, and its server runs on" >&2
		exit 1
	}
	if [[ $socket == zram ]]; then
		[[ -z $device ]] || zramctl --reset "$device"
	else
		nbd_device_free "$folder/device" || true
	fi
	[[ -z $server_pid ]] || stop_process "$server_pid"
	memcg_free "$servers"
	rm -f "$folder/go" "$socket"
}
trap clean_up EXIT
trap 'exit 1' INT TERM HUP

memcg_new "$servers"
memcg_noswap "$servers"
memcg_new "$program"
memcg_limit "$program" $((mib << 18))
if [[ $socket == zram ]]; then
	device=$(zramctl --find --size "$((2 * mib))M" --algorithm lz4)
else
	# What serves swap is never swapped, and outlives a terminal's signals.
	(
		echo "$BASHPID" >"$servers/cgroup.procs"
		exec setsid "$@" </dev/null >/dev/null
	) &
	server_pid=$!
	wait_for 20 nbdinfo --size "nbd+unix:///?socket=$socket"
	(
		echo "$BASHPID" >"$servers/cgroup.procs"
		nbd_device_new "$socket" "" "$folder/device"
	)
	device=$(nbd_device_of "$folder/device")
fi
swap_on "$device"

mkfifo "$folder/go"
exec {go}<>"$folder/go"
memcg_run "$program" "$swapper" --mib "$mib" --pages "$pages" --hold \
	<&"$go" >"$folder/swapper.log" &
swapper_pid=$!
filled() {
	grep -q ^fill "$folder/swapper.log" || gone "$swapper_pid"
}
wait_for 600 filled
if [[ $socket == zram ]]; then
	read -r _ _ used _ <"/sys/block/${device##*/}/mm_stat"
	echo "memory $used"
else
	echo "serving $server_pid"
fi
read -r _
echo "swapped $(memcg_swapped "$program")"
echo >&"$go"
wait "$swapper_pid"
swapper_pid=''
cat "$folder/swapper.log"
