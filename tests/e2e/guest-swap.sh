#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A host that swaps on itself: in a guest with the kernel's nbd driver, tmemd,
# tmem-nbd --host-swap and "tmem-nbd attach" serve the swap that the same kernel
# writes to when a program needs more memory than there is. Its pages come back
# right, and nothing comes to a stop. What would stop it, or cost somebody's
# data, is refused before.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/guest-lib.sh"
requires_guest

# Of the guest's 256 MiB some 120 are the program's: the others are swapped.
mib=150 passes=1 seconds=800
[[ -z ${TMEM_TEST_FULL:-} ]] || mib=160 passes=10 seconds=16000

guest_new tmemd tmem-nbd tmem-admin nbd-client mkswap swapper <<SCRIPT
tmemd --daemon --budget 32M --arena none
refused() {
	text=\$1
	shift
	! tmem-nbd --name swap0 "\$@" 2>/run/refused || exit 1
	grep -qF -- "\$text" /run/refused || { cat /run/refused; exit 1; }
}
refused "needs a disk or partition" --size 64M --overflow /run/file --host-swap
[ ! -e /run/file ]
refused "unless it is for --host-swap" --size 64M --overflow /dev/vda
refused "needs a disk or partition" --size 64M --overflow /dev/nbd0 --host-swap
refused "No space left" --size 300M --overflow /dev/vda --host-swap
echo data | dd of=/dev/vda bs=4096 seek=1 conv=sync 2>/dev/null
refused "not an overflow file" --size 256M --overflow /dev/vda --host-swap
dd if=/dev/zero of=/dev/vda bs=4096 seek=1 count=1 2>/dev/null
# What is left behind the places that are looked at must not be seen later.
echo data | dd of=/dev/vda bs=1M seek=200 conv=sync 2>/dev/null
tmem-nbd --name swap0 --size 256M --overflow /dev/vda --host-swap
refused "busy" --size 256M --overflow /dev/vda --host-swap --socket /run/other
device=\$(tmem-nbd attach swap0 --priority 7)
dd if=\$device bs=1M skip=200 count=1 2>/dev/null | cmp -n 1048576 - /dev/zero
awk -v device="\$device" '\$1 == device && \$5 == 7 { on = 1 } END { exit !on }' \\
	/proc/swaps
! tmem-nbd attach swap0 || exit 1
echo "guest: swapping on \$device"
swapper --mib $mib --passes $passes
tmem-admin stats
tmem-nbd detach swap0
! grep -q nbd /proc/swaps || exit 1
[ ! -e /sys/block/nbd0/pid ]
# When its server ends, the disk is for any other.
kill \$(pidof tmem-nbd)
while [ -e /run/tmem/swap0.nbd ]; do usleep 100000; done
tmem-nbd --name other --size 64M --overflow /dev/vda --host-swap
SCRIPT
guest_run 256 300 "$seconds"

grep -q "^guest: swapping on /dev/nbd" "$tmp/guest.log" ||
	fail "the guest did not swap on an nbd device"
grep -q "^done $((mib * 256 * passes))$" "$tmp/guest.log" ||
	fail "the program did not check all pages"
# A column of the table of exports, by its name.
exports_column() {
	awk -v want="$1" '
		$1 == "uid" { for (i = 1; i <= NF; i++) if ($i == want) column = i }
		column && $2 == "swap0" { print $column; exit }' "$tmp/guest.log"
}
(($(exports_column requests) > 1000)) || fail "hardly anything was swapped"
(($(exports_column errors) == 0)) || fail "a request failed"
