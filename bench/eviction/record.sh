#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Record what real work asks of tmemfs, for the simulator; BENCHMARKS.md tells
# how and why.
#
#   record.sh WORKLOAD MIB COHERENCY TRACE SCRATCH [SOURCE]
#
# WORKLOAD   kernel (SOURCE: a kernel's source tree), git (SOURCE: a
#            repository with history) or sqlite
# MIB        memory that the workload gets, a guest's all told: a cgroup (v1)
# COHERENCY  exclusive: the kernel caches, and the trace is what a store behind
#            it sees; strict: it does not, and the trace is every access
# TRACE      the file to write
# SCRATCH    a directory for the workload's files, kept for the next recording

set -eu
workload=$1 mib=$2 coherency=$3 trace=$4 scratch=$5 source=${6:-}
scratch=$(realpath "$scratch")
here=$(dirname "$(realpath "$0")")
record=${TMEM_BUILD:-$here/../../build}/bench/eviction/tmemfs-record
cgroup=/sys/fs/cgroup/memory/tmem-record.$$
mkdir -p "$scratch/lower" "$scratch/mount"
lower=$scratch/lower mount=$scratch/mount

cleanup() {
	umount "$mount" 2>/dev/null || :
	rmdir "$cgroup" 2>/dev/null || :
}
trap cleanup EXIT
trap 'echo "$workload failed in $mib MiB: see $scratch/log" >&2' ERR

prepare_kernel() {
	[[ -d $lower/source ]] || cp -al "$source" "$lower/source" ||
		cp -a "$source" "$lower/source"
	rm -rf "$lower/out"
}

run_kernel() {
	local make=(make -s -C "$mount/source" O="$mount/out")
	"${make[@]}" "${TMEM_KERNEL_CONFIG:-tinyconfig}"
	# A compiler takes some 75 MiB.
	# shellcheck disable=SC2086 # targets
	"${make[@]}" -j$((mib < 192 ? 1 : 2)) ${TMEM_KERNEL_TARGETS:-}
}

prepare_git() {
	rm -rf "$lower/clone"
	[[ -d $lower/origin.git ]] ||
		git clone -q --bare --single-branch --depth 300 \
			"file://$(realpath "$source")" "$lower/origin.git"
	# A clone needs more memory than what follows.
	((mib >= 256)) ||
		git clone -q --no-hardlinks "$lower/origin.git" "$lower/clone"
}

run_git() {
	local i
	# Little memory beside the cache.
	export HOME=$scratch
	git config --global gc.auto 0
	git config --global safe.directory '*'
	git config --global pack.threads 1
	git config --global pack.windowMemory 8m
	git config --global pack.deltaCacheSize 4m
	git config --global core.deltaBaseCacheLimit 8m
	[[ -d $mount/clone ]] ||
		git clone -q --no-local "$mount/origin.git" "$mount/clone"
	cd "$mount/clone"
	for i in 250 150 70 20; do
		git checkout -q "HEAD~$i" 2>/dev/null || continue
		git status --short >/dev/null
		git grep -c static >/dev/null || :
		git checkout -q -
	done
	git log --oneline --stat -n 500 >/dev/null
	git log --oneline -S strbuf_release -n 20 >/dev/null
	git blame -s Makefile >/dev/null
	git diff --stat HEAD~200 >/dev/null || :
	for i in 1 2 3; do
		git log --oneline -n 3000 -- Makefile builtin >/dev/null
		git grep -c struct HEAD >/dev/null
	done
	git gc -q
	git fsck >/dev/null 2>&1
	git grep -c static >/dev/null
	cd /
}

prepare_sqlite() {
	[[ -s $lower/base.db ]] || "$here/database.sh" make "$lower/base.db"
	cp "$lower/base.db" "$lower/test.db"
	rm -f "$lower"/test.db-*
}

run_sqlite() {
	"$here/database.sh" use "$mount/test.db"
}

"prepare_$workload" >"$scratch/log" 2>&1
rm -f "$trace"
TMEM_TRACE=$trace "$record" -f --embedded \
	-o "budget=1G,coherency=$coherency" "$lower" "$mount" &
recorder=$!
until mountpoint -q "$mount"; do
	kill -0 $recorder
	sleep 0.1
done
mkdir "$cgroup"
echo $((mib << 20)) >"$cgroup/memory.limit_in_bytes"
(
	echo "$BASHPID" >"$cgroup/tasks"
	exec >>"$scratch/log" 2>&1
	set -x
	"run_$workload"
)
# The trace is complete when the recorder has ended.
umount "$mount"
wait $recorder
echo "$(wc -l <"$trace") requests"
