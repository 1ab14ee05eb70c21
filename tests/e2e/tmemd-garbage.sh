#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Whatever a peer of the control socket does, others are served: an attached
# client's pages are right and the administrator gets through.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/daemon-lib.sh"
requires env PATH=/usr/bin:/bin python3 --version
requires jq --version

# The bad peers are another user's where this test may choose: an administrator
# gets through whatever other users do.
bad_peer=(env PATH=/usr/bin:/bin python3 "$tmp/bad-peer.py")
group=()
cp "$e2e_dir/tmemd-garbage.py" "$tmp/bad-peer.py"
if ((EUID == 0)); then
	chmod 755 "$tmp"
	gid=$(id -g nobody)
	group=(--group "$(getent group "$gid" | cut -d: -f1)")
	bad_peer=(setpriv --reuid nobody --regid "$gid" --clear-groups
		"${bad_peer[@]}")
fi
start_tmemd --config /dev/null --arena none --budget 64M "${group[@]}"
attach web
expect web 0 pool pages persistent
expect web 500 put 0 500

descriptors_of() {
	find "/proc/$tmemd_pid/fd" -mindepth 1 | wc -l
}
as_before() {
	(($(descriptors_of) == descriptors))
}
others_are_served() {
	expect web 500 get 0 500
	[[ $(client_of web .stats.pages) == 500 ]] ||
		fail "wrong count of pages $1"
	alive "$tmemd_pid" || fail "tmemd died $1"
}
descriptors=$(descriptors_of)

for case in garbage huge descriptors slow; do
	"${bad_peer[@]}" "$tmemd_socket" $case || fail "case $case"
	others_are_served "after $case"
done
for case in stalled deaf many; do
	mkfifo "$tmp/$case"
	"${bad_peer[@]}" "$tmemd_socket" $case \
		<"$tmp/$case" >"$tmp/$case.log" 2>&1 &
	pid=$!
	exec {hold}>"$tmp/$case"
	wait_for 60 grep -q ready "$tmp/$case.log" || fail "case $case"
	expect web 500 get 0 500
	((EUID != 0)) || others_are_served "during $case"
	exec {hold}>&-
	wait "$pid" || fail "case $case"
	wait_for 60 as_before ||
		fail "after $case, tmemd has $(descriptors_of) descriptors and had $descriptors"
	others_are_served "after $case"
done
end_server "$tmemd_pid"
