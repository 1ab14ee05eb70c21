# SPDX-License-Identifier: GPL-2.0-or-later
#
# A virtual machine for tests that a host must not be put through: one that
# swaps on itself, and has the kernel's own nbd driver. Sourced after lib.sh.
#
# QEMU runs it by emulation (TCG), so it needs no rights and no KVM, and is some
# ten times slower than the machine it runs on. Its kernel is Debian's, unpacked
# into the cache and never installed; its root is an initramfs of busybox, the
# programs that the test names and the libraries these need. There, /test runs
# as root. What it prints ends up in $tmp/guest.log; the guest is over when it
# is.

guest_kernel_package=linux-image-cloud-amd64

# In the order in which they depend on each other.
guest_modules=(virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev
	virtio_pci virtio_blk nbd)

requires_guest() {
	[[ $(uname -m) == x86_64 ]] || skip "the guest's kernel is for x86-64"
	requires qemu-system-x86_64 --version
	requires test -x /bin/busybox
}

# Debian's kernel for virtual machines, unpacked into the cache: its directory
# in the variable VAR, with vmlinuz and the modules.
#   guest_kernel VAR
guest_kernel() {
	local -n kernel_out=$1
	local cache=${TMEM_TEST_CACHE:-$TMEM_BUILD/cache}
	mkdir -p "$cache"
	kernel_out=$cache/guest-kernel
	(
		flock 9
		[[ ! -e $kernel_out.complete ]] || exit 0
		rm -rf "$kernel_out"
		mkdir "$kernel_out"
		guest_kernel_unpack "$kernel_out" >"$tmp/guest-kernel.log" 2>&1 ||
			exit 1
		touch "$kernel_out.complete"
	) 9>"$cache/guest-kernel.lock" ||
		skip "the kernel package of $guest_kernel_package cannot be downloaded: $(tail -n 1 "$tmp/guest-kernel.log")"
}

guest_kernel_unpack() {
	local dir=$1 package module file
	local -a deb
	package=$(guest_kernel_name) || {
		apt-get -qq update && package=$(guest_kernel_name)
	} || return 1
	# A package list that is out of date names files that are gone.
	(cd "$dir" && apt-get -qq -o APT::Sandbox::User=root download "$package") || {
		apt-get -qq update && package=$(guest_kernel_name) &&
			(cd "$dir" && apt-get -qq -o APT::Sandbox::User=root download "$package")
	} || return 1
	deb=("$dir"/*.deb)
	dpkg -x "${deb[0]}" "$dir/all" || return 1
	mv "$dir"/all/boot/vmlinuz-* "$dir/vmlinuz" || return 1
	for module in "${guest_modules[@]}"; do
		file=$(find "$dir/all" -name "$module.ko") &&
			mv "$file" "$dir/" || return 1
	done
	rm -r "$dir/all" "${deb[0]}"
}

# The package that stands for Debian's current kernel depends on it.
guest_kernel_name() {
	apt-cache depends --important "$guest_kernel_package" 2>/dev/null |
		awk '$1 == "Depends:" { print $2; found = 1; exit } END { exit !found }'
}

# Make the initramfs $tmp/guest.img, in which SCRIPT, read from standard input,
# is run with the named programs in PATH.
#   guest_new PROGRAM... <SCRIPT
guest_new() {
	local root=$tmp/guest kernel program path file
	guest_kernel kernel
	mkdir -p "$root"/{bin,dev,proc,run,sys,tmp,modules}
	cp /bin/busybox "$root/bin/"
	for program; do
		path=$(command -v "$program") || fail "there is no program $program"
		cp "$path" "$root/bin/"
		while read -r file; do
			[[ -e $root$file ]] || install -D "$file" "$root$file"
		done < <(ldd "$path" | grep -o '/[^ ]*')
	done
	cp "$kernel"/*.ko "$root/modules/"
	printf '%s\n' '#!/bin/sh' 'set -eu' >"$root/test"
	cat >>"$root/test"
	guest_init >"$root/init"
	chmod +x "$root/init" "$root/test"
	(cd "$root" && find . | cpio -o -H newc --quiet) >"$tmp/guest.img"
	rm -r "$root"
}

# What the guest's first process does.
guest_init() {
	cat <<-'INIT'
		#!/bin/busybox sh
		/bin/busybox --install -s /bin
		mount -t proc proc /proc
		mount -t sysfs sysfs /sys
		mount -t devtmpfs dev /dev
		mount -t tmpfs tmpfs /run
	INIT
	local module
	for module in "${guest_modules[@]}"; do
		echo "insmod /modules/$module.ko"
	done
	cat <<-'INIT'
		export PATH=/bin
		if /test; then
			echo "guest: passed"
		else
			echo "guest: failed with status $?"
		fi
		poweroff -f
	INIT
}

# Run the guest of guest_new, with MIB of memory and an empty disk of DISK MiB,
# /dev/vda, for at most SECONDS. Fails unless its script succeeded and the kernel
# was content, but for tasks that are blocked for long: those may be a matter of
# what else the machine has to do, and what never goes on fails by the time.
#   guest_run MIB DISK SECONDS
guest_run() {
	local kernel
	guest_kernel kernel
	truncate -s "$2M" "$tmp/guest.disk"
	timeout --kill-after 10 "$3" qemu-system-x86_64 -accel tcg \
		-machine pc -cpu max -smp 2 -m "$1" -nodefaults -display none \
		-no-reboot -serial stdio -kernel "$kernel/vmlinuz" \
		-initrd "$tmp/guest.img" \
		-append "console=ttyS0 quiet panic=-1 no_timer_check nowatchdog rcupdate.rcu_cpu_stall_suppress=1 mitigations=off" \
		-drive "if=virtio,format=raw,cache=unsafe,file=$tmp/guest.disk" \
		</dev/null >"$tmp/guest.log" 2>&1 ||
		fail "the guest did not end within $3 seconds"
	tr -d '\r' <"$tmp/guest.log" >"$tmp/guest.log.text"
	mv "$tmp/guest.log.text" "$tmp/guest.log"
	grep -q '^guest: passed$' "$tmp/guest.log" ||
		fail "the guest's script failed"
	if grep -E 'BUG:|WARNING:|page allocation failure|Out of memory|Write-error|Read-error|I/O error' "$tmp/guest.log"; then
		fail "the guest's kernel complained"
	fi
}
