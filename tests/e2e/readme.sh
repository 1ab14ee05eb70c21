#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The examples in README.md do what they say: the blocks marked "<!-- run -->"
# are run in their order, word for word, where nothing of this machine's own is
# at the paths they use.

. "$(dirname "$0")/lib.sh"
requires_swap
requires_loop
requires_fuse
requires nbdfuse --version
requires unshare --mount true

awk '/^```/ { inside = inside ? 0 : marked; marked = 0; next }
	inside
	/^<!-- run -->$/ { marked = 1 }' "$e2e_dir/../../README.md" >"$tmp/examples"
(($(grep -c . "$tmp/examples") >= 10)) || fail "README.md has lost its examples"

mkdir -p "$tmp"/root/{srv/data,srv/www,mnt/data,run,lib}
for directory in /run/tmem /var/lib/tmem; do
	[[ -d $directory ]] || {
		mkdir "$directory"
		cleanup_fn rmdir "$directory"
	}
done
for i in {1..50}; do
	seq "$i" 5000 >"$tmp/root/srv/data/$i"
	seq "$i" 3000 >"$tmp/root/srv/www/$i"
done

# The examples' paths lead to this test's directory, in a mount namespace of
# their own, by which their servers are found later. A device that is still in
# swap at the end, since an example failed, is taken out while it is served.
cat >"$tmp/script" <<SCRIPT
stat -L -c %i /proc/self/ns/mnt >$tmp/namespace
set -eux
sudo() { command "\$@"; }
mount --bind $tmp/root/srv /srv
mount --bind $tmp/root/mnt /mnt
mount --bind $tmp/root/run /run/tmem
mount --bind $tmp/root/lib /var/lib/tmem
swap_gone() {
	swapoff "\$device"
	losetup --detach "\$device"
}
trap '[ -z "\${device:-}" ] || swap_gone 2>/dev/null || :' EXIT
. $tmp/examples
SCRIPT

# What the examples leave running ends with the test.
stop_servers() {
	local pid
	while IFS=/ read -r _ _ pid _; do
		stop_process "$pid"
	done < <(find -L /proc/[0-9]*/ns/mnt -inum "$(<"$tmp/namespace")" 2>/dev/null)
}
cleanup_fn stop_servers
unshare --mount --propagation private bash "$tmp/script" \
	</dev/null >"$tmp/readme.log" 2>&1 ||
	fail "an example failed: $(grep '^+' "$tmp/readme.log" | tail -n 1)"
