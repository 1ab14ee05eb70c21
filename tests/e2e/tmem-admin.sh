#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Every command of tmem-admin, and what it does.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/daemon-lib.sh"
requires jq --version

uuid=00112233-4455-6677-8899-aabbccddeeff

tmemd_socket=$tmp/tmemd.sock
refused 3 "no tmemd listens on $tmemd_socket" admin stats
refused 2 "expected a command" tmem-admin
refused 2 "no command" tmem-admin explode
refused 2 "--help" tmem-admin stats --no-such-option
refused 2 "no counter \"nothing\"" admin stats --select=used,nothing
refused 2 "any of host" admin stats everything
refused 2 "expected one argument" admin reclaim
refused 2 "or --all" admin freeze
refused 2 "or --all" admin freeze --all web
refused 2 "what to set" admin set web
refused 2 "what to set" admin set --budget=1G --weight=1 web
refused 2 "a uuid" admin shared-auth web
for command in stats list set freeze thaw flush reclaim freeable shared-auth; do
	tmem-admin $command --help | grep -q "^Usage: tmem-admin $command" ||
		fail "$command has no help"
	tmem-admin --help | grep -q "^  $command " || fail "$command is not in the help"
done
[[ $(tmem-admin --version) == "tmem-admin "* ]] || fail "no version"

refused 1 "cannot write" bash -c 'tmem-admin --help >/dev/full'

start_tmemd --config /dev/null --arena none --budget 64M
refused 1 "cannot write" bash -c 'tmem-admin --socket "$1" stats >/dev/full' \
	bash "$tmemd_socket"
refused 1 "cannot write" bash -c 'tmem-admin --socket "$1" list --json >&-' \
	bash "$tmemd_socket"
# One that is stopped has not gone, and keeps nobody who only looks.
kill -STOP "$tmemd_pid"
refused 1 "does not answer" admin list
kill -CONT "$tmemd_pid"
attach web
expect web 0 pool cache
expect web 1000 put 0 1000
attach swap
expect swap 0 pool pages persistent
expect swap 300 put 0 300

# Looking.
[[ $(stat_of '.pid') == "$tmemd_pid" ]] || fail "stats has another process id"
[[ $(stat_of '.host.ephemeral_pages') == 1000 ]] || fail "wrong count of pages"
[[ $(client_of web .stats.pages) == 1000 ]] || fail "wrong count of web's pages"
[[ $(pool_of pages .stats.pages) == 300 ]] || fail "wrong count of a pool's pages"
[[ $(pool_of pages .kind) == persistent ]] || fail "wrong kind of pool"
admin stats --json --select=used,pages clients |
	jq -e '(keys - ["clients", "pid", "version"] == []) and
		([.clients[].stats | keys] | unique == [["pages"]])' >/dev/null ||
	fail "the selection shows something else"
admin stats >"$tmp/stats"
for name in $(stat_of '.host | keys[] | select(. != "frozen")'); do
	grep -q "^$name  " "$tmp/stats" || fail "$name is not in the table"
done
grep -Eq '^ *[0-9]+ +[0-9]+  web ' "$tmp/stats" || fail "web is not in the table"
[[ $(admin stats --select=hits host | sed -n '$!p' | wc -l) == 3 ]] ||
	[[ $(admin stats --select=hits host | grep -c .) == 3 ]] ||
	fail "selecting one counter shows others"
admin list >"$tmp/list"
grep -Eq ' web +yes ' "$tmp/list" || fail "web is not in the list"
admin list --json | jq -e '.clients[0].stats == null' >/dev/null ||
	fail "the list has counters"

# Settings.
admin set --weight=250 --cap=2M --maxmem=3M --compress=zstd --dedup=off web
[[ $(client_of web '[.weight, .cap, .maxmem, .compress, .dedup] | join(" ")') == \
	"250 2097152 3145728 zstd off" ]] || fail "the settings were not set"
(($(client_of web .stats.pages) <= 768)) || fail "maxmem did not bite"
(($(client_of web .stats.charged) <= 2 << 20)) || fail "the cap did not bite"
admin set --cap=none --maxmem=none --compress=auto --dedup=auto web
[[ $(client_of web '[.cap, .maxmem, .compress, .dedup] | join(" ")') == \
	"0 0 auto auto" ]] || fail "the settings were not taken back"
refused 1 "1 to 10000" admin set --weight=0 web
refused 1 "such as 64M" admin set --cap=lots web
refused 1 "lz4, lzo" admin set --compress=gzip web
refused 1 "there is no client \"nobody\"" admin set --weight=1 nobody
refused 1 "there is no client \"id:77777\"" admin set --weight=1 id:77777
id=$(client_of web .id)
admin set --weight=99 "id:$id"
[[ $(client_of web .weight) == 99 ]] || fail "id:N does not name a client"
admin set --budget=32M
[[ $(stat_of .host.budget) == $((32 << 20)) ]] || fail "the budget was not set"
refused 1 "at least" admin set --budget=1M
admin set --budget=64M

# Freezing.
admin freeze web
[[ $(client_of web .frozen) == true ]] || fail "web is not shown as frozen"
expect web 0 put 0 10
expect web 0 get 0 10
expect swap 10 put 0 10
admin freeze --all
admin stats host | grep -q frozen || fail "the host is not shown as frozen"
admin thaw web
expect web 0 put 0 10
expect swap 0 put 290 10
admin thaw --all
[[ $(stat_of '.host.frozen | not') == true ]] || fail "the host is not thawed"
expect web 10 put 0 10
expect swap 10 put 290 10

# Flushing: data that may be nowhere else only with --force.
expect web 1000 put 0 1000
admin flush web
expect web 0 get 0 1000
expect web 1000 put 0 1000
admin flush web/cache
expect web 0 get 0 1000
admin flush swap 2>"$tmp/kept"
grep -q "1 persistent" "$tmp/kept" || fail "it is not said what was left alone"
expect swap 300 get 0 300
refused 1 "--force" admin flush swap/pages
admin flush --force swap/pages
expect swap 0 get 0 300
expect swap 300 put 0 300
admin flush --force --pool "id:$(pool_of pages .id)"
expect swap 0 get 0 300
refused 1 "there is no pool" admin flush swap/nothing
refused 1 "there is no pool" admin flush --pool id:99999
# A client that has gone is forgotten with --force.
expect swap 300 put 0 300
detach swap
[[ $(client_of swap .stats.pages) == 300 ]] || fail "persistent pages ended"
admin flush --force swap
[[ -z $(admin list --json | jq -r '.clients[] | select(.name == "swap")') ]] ||
	fail "swap was not forgotten"

# Giving memory back.
expect web 4000 put 0 4000
store_settled
[[ $(admin freeable --json | jq .freeable) == $(stat_of .host.freeable) ]] ||
	fail "freeable is not what stats says"
admin freeable | grep -q 'bytes)' || fail "freeable prints no size"
before=$(stat_of .host.used)
released=$(admin reclaim --json 2M | jq .released)
after=$(stat_of .host.used)
((released >= 1 << 20 && before - after >= 1 << 20)) ||
	fail "reclaim said $released, and usage went from $before to $after"
refused 1 "such as 512M" admin reclaim some

# Shared pools are for those who are authorised.
attach one
expect one "error EPERM" pool shared $uuid
admin shared-auth one $uuid
expect one 0 pool shared $uuid
expect one 50 put 0 50
attach two
expect two "error EPERM" pool shared $uuid
admin shared-auth two $uuid
expect two 0 pool shared $uuid
expect two 50 get 0 50
admin flush --pool $uuid
expect two 0 get 0 50
admin shared-auth --forbid two $uuid
detach two
attach two-again
expect two-again "error EPERM" pool shared $uuid
refused 1 "was not authorised" admin shared-auth --forbid two $uuid
refused 1 "32 hexadecimal" admin shared-auth two 1234
refused 2 "no user" admin shared-auth --uid=no-such-user two $uuid
