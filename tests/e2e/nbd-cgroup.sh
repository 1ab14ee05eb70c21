#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# An export in a memory cgroup that holds half of the device at most: what
# serves it is told to use more, uses less, is not killed, and every page
# verifies, through 32 connections.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/nbd-lib.sh"
requires_memcg
requires fio --version
fio --enghelp 2>&1 | grep -qw nbd || skip_unless_provided "fio has no engine nbd"

# start_server for tmemd and tmem-nbd goes through this: they begin in the box.
cgroup_new box nbd $((112 << 20))
in_box() {
	local name=$1 path
	path=$(command -v "$name")
	mkdir -p "$tmp/bin"
	printf '#!/bin/bash\necho $$ >"%s/cgroup.procs"\nexec "%s" "$@"\n' \
		"$box" "$path" >"$tmp/bin/$name"
	chmod +x "$tmp/bin/$name"
}
in_box tmemd
in_box tmem-nbd
PATH=$tmp/bin:$PATH

size=$((160 << 20))
case $where in
embedded)
	start_nbd disk --size "$size" --overflow "$tmp/overflow" --budget 1G
	victim=$nbd_pid
	;;
hosted)
	start_tmemd --config /dev/null --arena none --budget 1G
	start_nbd disk --size "$size" --overflow "$tmp/overflow" \
		--tmemd "$tmemd_socket"
	victim=$tmemd_pid
	;;
esac

# Each job on its part, with pages that do not compress at all.
(cd "$tmp" && fio --name=box --ioengine=nbd --uri="$nbd_uri" --numjobs=32 \
	--rw=randwrite --bs=4k --size=5M --offset_increment=5M --iodepth=4 \
	--verify=xxhash --verify_fatal=1 --verify_state_save=0 \
	--refill_buffers --randseed="$RANDOM") >"$tmp/fio.txt" 2>&1 ||
	fail "fio: $(grep -iE 'verify|error|fio:' "$tmp/fio.txt")"
alive "$victim" || fail "the server was killed"
(($(nbd_stat disk errors) == 0)) || fail "some requests failed"
(($(nbd_stat disk overflow_writes) > 1000)) || fail "hardly anything overflowed"
end_server "$nbd_pid"
