# SPDX-License-Identifier: GPL-2.0-or-later
#
# Running what documents give as examples, besides lib.sh: word for word, where
# nothing of this machine's own is at the paths they use.

# The literal blocks of a man page's EXAMPLES; those that are only "unfilled"
# need another machine.
literal_examples() {
	awk '/^\.Sh/ { on = $2 == "EXAMPLES" }
		/^\.Ed/ { literal = 0 }
		on && literal { print }
		/^\.Bd -literal/ { literal = 1 }' "$1" |
		sed -e 's/\\e/\\/g' -e 's/\\-/-/g'
}

# Directories for the examples' own paths, with something to read.
examples_init() {
	requires unshare --mount true
	mkdir -p "$tmp"/root/{srv/data,srv/www,mnt/data,run,lib}
	local directory i
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
	cleanup_fn stop_servers
}

# What the examples leave running.
stop_servers() {
	local pid
	[[ -s $tmp/namespace ]] || return 0
	while IFS=/ read -r _ _ pid _; do
		stop_process "$pid"
	done < <(find -L /proc/[0-9]*/ns/mnt -inum "$(<"$tmp/namespace")" 2>/dev/null)
}

# Run the examples on standard input. Their paths lead to this test's
# directory, in a mount namespace of their own, by which their servers are
# found later. A device that is still in swap at the end, since an example
# failed, is taken out while it is served.
run_examples() {
	cat >"$tmp/examples"
	cat >"$tmp/script" <<-SCRIPT
		stat -L -c %i /proc/self/ns/mnt >$tmp/namespace
		set -eux
		sudo() { command "\$@"; }
		mount --bind $tmp/root/srv /srv
		mount --bind $tmp/root/mnt /mnt
		mount --bind $tmp/root/run /run/tmem
		mount --bind $tmp/root/lib /var/lib/tmem
		mount --bind $TMEM_BUILD/tmemfs /usr/local/sbin
		swap_gone() {
			swapoff "\$device"
			losetup --detach "\$device"
		}
		trap '[ -z "\${device:-}" ] || swap_gone 2>/dev/null || :' EXIT
		. $tmp/examples
		! grep " fuse" /proc/self/mounts | grep $tmp
	SCRIPT
	unshare --mount --propagation private bash "$tmp/script" \
		</dev/null >"$tmp/examples.log" 2>&1 ||
		fail "an example failed: $(grep '^+' "$tmp/examples.log" | tail -n 1)"
	stop_servers
}
