#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Install what the tests need, build tmem in every way we care for, and run
# everything. Usage: ./test.sh --help
#
# Each part works on its own; what it found goes to one file, a line for each
# test: "pass|fail|skip PART: NAME", and after a skip its reason. The last line
# counts those, so nothing can pass by not being run: meson's log must hold as
# many tests as meson lists, and a part that breaks off is a failure itself.

set -uo pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$top/build-test
. "$top/tests/lib/host.sh"

export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"
all_parts=(lint gcc clang asan tsan tidy fuzz)
fuzz_seconds=60
patience=3 # times the limit of each test: a machine may be slow
# The sanitizers' shadow memory has fixed places, which a kernel that
# randomises addresses widely enough may take first.
sanitized=()
! setarch --addr-no-randomize true 2>/dev/null ||
	sanitized=(setarch --addr-no-randomize)

usage() {
	cat <<USAGE
usage: sudo ./test.sh [--full] [PART...]

Parts (all of them, unless named):
  lint   shell scripts and man pages
  gcc    build with gcc -Werror; all tests
  clang  build with clang -Werror and its thread-safety analysis; unit tests
  asan   build with AddressSanitizer and UBSan; all tests but the slow ones
  tsan   build with ThreadSanitizer; unit and model tests
  tidy   clang-tidy over every source file
  fuzz   every fuzz target for $fuzz_seconds s

--full runs the tests' long variants: hours instead of at most 40 minutes.
The last line is "N passed, N failed, N skipped"; the exit status is 0 when
nothing failed. Logs stay in build-test/.
USAGE
}

parts=()
for argument; do
	case $argument in
	--full) export TMEM_TEST_FULL=1 patience=20 ;;
	-h | --help)
		usage
		exit 0
		;;
	*)
		if [[ " ${all_parts[*]} " != *" $argument "* ]]; then
			usage >&2
			exit 2
		fi
		parts+=("$argument")
		;;
	esac
done
((${#parts[@]})) || parts=("${all_parts[@]}")
if ((EUID != 0)); then
	echo "test.sh: needs root, to mount and to swap: run sudo ./test.sh" >&2
	exit 2
fi

step() {
	printf '\n== %s (after %d min %02d s)\n' "$*" \
		$((SECONDS / 60)) $((SECONDS % 60))
}

# Note one test's end, and say so unless it passed.
#   note pass|fail|skip NAME [REASON]
note() {
	echo "$1 $2${3:+: $3}" >>"$work/results"
	[[ $1 == pass ]] || echo "${1^^}: $2${3:+: $3}"
}

# Run a command as one test; its output is shown when it fails.
#   check NAME COMMAND...
check() {
	local name=$1 log
	shift
	log=$work/$(tr -c '[:alnum:]\n' - <<<"$name").log
	if "$@" </dev/null >"$log" 2>&1; then
		note pass "$name"
	else
		tail -n 60 "$log"
		note fail "$name"
		return 1
	fi
}

# Configure and build in $work/NAME.
#   build NAME COMPILER [meson options]
build() {
	local name=$1 compiler=$2
	shift 2
	step "$name: building"
	check "$name: configure" env CC="$compiler" meson setup "$work/$name" \
		"$top" -Dwerror=true "$@" &&
		check "$name: build without warnings" ninja -C "$work/$name"
}

# Run meson's tests of a build and note each of them.
#   run_tests NAME LAUNCHER... -- [meson test options]
run_tests() {
	local name=$1 log expected found
	local -a launcher=()
	shift
	while [[ $1 != -- ]]; do
		launcher+=("$1")
		shift
	done
	shift
	step "$name: testing"
	log=$work/$name/meson-logs/$name.json
	expected=$(meson test -C "$work/$name" --no-rebuild --list "$@" \
		2>/dev/null | wc -l)
	"${launcher[@]}" meson test -C "$work/$name" --no-rebuild \
		--logbase "$name" --print-errorlogs \
		--timeout-multiplier "$patience" "$@" </dev/null
	found=$(jq -s length "$log" 2>/dev/null || echo 0)
	((found == expected && found > 0)) ||
		note fail "$name: all tests were run" "$found of $expected"
	[[ -s $log ]] || return 1
	# A skipped test's last line on standard error is its reason.
	while IFS=$'\t' read -r result test reason; do
		note "$result" "$name: $test" "$reason"
	done < <(jq -r --arg part "$name" '
		{ OK: "pass", SKIP: "skip", EXPECTEDFAIL: "pass" } as $words
		| ($words[.result] // "fail") as $result
		| [ $result, .name,
		    if $result == "skip" then
			((.stderr // "") | rtrimstr("\n") | split("\n")
				| last // "without a reason")
		    elif $result == "fail" then .result
		    else "" end ]
		| @tsv' "$log")
}

part_lint() {
	step "lint: shell scripts and man pages"
	local -a scripts pages
	mapfile -t scripts < <(find "$top" -path "$top/build*" -prune -o \
		-name '*.sh' -print -o -path "$top/.ci/run" -print)
	check "lint: shellcheck" shellcheck -S warning -s bash "${scripts[@]}"
	mapfile -t pages < <(find "$top" -path "$top/build*" -prune -o \
		-path '*/man/*.[1-9]' -print)
	local page
	for page in "${pages[@]}"; do
		check "lint: ${page#"$top"/}" man_page_is_clean "$page"
	done
}

man_page_is_clean() {
	local complaints
	complaints=$(groff -mandoc -Tutf8 -ww -z "$1" 2>&1)
	[[ -z $complaints ]] || {
		echo "$complaints"
		return 1
	}
}

part_gcc() {
	build gcc gcc && run_tests gcc --
}

part_clang() {
	build clang clang && run_tests clang -- --suite unit
}

build_asan() {
	build asan clang -Db_sanitize=address,undefined -Dfuzzers=true \
		-Ddebug_locks=true
}

part_asan() {
	build_asan && run_tests asan "${sanitized[@]}" -- --no-suite slow
}

part_tsan() {
	build tsan clang -Db_sanitize=thread &&
		run_tests tsan "${sanitized[@]}" -- --suite unit --suite model
}

part_tidy() {
	[[ -e $work/clang/compile_commands.json ]] || build clang clang || return
	step "tidy: clang-tidy"
	local -a sources
	mapfile -t sources < <(jq -r '.[].file' "$work/clang/compile_commands.json" |
		sort -u)
	check "tidy: clang-tidy" tidy_all "${sources[@]}"
}

# Paths in compile_commands.json are relative to the build directory.
tidy_all() {
	cd "$work/clang" && printf '%s\0' "$@" |
		xargs -0 -P "$(nproc)" -n 1 clang-tidy --quiet -p .
}

part_fuzz() {
	[[ -e $work/asan/build.ninja ]] || build_asan || return
	step "fuzz: every target for $fuzz_seconds s"
	local target name
	local -a running=()
	for target in "$work"/asan/tests/fuzz/fuzz_*; do
		[[ -x $target && -f $target ]] || continue
		name=${target##*/}
		# Two at a time, as this is meant for two cores.
		((${#running[@]} < 2)) || {
			wait "${running[0]}"
			running=("${running[@]:1}")
		}
		check "fuzz: $name" fuzz_one "$target" "$name" &
		running+=("$!")
	done
	wait
}

# New inputs go to a folder of the build; the seeds come from the source.
fuzz_one() {
	local corpus=$work/corpus/$2 seeds=$top/tests/fuzz/corpus/${2#fuzz_}
	local dictionary=$top/tests/fuzz/${2#fuzz_}.dict
	local -a options=(-max_total_time="$fuzz_seconds" -print_final_stats=1
		-artifact_prefix="$corpus/")
	mkdir -p "$corpus"
	[[ ! -e $dictionary ]] || options+=(-dict="$dictionary")
	[[ ! -d $seeds ]] || corpus+=" $seeds"
	# shellcheck disable=SC2086 # two folders
	"${sanitized[@]}" "$1" "${options[@]}" $corpus
}

# What tests set up, and must have taken down again.
leftovers() {
	findmnt -rn -t fuse.tmemfs -o TARGET | grep "/tmem-"
	awk '{ print $2 }' /proc/self/mounts | grep "/tmem-[a-z]"
	losetup -nl -O BACK-FILE | grep "/tmem-[a-z]"
	find /proc/[0-9]*/exe -lname "$work/*" 2>/dev/null
}

# What an earlier run that was killed may have left, and would have tests fail in
# ways that say nothing of it.
host_is_ready() {
	local mountpoint
	swap_is_free /proc/swaps || return 1
	while read -r mountpoint; do
		! timeout 10 stat -f "$mountpoint" >/dev/null 2>&1 || continue
		echo "the server of the mount $mountpoint is gone, or hangs: run \"umount $mountpoint\"" >&2
		return 1
	done < <(findmnt -rn -t fuse.tmemfs,fuse -o TARGET |
		grep "/tmem-")
}

# One run at a time, on the whole host: tests swap on their devices before all
# others, and drop the kernel's caches. Nothing started below inherits this, so
# that a server which outlives its test does not hold the lock.
exec 8>>/run/tmem-test.lock
flock --nonblock 8 || {
	echo "test.sh: another run is at work (process $(tail -n 1 /run/tmem-test.lock)): wait for it to end" >&2
	exit 1
}
echo "$$" >/run/tmem-test.lock
host_is_ready || exit 1

rm -rf --one-file-system "$work"
mkdir -p "$work"
: >"$work/results"
packages_install "$top/packages.txt" build run test 8>&- || exit 1
# From here on what is missing is a failure, no reason to skip.
export TMEM_TEST_NO_SKIP=1
export TMEM_TEST_CACHE=$top/build-cache
leftovers | sort >"$work/before"

for part in "${parts[@]}"; do
	"part_$part" 8>&-
done

leftovers | sort | comm -13 "$work/before" - >"$work/left"
check "nothing is left mounted or running" test ! -s "$work/left" ||
	cat "$work/left"
# Whoever owns the source can remove what root has built in it.
chown -R --reference="$top" "$work" "$top/build-cache" 2>/dev/null

count() {
	grep -c "^$1 " "$work/results"
}

step "done"
grep "^skip " "$work/results"
grep "^fail " "$work/results"
failed=$(count fail)
echo "$(count pass) passed, $failed failed, $(count skip) skipped"
((failed == 0))
