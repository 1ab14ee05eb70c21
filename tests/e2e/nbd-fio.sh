#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# fio writes, trims, and verifies what it wrote: sizes mixed, offsets not
# aligned, several connections, a budget that most pages overflow.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/nbd-lib.sh"
requires fio --version
requires qemu-io --version
fio --enghelp 2>&1 | grep -qw nbd || skip_unless_provided "fio has no engine nbd"

# Each job and its arguments.
run_fio() {
	local name=$1
	shift
	(cd "$tmp" && fio --name="$name" --ioengine=nbd --uri="$nbd_uri" \
		--verify=xxhash --verify_fatal=1 --verify_state_save=0 \
		--refill_buffers --buffer_compress_percentage=40 \
		--randseed="$RANDOM" "$@") >"$tmp/fio-$name.txt" 2>&1 ||
		fail "fio $name: $(grep -iE "verify|error|fio:" "$tmp/fio-$name.txt")"
}

start_export disk --size 96M --overflow "$tmp/overflow"
run_fio pages --rw=randwrite --bs=4k --size=96M --iodepth=16
run_fio mixed --rw=randwrite --bsrange=512-128k --blockalign=512 --size=96M \
	--iodepth=8
run_fio unaligned --rw=randwrite --bs_unaligned --bsrange=1k-70k \
	--size=64M --iodepth=8
run_fio large --rw=write --bs=8M --size=96M --iodepth=2
# Blocks are trimmed and then written; in another, only trimmed.
run_fio trimwrite --rw=randtrimwrite --bs=16k --size=64M --iodepth=8
run_fio trim --rw=randtrim --bsrange=4k-64k --blockalign=4k --size=64M \
	--iodepth=8
qemu-io -f raw -c "read -P 0 0 64M" "$nbd_uri" >"$tmp/trimmed"
! grep -i failed "$tmp/trimmed" || fail "trimmed blocks are not zeros"
# Jobs on connections of their own, each on its part.
run_fio jobs --rw=randwrite --bsrange=1k-64k --blockalign=512 --numjobs=4 \
	--size=24M --offset_increment=24M --iodepth=8
mostly_overflowed disk
(($(nbd_stat disk partial_writes) > 1000)) || fail "nothing was unaligned"
(($(nbd_stat disk errors) == 0)) || fail "some requests failed"
end_server "$nbd_pid"
