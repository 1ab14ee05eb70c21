#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The examples of tmemd's and tmem-admin's man pages work as printed.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/daemon-lib.sh"
. "$(dirname "$0")/examples-lib.sh"
requires jq --version
requires python3 --version
top=$e2e_dir/../..

# The examples of a page, with this test's paths.
examples_of() {
	literal_examples "$1" |
		sed -e "s,/run/tmem/tmemd.sock,$tmemd_socket,g" \
			-e "s,/tmp/tmemd.sock,$tmp/example.sock,g" \
			-e "s,/etc/tmem/tmemd.conf,$tmp/example.conf,g" \
			-e "s,tmem-admin \([^-]\),tmem-admin --socket $tmemd_socket \1,"
}
run_page() {
	examples_of "$1" >"$tmp/examples"
	(($(wc -l <"$tmp/examples") >= $2)) || fail "$1 has no examples"
	bash -euxo pipefail "$tmp/examples" >"$tmp/examples.log" 2>&1 ||
		fail "the examples of $(basename "$1") do not work"
}

start_tmemd --config /dev/null --arena none --budget 64M
attach web
expect web 0 pool cache
expect web 100 put 0 100

examples_of "$top/tmemd/man/tmemd.conf.5" >"$tmp/example.conf"
(($(wc -l <"$tmp/example.conf") > 10)) || fail "tmemd.conf.5 has no examples"
tmemd --config "$tmp/example.conf" --check-config >/dev/null

run_page "$top/tmemd/man/tmemd.8" 3
wait_for 30 test ! -S "$tmp/example.sock" || fail "the example's tmemd did not end"
run_page "$top/tmemd/man/tmemd-protocol.7" 3
run_page "$top/tmem-admin/man/tmem-admin.8" 12
[[ $(client_of web .weight) == 200 ]] || fail "the example set no weight"
expect web 0 get 0 100
