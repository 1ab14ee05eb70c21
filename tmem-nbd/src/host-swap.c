/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What serving the host's own swap takes (host-swap.h). */
#include "host-swap.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
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

/** Whether fd is a disk that is not made of memory, of a file, or of a server
 * like this one: the name of a partition begins with its disk's. */
static bool is_real_disk(int fd)
{
	static const char *const others[] = {"loop", "nbd", "ram", "zram"};
	char path[64], target[PATH_MAX];
	const char *name;
	struct stat st;
	ssize_t n;

	if (fstat(fd, &st) || !S_ISBLK(st.st_mode))
		return false;
	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u", major(st.st_rdev),
		 minor(st.st_rdev));
	n = readlink(path, target, sizeof(target) - 1);
	if (n < 0)
		return false;
	target[n] = '\0';
	name = strrchr(target, '/');
	name = name ? name + 1 : target;
	for (unsigned i = 0; i < sizeof(others) / sizeof(*others); i++)
		if (!strncmp(name, others[i], strlen(others[i])))
			return false;
	return true;
}

static int check_overflow(int fd, char *why, size_t why_size)
{
	int flags;

	if (fd < 0) {
		snprintf(
			why, why_size,
			"host swap needs an overflow disk or partition, for pages that the store has no memory for: give --overflow");
		return -EINVAL;
	}
	if (!is_real_disk(fd)) {
		snprintf(
			why, why_size,
			"host swap needs a disk or partition as --overflow: a file system, and what is over one, may wait for memory that only swap can free");
		return -EINVAL;
	}
	flags = fcntl(fd, F_GETFL);
	if (flags >= 0 && !fcntl(fd, F_SETFL, flags | O_DIRECT))
		return 0;
	snprintf(why, why_size,
		 "host swap needs an overflow disk that takes direct I/O");
	return -EINVAL;
}

static uint64_t budget_of(struct tmem_store *store)
{
	uint64_t values[TMEM_HOST_STAT_COUNT];

	tmem_store_stats(store, values);
	return values[TMEM_HOST_STAT_budget];
}

int nbd_host_swap_check(const struct tmem_nbd_export_config *config, char *why,
			size_t why_size)
{
	int r = check_protection(why, why_size);

	return r < 0 ? r : check_overflow(config->overflow_fd, why, why_size);
}

int nbd_host_swap_prepare(const struct tmem_nbd_export_config *config,
			  char *why, size_t why_size)
{
	uint64_t budget = budget_of(config->store);
	int r;

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
