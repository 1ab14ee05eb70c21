# SPDX-License-Identifier: GPL-2.0-or-later
#
# What our scripts do to a host: packages, memory cgroups, waiting, and a swap
# device made of an NBD server's socket. Sourced by quickstart.sh, test.sh and
# tests/e2e/lib.sh; nothing here prints unless it fails, and nothing here
# cleans up by itself: each function that sets something up has a counterpart
# that takes it down and may be called at any time.

# The packages of the given sections of packages.txt.
#   packages_of FILE SECTION...
packages_of() {
	local file=$1 section
	shift
	for section; do
		awk -v want="[$section]" '
			/^#/ || !NF { next }
			/^\[/ { on = $1 == want; next }
			on { print $1 }' "$file"
	done
}

# Those of the given packages that are not installed.
packages_missing() {
	dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" 2>/dev/null |
		awk '$1 == "installed" { print $2 }' | sort -u |
		comm -13 - <(printf '%s\n' "$@" | sort -u)
}

# Install what is missing of the given sections; quiet when nothing is.
#   packages_install FILE SECTION...
packages_install() {
	local -a want missing
	mapfile -t want < <(packages_of "$@")
	mapfile -t missing < <(packages_missing "${want[@]}")
	((${#missing[@]})) || return 0
	if ! command -v apt-get >/dev/null; then
		echo "these Debian packages are missing, and there is no apt-get to install them: ${missing[*]}" >&2
		return 1
	fi
	echo "installing ${#missing[@]} packages: ${missing[*]}"
	export DEBIAN_FRONTEND=noninteractive
	local -a get=(apt-get -qq -o DPkg::Lock::Timeout=120 --yes
		--no-install-recommends install "${missing[@]}")
	# A package list that is out of date names files that are gone.
	"${get[@]}" </dev/null >/dev/null 2>&1 || {
		apt-get -qq -o DPkg::Lock::Timeout=120 update &&
			"${get[@]}" </dev/null >/dev/null
	} || {
		echo "apt-get could not install: ${missing[*]}" >&2
		return 1
	}
}

# Wait until a command succeeds, at most SECONDS, times $patience where that is
# set; its output is dropped.
#   wait_for SECONDS COMMAND...
wait_for() {
	local end=$((SECONDS + $1 * ${patience:-1}))
	shift
	until "$@" >/dev/null 2>&1; do
		if ((SECONDS > end)); then
			echo "waited in vain for: $*" >&2
			return 1
		fi
		sleep 0.05
	done
}

# Whether a process is there and not a zombie that nobody has waited for.
alive() {
	local state tasks
	state=$(sed 's/.*) //; s/ .*//' "/proc/$1/stat" 2>/dev/null) || return 1
	[[ -n $state ]] || return 1
	# Killed, a first thread is a zombie while others still let go of files.
	tasks=(/proc/"$1"/task/*)
	[[ $state != [ZX] ]] || ((${#tasks[@]} > 1))
}

gone() {
	! alive "$1"
}

# End a process by TERM, and by KILL when it has not gone in SECONDS.
#   stop_process PID [SECONDS]
stop_process() {
	alive "$1" || return 0
	kill -TERM "$1" 2>/dev/null
	wait_for "${2:-30}" gone "$1" && return 0
	kill -KILL "$1" 2>/dev/null
	wait_for 60 gone "$1"
}

# Where a memory cgroup of that name is or would be, in the version of the
# controller that this host has. Fails when it has none.
#   memcg_path NAME
memcg_path() {
	local root
	root=$(memcg_root v1) || root=$(memcg_root v2) || {
		echo "no memory cgroup controller is mounted" >&2
		return 1
	}
	echo "$root/$1"
}

# Make a memory cgroup.
#   memcg_new CGROUP (of memcg_path)
memcg_new() {
	local control=${1%/*}/cgroup.subtree_control
	if [[ -e $control ]] && ! grep -qw memory "$control"; then
		echo +memory >"$control" || return 1
	fi
	mkdir "$1"
}

# Where the memory controller of a version is mounted, if it is.
#   memcg_root v1|v2
memcg_root() {
	local root
	case $1 in
	v1)
		findmnt -rn -t cgroup -O memory -o TARGET | head -n 1 | grep .
		;;
	v2)
		while read -r root; do
			if grep -qsw memory "$root/cgroup.controllers"; then
				echo "$root"
				return 0
			fi
		done < <(findmnt -rn -t cgroup2 -o TARGET)
		return 1
		;;
	esac
}

# Limit a memory cgroup's memory, not its swap.
#   memcg_limit CGROUP BYTES
memcg_limit() {
	if [[ -e $1/memory.limit_in_bytes ]]; then
		echo "$2" >"$1/memory.limit_in_bytes"
	else
		echo "$2" >"$1/memory.max"
	fi
}

# Never swap a memory cgroup's processes: for whoever serves a swap device.
#   memcg_noswap CGROUP
memcg_noswap() {
	if [[ -e $1/memory.swappiness ]]; then
		echo 0 >"$1/memory.swappiness"
	elif [[ -e $1/memory.swap.max ]]; then
		echo 0 >"$1/memory.swap.max"
	fi
}

# Bytes of a memory cgroup that are in swap now.
memcg_swapped() {
	if [[ -e $1/memory.limit_in_bytes ]]; then
		awk '$1 == "swap" { print $2 }' "$1/memory.stat"
	else
		cat "$1/memory.swap.current"
	fi
}

# Run a command inside a memory cgroup.
#   memcg_run CGROUP COMMAND...
memcg_run() {
	local cgroup=$1
	shift
	(
		echo "$BASHPID" >"$cgroup/cgroup.procs" || exit 1
		exec "$@"
	)
}

# Kill what is in a memory cgroup and remove it.
memcg_free() {
	local pid
	[[ -d $1 ]] || return 0
	while read -r pid; do
		kill -KILL "$pid" 2>/dev/null
	done <"$1/cgroup.procs"
	wait_for 60 rmdir "$1"
}

# A block device over an NBD server on this host, fit for swap: by nbd-client
# where the kernel has nbd, else by nbdfuse and a loop device with direct I/O
# (without it the page cache would hold each page a second time, and writing
# that back would need memory just when there is none). Whoever serves swap
# must never be swapped itself: run the NBD server and this function in a
# memory cgroup made by memcg_noswap. nbdfuse runs in a session of its own, to
# outlive its caller, until nbd_device_free. DIR is the function's to use.
#   nbd_device_new SOCKET EXPORT DIR
nbd_device_new() {
	local socket=$1 export=$2 dir=$3 device
	mkdir -p "$dir/mnt"
	[[ -e /sys/block/nbd0 ]] || modprobe -q nbd 2>/dev/null || true
	for device in /sys/block/nbd*; do
		[[ -e $device && ! -e $device/pid ]] || continue
		device=/dev/${device##*/}
		echo "$device" >"$dir/device"
		# One connection and no timeout: a slow server loses no pages. In
		# a container, and where somebody was faster, it may not be ours.
		! nbd-client -unix "$socket" "$device" -name "$export" \
			-timeout 0 -block-size 4096 -swap >/dev/null 2>&1 || return 0
		rm "$dir/device"
	done
	nbdfuse_new "$socket" "$export" "$dir/mnt" || return 1
	losetup --find --direct-io=on --sector-size 4096 "$dir/mnt/nbd"
}

nbdfuse_new() {
	setsid nbdfuse "$3" "nbd+unix:///$2?socket=$1" \
		</dev/null >/dev/null 2>&1 &
	disown "$!"
	# The kernel's out-of-memory killer should find somebody else. A root
	# without CAP_SYS_RESOURCE, as in some containers, may not ask for it.
	{ echo -1000 >"/proc/$!/oom_score_adj"; } 2>/dev/null || true
	wait_for 60 mountpoint -q "$3"
}

# The device that nbd_device_new made with DIR; fails if there is none.
nbd_device_of() {
	local file
	cat "$1/device" 2>/dev/null && return 0
	for file in /sys/block/loop*/loop/backing_file; do
		if [[ -e $file && $(<"$file") == "$1/mnt/nbd" ]]; then
			file=${file%/loop/*}
			echo "/dev/${file##*/}"
			return 0
		fi
	done
	return 1
}

# Undo nbd_device_new, from wherever it came to, while the NBD server is still
# there. Fine to call again. Fails while the device is in swap, which nbd-client
# and losetup do not mind.
#   nbd_device_free DIR
nbd_device_free() {
	local device
	if device=$(nbd_device_of "$1"); then
		! swap_is_on "$device" || {
			echo "$device is still in swap" >&2
			return 1
		}
		case $device in
		/dev/nbd*) nbd-client -d "$device" >/dev/null || return 1 ;;
		/dev/loop*) losetup --detach "$device" || return 1 ;;
		esac
		rm -f "$1/device"
	fi
	# Not mountpoint(1), which fails on the mount of a dead nbdfuse.
	grep -qF " $1/mnt " /proc/self/mountinfo || return 0
	wait_for 60 umount "$1/mnt"
}

# Whether nothing is in the way of swap_on: no swap that comes as early, and none
# that has lost its server, as when a run was killed with all it had started;
# pages that the kernel swaps to that are lost. SWAPS is as /proc/swaps.
#   swap_is_free SWAPS
swap_is_free() {
	local device priority _
	while read -r device _ _ _ priority; do
		if [[ $device == /dev/loop* ]] &&
			! dd if="$device" of=/dev/null bs=4096 count=1 iflag=direct 2>/dev/null; then
			echo "$device is in use for swap and cannot be read, as its server is gone: run \"swapoff $device\", and restart the machine if that fails" >&2
			return 1
		elif [[ $priority == 32767 ]]; then
			echo "$device is in use for swap before all others: run \"swapoff $device\"" >&2
			return 1
		fi
	done <"$1"
}

# Swap on a device before all others, telling it which pages are free.
#   swap_on DEVICE
swap_on() {
	mkswap "$1" >/dev/null && swapon --discard --priority 32767 "$1"
}

# Swap off a device, if it is on. Fails where memory does not suffice to hold what is
# in it; the pages are then still there, and so must their server be.
swap_off() {
	swap_is_on "$1" || return 0
	swapoff "$1"
}

swap_is_on() {
	grep -q "^$1[[:space:]]" /proc/swaps
}
