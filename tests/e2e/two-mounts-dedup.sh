#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Two mounts of two separately copied, equal trees under one tmemd: the second
# adds less than 10 % to the bytes used.

. "$(dirname "$0")/lib.sh"
requires_root
requires_fuse

kernel_source tree
part=drivers/net
[[ -z ${TMEM_TEST_FULL:-} ]] || part=drivers
for copy in one two; do
	mkdir "$tmp/mount-$copy"
	copy_tree "$tree/$part" "$tmp/$copy"
done

start_tmemd --budget 1G
empty=$(stat_of .host.used)
for copy in one two; do
	mount_tmemfs "$tmp/$copy" "$tmp/mount-$copy" -o "tmemd=$tmemd_socket"
	sum_tree "$tmp/mount-$copy" >"$tmp/sums-$copy"
	store_settled
	declare "used_$copy=$(stat_of .host.used)"
	declare "pages_$copy=$(stat_of .host.pages)"
done
cmp "$tmp/sums-one" "$tmp/sums-two" || fail "equal trees read differently"

# shellcheck disable=SC2154 # set by declare
first=$((used_one - empty)) second=$((used_two - used_one))
echo "the first tree took $first bytes, the second $second more"
# shellcheck disable=SC2154
((pages_two >= pages_one * 2 * 99 / 100)) ||
	fail "of the second tree's pages not all are held: $pages_two, and $pages_one with one tree"
((second * 10 < first)) ||
	fail "the second tree added $second bytes to the first one's $first"
(($(stat_of .host.evictions) == 0)) || fail "the budget was too small for this test"
