# SPDX-License-Identifier: GPL-2.0-or-later
#
# What the tests of tmem-nbd share, besides lib.sh.

export PATH="$TMEM_BUILD/tests/e2e:$PATH"

# Where an export's store is: the tests of what both do take this argument.
where=${1:-embedded}

# An export as start_nbd makes it, of a store with a budget of 16 MiB, in this
# process or in a tmemd of its own.
#   start_export NAME [tmem-nbd options]
start_export() {
	local name=$1
	shift
	case $where in
	embedded)
		start_nbd "$name" --budget 16M "$@"
		;;
	hosted)
		[[ -n ${tmemd_pid:-} ]] ||
			start_tmemd --config /dev/null --budget 16M
		start_nbd "$name" --tmemd "$tmemd_socket" "$@"
		;;
	*)
		fail "an export is embedded or hosted, not $where"
		;;
	esac
}

# An export "disk" of 64 MiB whose pages outlive $victim, the process that holds
# them: tmemd under its keeper, or tmem-nbd itself.
#   start_lasting BUDGET
start_lasting() {
	# A tmpfs of its own, which no disk slows down.
	mkdir "$tmp/arena"
	mount -t tmpfs -o size=128M,mode=700 tmpfs "$tmp/arena"
	cleanup_fn umount --lazy "$tmp/arena"
	start_victim "$1"
	[[ $where == embedded ]] ||
		start_nbd disk --size 64M --overflow "$tmp/overflow" \
			--tmemd "$tmemd_socket"
}

# The same process again, when it is gone: start_victim BUDGET
# shellcheck disable=SC2034 # victim is the tests'
start_victim() {
	case $where in
	hosted)
		start_tmemd --config /dev/null --budget "$1" \
			--arena "$tmp/arena/arena"
		victim=$tmemd_pid
		;;
	embedded)
		start_nbd disk --size 64M --overflow "$tmp/overflow" \
			--budget "$1" --arena "$tmp/arena/arena"
		victim=$nbd_pid
		;;
	esac
}

# A counter of an export: nbd_stat NAME COUNTER
nbd_stat() {
	if [[ $where == hosted ]]; then
		stat_of ".exports[] | select(.name == \"$1\") | .stats.$2"
		return
	fi
	# The log's last word on it, after what a signal makes it say.
	local before
	before=$(grep -c "export map_bytes" "$tmp/nbd-$1.log")
	kill -USR1 "$nbd_pid"
	wait_for 10 nbd_stats_said "$1" "$before" >&2
	awk -v want="$2" '$2 == "export" && $3 == want { n = $4 } END { print n }' \
		"$tmp/nbd-$1.log"
}

nbd_stats_said() {
	(($(grep -c "export map_bytes" "$tmp/nbd-$1.log") > $2))
}

# Most of what was written must have gone to the overflow file, at once or from
# the store later, with no error.
#   mostly_overflowed NAME
mostly_overflowed() {
	local pages bytes
	pages=$(($(nbd_stat "$1" overflow_writes) + $(nbd_stat "$1" written_out)))
	bytes=$(nbd_stat "$1" written_bytes)
	((pages * 4096 > bytes / 2)) ||
		fail "only $pages pages of $bytes bytes went to the overflow file"
	(($(nbd_stat "$1" overflow_errors) == 0)) || fail "the overflow file failed"
}

# The directory $tmp/below seen through faultfs, at $tmp/disk.
start_faultfs() {
	mkdir "$tmp/below" "$tmp/disk"
	start_server faultfs_pid faultfs faultfs "$tmp/below" "$tmp/disk"
	cleanup_fn umount --lazy "$tmp/disk"
	wait_for 30 test -e "$tmp/disk/control" || fail "faultfs did not mount"
}

# What is to go wrong there: disk WORDS, as faultfs.c says.
disk() {
	echo "$*" >"$tmp/disk/control"
}
