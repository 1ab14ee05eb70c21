#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# bench/fs runs for moments on small files, writes all of its results, and
# leaves nothing behind, also when it is killed. No result is looked at: tests
# time nothing.
. "$(dirname "$0")/lib.sh"

for program in jq tar; do
	requires "$program" --version
done
requires mkfs.ext4 -V
requires_fuse
requires_loop

bench=$TMEM_BUILD/bench/fs/fs
options=(--dir "$tmp" --pages 256 --mib 4 --rounds 1 --seconds 0.02 --ramp 0)

"$bench" "${options[@]}" --files 60 \
	--mounts ext4,tmemfs,tmemfs-lz4,tmemfs-hosted,tmemfs-strict,ll \
	--loads hit-4k-d1,miss-4k-d32,mixed-4k-d1 \
	--json "$tmp/result.json" >"$tmp/table" 2>"$tmp/error" ||
	fail "bench/fs failed: $(cat "$tmp/error")"
grep -q '^goals' "$tmp/table" || fail "no table of goals: $(cat "$tmp/table")"

# The passthrough example may be missing where tests run.
results=$(jq -r '
	def mounts(n): del(.ll, .passthrough) |
		if length == n then .[] else null end;
	(.rates | (.["hit-4k-d1"] | mounts(4)), (.["miss-4k-d32"] | mounts(3)) |
		.iops, .gbps, .cpu_us, .below, .p50_us, .p99_us),
	(.names | .create, .open, .rename, .unlink, .untar | mounts(3)),
	(.goals | length)
	| numbers // "missing"' "$tmp/result.json") ||
	fail "the result is no JSON of that shape: $(cat "$tmp/table")"
! grep -q missing <<<"$results" ||
	fail "results are missing: $(cat "$tmp/table")"

# Killed in the middle, it takes its servers and its loop device with it.
"$bench" "${options[@]}" --only rates --seconds 60 --mounts tmemfs,ext4 \
	--loads hit-4k-d1 >"$tmp/killed" 2>&1 &
pid=$!
folder=
under_way() {
	gone "$pid" && return
	folder=$(pgrep -aP "$pid" tmemfs | grep -o '/tmp/bench-fs-[^/]*' |
		head -n 1)
}
wait_for 60 under_way && [[ -n $folder ]] || fail "it ended: $(<"$tmp/killed")"
kill -KILL "$pid"
wait "$pid" 2>/dev/null || true
left_nothing() {
	[[ ! -e $folder ]] && ! pgrep -f "$folder/" &&
		! losetup -nl -O BACK-FILE | grep -F "$tmp/"
}
wait_for 20 left_nothing || fail "left behind: $folder $(pgrep -fa "$folder/")"

status=0
"$bench" --mib 3 >/dev/null 2>"$tmp/error" || status=$?
((status == 2)) || fail "--mib 3: status $status"
grep -q -- '--mib 3: give a power of two' "$tmp/error" || fail "$(<"$tmp/error")"
