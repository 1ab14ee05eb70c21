#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What tmem-admin sets for a client changes what the store does with its pages.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/daemon-lib.sh"
requires jq --version

# Without a nursery, which would put off what is looked at here.
start_tmemd --config /dev/null --arena none --budget 16M --nursery 0
stored_bytes() {
	stat_of ".pools[] | select(.client == \"$1\") | .stats.stored_bytes"
}
contents() {
	stat_of .host.contents
}
charged() {
	client_of "$1" .stats.charged
}

# compress: off keeps pages raw, from the next put of other bytes on.
attach web
expect web 0 pool cache
expect web 400 put 0 400 1
(($(stored_bytes web) < 400 * 4096)) || fail "web's pages are not compressed"
admin set --compress=off web
expect web 400 put 0 400 2
(($(stored_bytes web) == 400 * 4096)) || fail "--compress=off compresses"
admin set --compress=zstd web
expect web 400 put 0 400 1
(($(stored_bytes web) < 400 * 4096)) || fail "--compress=zstd keeps pages raw"
expect web 400 get 0 400 1

# dedup: off shares with nobody, not even what another put before.
attach twin
expect twin 0 pool cache
admin set --compress=zstd twin
before=$(contents)
expect twin 400 put 0 400 1
(($(contents) == before)) || fail "equal pages are not shared"
admin set --dedup=off twin
expect twin 400 put 0 400 1
(($(contents) == before + 400)) || fail "--dedup=off shares pages"
expect twin 400 get 0 400 1
detach twin
detach web

# cap and maxmem bound what cannot be evicted, too.
attach swap
expect swap 0 pool pages persistent
admin set --cap=1M swap
ask swap put 0 4000
((answer > 0 && answer < 4000)) || fail "$answer puts were stored under a cap"
(($(charged swap) <= 1 << 20)) || fail "the cap does not hold"
expect swap "$answer" get 0 4000
admin set --cap=none --maxmem=1M swap
expect swap "$answer" flush 0 4000
expect swap 256 put 0 4000
admin flush --force swap
detach swap

# weight: who has less of it gives way, and it can be changed.
attach a
expect a 0 pool cache
attach b
expect b 0 pool cache
gives_way() {
	admin set --weight=100 "$1"
	admin set --weight=1000 "$2"
	expect "$1" 10000 put 0 10000 "$3"
	expect "$2" 10000 put 0 10000 "$4"
	expect "$1" 10000 put 0 10000 "$3"
	(($(charged "$1") * 4 < $(charged "$2"))) ||
		fail "$1 has $(charged "$1") bytes, $2 of tenfold weight $(charged "$2")"
}
gives_way a b 2 3
gives_way b a 4 5
