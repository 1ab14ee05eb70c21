#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The examples of the man pages of tmemfs and tmem-nbd do what they say.

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/examples-lib.sh"
requires_swap
requires_loop
requires_fuse
requires nbdfuse --version
examples_init

for page in tmemfs/man/tmemfs.1 tmem-nbd/man/tmem-nbd.8; do
	literal_examples "$e2e_dir/../../$page" >"$tmp/page"
	(($(grep -c . "$tmp/page") >= 8)) || fail "$page has lost its examples"
	{
		echo "tmemd --daemon --budget 256M"
		cat "$tmp/page"
	} | run_examples
done
