#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# libnbd's tools and QEMU's against an export most of whose pages overflow.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/nbd-lib.sh"
requires nbdinfo --version
requires nbdcopy --version
requires nbd-client --version
requires qemu-io --version
requires qemu-img --version

start_export disk --size 160M --overflow "$tmp/overflow" \
	--description "a disk for tests"

# What it says of itself.
nbdinfo --json "$nbd_uri" >"$tmp/info"
jq -e '.exports[0] | ."export-size" == 167772160 and
	.can_flush and .can_fua and .can_multi_conn and .can_trim and
	.can_zero and .can_fast_zero and .can_cache and .can_df and
	(.is_read_only | not) and .block_size_minimum == 1 and
	.block_size_preferred == 4096' "$tmp/info" >/dev/null ||
	fail "nbdinfo sees something else: $(cat "$tmp/info")"
nbdinfo --list "nbd+unix:///?socket=$nbd_socket" |
	grep -q "description: a disk for tests" || fail "no description"
[[ $(nbdinfo --map --totals "$nbd_uri") == *"100.0%"*"hole,zero"* ]] ||
	fail "a new device is not all holes"
nbdinfo "nbd+unix:///other?socket=$nbd_socket" >/dev/null 2>&1 &&
	fail "there is an export of another name"
nbd-client -list -unix "$nbd_socket" | grep -q "^disk" ||
	fail "nbd-client does not find the export"

# An image with data that compresses, data that does not, and holes.
truncate -s 160M "$tmp/image"
head -c 40M /dev/urandom | dd of="$tmp/image" bs=1M conv=notrunc status=none
{ tar -c /usr/include 2>/dev/null || true; } | head -c 50M |
	dd of="$tmp/image" bs=1M seek=60 conv=notrunc iflag=fullblock status=none

# There and back, over one connection and over several.
for connections in 1 4; do
	nbdcopy --connections=$connections "$tmp/image" "$nbd_uri"
	nbdcopy --connections=$connections "$nbd_uri" "$tmp/back"
	cmp "$tmp/image" "$tmp/back" || fail "nbdcopy got something else back"
done
mostly_overflowed disk
nbdcopy --destination-is-zero --synchronous "$tmp/image" "$nbd_uri"
nbdcopy --no-extents "$nbd_uri" - | cmp - "$tmp/image" ||
	fail "nbdcopy to a pipe got something else"

# QEMU's block layer: raw over what nbdcopy wrote, then images of its own.
qemu-img compare -f raw -F raw "$tmp/image" "$nbd_uri" >/dev/null
qemu-img convert -n -f raw -O raw "$tmp/image" "$nbd_uri"
qemu-img compare -f raw -F raw "$tmp/image" "$nbd_uri" >/dev/null
qemu-img create -q -f qcow2 "$nbd_uri" 120M
truncate -s 120M "$tmp/image"
qemu-img convert -n -f raw -O qcow2 "$tmp/image" "$nbd_uri"
qemu-img compare -f raw -F qcow2 "$tmp/image" "$nbd_uri" >/dev/null
qemu-img check -q -f qcow2 "$nbd_uri"

# Patterns across pages' boundaries, zeros of each kind, discards, vectors.
qemu-io -f raw "$nbd_uri" >"$tmp/qemu-io" <<-'END'
	write -P 1 0 1M
	write -P 2 1 4094
	write -P 3 4095 2
	write -P 4 123457 654321
	read -P 1 0 1
	read -P 2 1 4094
	read -P 3 4095 2
	read -P 1 4097 119360
	read -P 4 123457 654321
	write -z 8193 100000
	read -P 0 8193 100000
	read -P 1 8192 1
	write -z -u 8k 256k
	read -P 0 8k 256k
	write -z -u -n 300k 64k
	read -P 0 300k 64k
	discard 400k 100k
	write -f -P 5 3M 4k
	read -P 5 3M 4k
	writev -P 6 5M 512 1k 4k 100k
	readv -P 6 5M 100k 4k 1k 512
	aio_write -P 7 6M 32M
	aio_write -P 8 40M 31M
	aio_flush
	read -P 7 6M 32M
	read -P 8 40M 31M
	flush
END
grep -iE 'verification failed|error|failed' "$tmp/qemu-io" &&
	fail "qemu-io read something else"
(($(grep -cE '(read|wrote|discard) [0-9]+/' "$tmp/qemu-io") == 25)) ||
	fail "qemu-io did not do everything: $(cat "$tmp/qemu-io")"
mostly_overflowed disk
(($(nbd_stat disk errors) == 0)) || fail "some requests failed"

# Trimmed, nothing is left of it: not in memory, not in the file.
qemu-io -f raw -c "discard 0 160M" "$nbd_uri" >/dev/null
[[ $(nbdinfo --map --totals "$nbd_uri") == *"100.0%"*"hole,zero"* ]] ||
	fail "trimmed pages are not all holes: $(nbdinfo --map "$nbd_uri")"
(($(du -k "$tmp/overflow" | cut -f1) <= 64)) ||
	fail "the overflow file was not punched: $(du -k "$tmp/overflow")"

end_server "$nbd_pid"
[[ ! -e $nbd_socket ]] || fail "the socket is still there"
