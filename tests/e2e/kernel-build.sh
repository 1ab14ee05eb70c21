#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A kernel compiled inside a tmemfs mount comes out the same, file by file, as
# one compiled on the lower file system. Both builds see the same path: the
# mount covers its own source.

. "$(dirname "$0")/lib.sh"
requires_root
requires_fuse
for tool in "make --version" "flex --version" "bison --version" "bc --version" "gcc --version"; do
	# shellcheck disable=SC2086 # a command and its option
	requires $tool
done

export KBUILD_BUILD_TIMESTAMP=2024-01-01 KBUILD_BUILD_VERSION=1
export KBUILD_BUILD_USER=tmem KBUILD_BUILD_HOST=tmem
config=${TMEM_TEST_FULL:+defconfig}
config=${config:-tinyconfig}

kernel_source tree
mkdir "$tmp/kernel"
link_tree "$tree" "$tmp/kernel/source"

# Both the source and the output are below $tmp/kernel.
build_kernel() {
	make -s -C "$tmp/kernel/source" O="$tmp/kernel/out" "$config" &&
		make -s -C "$tmp/kernel/source" O="$tmp/kernel/out" -j"$(nproc)"
}

build_kernel >"$tmp/lower.log" 2>&1 || fail "no kernel can be built here at all"
mv "$tmp/kernel/out" "$tmp/out-lower"

start_tmemd --budget 512M
mount_tmemfs "$tmp/kernel" "$tmp/kernel" -o "tmemd=$tmemd_socket"
build_kernel >"$tmp/mounted.log" 2>&1 || fail "the build in the mount failed"
diff -r --no-dereference "$tmp/out-lower" "$tmp/kernel/out" >"$tmp/diff" ||
	fail "the builds differ: $(head -n 10 "$tmp/diff")"
(($(stat_of .host.puts_stored) > 0)) || fail "the store had no part in it"
unmount "$tmp/kernel"
diff -r --no-dereference "$tmp/out-lower" "$tmp/kernel/out" >"$tmp/diff" ||
	fail "the lower files differ: $(head -n 10 "$tmp/diff")"
[[ -s $tmp/kernel/out/arch/x86/boot/bzImage || -s $tmp/kernel/out/vmlinux ]] ||
	fail "the build made no kernel"
