/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What serving the host's own swap takes (host-swap.h). */
#include "host-swap.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/statfs.h>
#include "log.h"
#include "protect.h"

/* Part of the budget that is had at once and for good. The rest is for tables,
 * and comes when the host has memory to spare. */
#define RESERVE_OF(budget) ((budget) / 4 * 3)

/* What a store of that budget has on the heap when it is full, and twice as
 * much to be safe from holes. */
#define HEAP_OF(budget) ((budget) / 64 + (4u << 20))

static int check_protection(char *why, size_t why_size)
{
	unsigned protection = tmem_protection();

	if (!(protection & TMEM_PROTECT_LOCKED)) {
		snprintf(
			why, why_size,
			"host swap needs a server whose memory is locked: run it as root, or with CAP_SYS_RESOURCE and LimitMEMLOCK=infinity");
		return -EPERM;
	}
	if (!(protection & TMEM_PROTECT_MARKED))
		tmem_log(
			LOG_WARNING,
			"this host refuses PR_SET_IO_FLUSHER: under much pressure its swap may come to a stop; it takes Linux 5.6 and CAP_SYS_RESOURCE");
	if (!(protection & TMEM_PROTECT_SPARED))
		tmem_log(
			LOG_WARNING,
			"this host refuses a low oom_score_adj: when memory runs out the server of its swap may be killed first, and with it what is swapped; it takes CAP_SYS_RESOURCE, or OOMScoreAdjust=-900");
	return 0;
}

/** Whether the file is on a file system that would itself need memory, or a
 * process that may be swapped. */
static bool is_in_memory(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) || fs.f_type == TMPFS_MAGIC ||
	       fs.f_type == RAMFS_MAGIC || fs.f_type == FUSE_SUPER_MAGIC;
}

static int check_overflow(int fd, char *why, size_t why_size)
{
	int flags;

	if (fd < 0) {
		snprintf(
			why, why_size,
			"host swap needs an overflow file, for pages that the store has no memory for: give --overflow");
		return -EINVAL;
	}
	if (is_in_memory(fd)) {
		snprintf(
			why, why_size,
			"host swap needs an overflow file on a disk: tmpfs and FUSE need memory themselves");
		return -EINVAL;
	}
	flags = fcntl(fd, F_GETFL);
	if (flags >= 0 && !fcntl(fd, F_SETFL, flags | O_DIRECT))
		return 0;
	snprintf(
		why, why_size,
		"host swap needs an overflow file that takes direct I/O: put it on a file system that does, such as ext4 or xfs");
	return -EINVAL;
}

static uint64_t budget_of(struct tmem_store *store)
{
	uint64_t values[TMEM_HOST_STAT_COUNT];

	tmem_store_stats(store, values);
	return values[TMEM_HOST_STAT_budget];
}

int nbd_host_swap_prepare(const struct tmem_nbd_export_config *config,
			  struct nbd_overflow *overflow, char *why,
			  size_t why_size)
{
	uint64_t budget = budget_of(config->store);
	int r;

	r = check_protection(why, why_size);
	if (!r)
		r = check_overflow(config->overflow_fd, why, why_size);
	if (r < 0)
		return r;
	r = nbd_overflow_fill(overflow);
	if (r < 0) {
		snprintf(
			why, why_size,
			"host swap needs all of the overflow file's blocks, as large as the device, and writing them failed: %s",
			strerror(-r));
		return r;
	}
	r = tmem_store_set_reserve(config->store, RESERVE_OF(budget));
	if (r < 0) {
		snprintf(why, why_size,
			 "the store cannot keep a reserve for host swap: %s",
			 r == -EAGAIN ? "it has no background threads"
			 : r == -EOPNOTSUPP
				 ? "it takes Linux 5.14"
				 : "raise its budget, or have less in it");
		return r;
	}
	r = tmem_protect_touch(HEAP_OF(budget));
	if (r < 0)
		snprintf(why, why_size,
			 "locking memory for host swap failed: %s",
			 strerror(-r));
	return r;
}
