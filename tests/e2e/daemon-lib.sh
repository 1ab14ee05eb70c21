# SPDX-License-Identifier: GPL-2.0-or-later
#
# What the tests of tmemd and tmem-admin share, besides lib.sh.

export PATH="$TMEM_BUILD/tests/e2e:$PATH"

# An attached client (attacher.c) named NAME, to be told by "ask NAME COMMAND".
#   attach NAME [command prefix, such as setpriv ...]
declare -A attached_in attached_out attached_pid
attach() {
	local name=$1 in out
	shift
	mkfifo "$tmp/$name.in" "$tmp/$name.out"
	"$@" attacher "$tmemd_socket" "$name" \
		<"$tmp/$name.in" >"$tmp/$name.out" 2>>"$tmp/$name.log" &
	attached_pid[$name]=$!
	disown $!
	exec {in}>"$tmp/$name.in" {out}<"$tmp/$name.out"
	rm "$tmp/$name.in" "$tmp/$name.out"
	attached_in[$name]=$in
	attached_out[$name]=$out
	cleanup_fn stop_process "${attached_pid[$name]}"
	local r
	read -r -t 120 r <&"$out" || r="no answer"
	[[ $r == 0 ]] || fail "client $name did not attach: $r"
}

# Tell a client; its answer is in the variable answer.
ask() {
	local name=$1
	shift
	echo "$*" >&"${attached_in[$name]}"
	read -r -t 240 answer <&"${attached_out[$name]}" ||
		fail "client $name gave no answer to: $*"
}

# Tell a client and expect an answer: expect NAME ANSWER COMMAND...
expect() {
	local name=$1 right=$2
	shift 2
	ask "$name" "$@"
	[[ $answer == "$right" ]] ||
		fail "client $name answered $answer, not $right, to: $*"
}

# Let a client go.
detach() {
	echo quit >&"${attached_in[$1]}"
	wait_for 30 gone "${attached_pid[$1]}" || fail "client $1 did not end"
	# Its session ends after it.
	wait_for 30 not_connected "$1" || fail "tmemd did not notice that $1 left"
}

not_connected() {
	[[ -z $(admin list --json | jq -r \
		".clients[] | select(.name == \"$1\" and .connected) | .id") ]]
}

# A command must fail with a status and a word in its message:
#   refused STATUS WORDS COMMAND...
refused() {
	local status=$1 words=$2 r=0
	shift 2
	"$@" >"$tmp/refused.out" 2>&1 || r=$?
	((r == status)) ||
		fail "'$*' ended with $r, not $status: $(cat "$tmp/refused.out")"
	grep -qF -e "$words" "$tmp/refused.out" ||
		fail "'$*' does not say '$words': $(cat "$tmp/refused.out")"
}

# A private tmpfs, in $arena_dir.
arena_mount() {
	requires_root
	arena_dir=$tmp/arena
	mkdir "$arena_dir"
	mount -t tmpfs -o mode=0700 tmem-test "$arena_dir" ||
		skip "needs to mount a tmpfs"
	cleanup_fn umount "$arena_dir"
}

# One member of a client's or pool's entry: client_of NAME .weight
client_of() {
	stat_of ".clients[] | select(.name == \"$1\") | $2"
}
pool_of() {
	stat_of ".pools[] | select(.name == \"$1\") | $2"
}
