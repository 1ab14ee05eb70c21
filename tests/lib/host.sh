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

# Wait until a command succeeds, at most SECONDS; its output is dropped.
#   wait_for SECONDS COMMAND...
wait_for() {
	local end=$((SECONDS + $1))
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
	local state
	state=$(sed 's/.*) //; s/ .*//' "/proc/$1/stat" 2>/dev/null) || return 1
	[[ -n $state && $state != [ZX] ]]
}

gone() {
	! alive "$1"
}

# End a process by TERM, and by KILL when it has not gone in SECONDS.
#   stop_process PID [SECONDS]
stop_process() {
	alive "$1" || return 0
	kill -TERM "$1" 2>/dev/null
	wait_for "${2:-10}" gone "$1" && return 0
	kill -KILL "$1" 2>/dev/null
	wait_for 10 gone "$1"
}

# The directory of a new memory cgroup of the version this host has, below the
# controller's root. Fails when there is no memory controller.
#   memcg_new NAME
memcg_new() {
	local root
	if root=$(memcg_root v1); then
		mkdir "$root/$1" || return 1
	elif root=$(memcg_root v2); then
		grep -qw memory "$root/cgroup.subtree_control" ||
			echo +memory >"$root/cgroup.subtree_control" || return 1
		mkdir "$root/$1" || return 1
	else
		echo "no memory cgroup controller is mounted" >&2
		return 1
	fi
	echo "$root/$1"
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
	wait_for 10 rmdir "$1"
}
