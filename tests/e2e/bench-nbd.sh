#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# bench/nbd runs for moments on small devices, writes all of its results, and
# leaves nothing behind, also when it is killed. No result is looked at: tests
# time nothing.
. "$(dirname "$0")/lib.sh"

for program in jq fio nbdkit qemu-nbd qemu-img; do
	requires "$program" --version
done

parts=rates,fio,qemu-img,overwritten,memory
((EUID)) || [[ ! -c /dev/fuse ]] || parts+=,swap
bench=$TMEM_BUILD/bench/nbd/nbd
options=(--pages 512 --mib 48 --rounds 1 --seconds 0.02 --ramp 0)

"$bench" "${options[@]}" --only "$parts" --overwrite 0.1 --rest 0 --swap 8 \
	--loads read-d1,write-d16,mixed-d32-j2 \
	--json "$tmp/result.json" >"$tmp/table" 2>"$tmp/error" ||
	fail "bench/nbd failed: $(cat "$tmp/error")"
grep -q '^goals' "$tmp/table" || fail "no table of goals: $(cat "$tmp/table")"

# Swap and zram may be missing where tests run.
results=$(jq -r '
	def servers(n): del(.zram) | if length == n then .[] else null end;
	(.rates | .["read-d1"], .["mixed-d32-j2"] | servers(6) |
		.iops, .cpu_ns, .all_cpu_ns, .p50_ns, .p99_ns, .p999_ns),
	(.fio | .["read-d1"], .["mixed-d32-j2"] | servers(6) |
		.iops, .cpu_ns),
	(.["qemu-img"] | .["read-d1"], .["write-d16"] | servers(6) |
		.iops, .cpu_ns),
	(.overwritten | servers(4) | .write_iops, .read_iops, .memory),
	(.memory | .text, .elf, .all, .half | servers(3)),
	(.goals | length)
	| numbers // "missing"' "$tmp/result.json") ||
	fail "the result is no JSON of that shape: $(cat "$tmp/table")"
! grep -q missing <<<"$results" ||
	fail "results are missing: $(cat "$tmp/table")"

# Killed in the middle, it takes its servers with it, also those it stopped.
"$bench" "${options[@]}" --only rates --seconds 60 >"$tmp/killed" 2>&1 &
pid=$!
folder=
under_way() {
	gone "$pid" && return
	folder=$(pgrep -aP "$pid" qemu-nbd | grep -o '/tmp/bench-nbd-[^/]*')
}
wait_for 60 under_way && [[ -n $folder ]] || fail "it ended: $(<"$tmp/killed")"
kill -KILL "$pid"
wait "$pid" 2>/dev/null || true
left_nothing() {
	[[ ! -e $folder ]] && ! pgrep -f "$folder/"
}
wait_for 20 left_nothing || fail "left behind: $folder $(pgrep -fa "$folder/")"

status=0
"$bench" --mib 0 >/dev/null 2>"$tmp/error" || status=$?
((status == 2)) || fail "--mib 0: status $status"
grep -q -- '--mib 0: give a number from 1' "$tmp/error" || fail "$(<"$tmp/error")"
