#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# bench/store runs on a few pages and writes all of its results. None is looked
# at: tests time nothing.
. "$(dirname "$0")/lib.sh"

requires jq

mkdir "$tmp/tree"
cp "$e2e_dir"/*.sh "$tmp/tree"
"$TMEM_BUILD/bench/store" --pages 32 --rounds 2 --copies 1 --slices 1 \
	--tree-pages 64 --reclaim 4 --json "$tmp/result.json" "$tmp/tree" "$tmp/tree" \
	>"$tmp/table" || fail "bench/store failed"
grep -q '^goals' "$tmp/table" || fail "no table of goals: $(cat "$tmp/table")"

# Zram and a compiler may be missing where tests run.
results=$(jq -r '
	.processors, (.codecs | .text, .elf | .lz4, .lzo, .zstd |
		.bytes_a_page, .compress_ns, .decompress_ns),
	(.calls | .["1"], .["2"] | to_entries | map(select(.key |
		startswith("zram") | not)) | if length == 26 then 0 else null end,
		(.[].value | .p50_ns, .p99_ns, .p999_ns, .calls_per_second)),
	(.burst | .first, .again |
		.p50_ns, .p99_ns, .left_young, .settle_ms),
	(.sustained |
		.put_pages_per_second, .bare_codec_pages_per_second),
	(.memory | .fresh, .churned, .halved, .compacted |
		.used, .kernel, .slab_bytes_over_payload, .metadata_a_page,
		.apart_over_allowed),
	.peak.over_allowed,
	(.reclaim | .lz4, .["lz4-half-read"], .raw | .ms, .released, .kernel),
	.density.two_trees_logical_over_used,
	(.goals[] | select(.measure | startswith("zram") | not) | .measured)
	| numbers // "missing"' "$tmp/result.json") ||
	fail "the result is no JSON: $(cat "$tmp/result.json")"
! grep -q missing <<<"$results" ||
	fail "results are missing: $(cat "$tmp/result.json")"

status=0
"$TMEM_BUILD/bench/store" --pages 8 >/dev/null 2>"$tmp/error" || status=$?
((status == 2)) || fail "--pages 8: status $status"
grep -q -- '--pages 8: give a number from 16 to' "$tmp/error" || fail "$(cat "$tmp/error")"
