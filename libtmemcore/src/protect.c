/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "protect.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

/* Not never (-1000): a leak must not take the whole host with it. */
#define PROTECT_OOM_SCORE "-900"

/*
 * MCL_ONFAULT locks what is touched, and no more: the arena is sparse. With a
 * limit on locked memory, later mappings would fail instead of staying
 * unlocked, so then nothing is locked.
 */
static bool protect_lock(void)
{
	struct rlimit limit;

	if (geteuid() != 0 && (getrlimit(RLIMIT_MEMLOCK, &limit) < 0 ||
			       limit.rlim_cur != RLIM_INFINITY))
		return false;
	return mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) == 0;
}

bool tmem_protect(void)
{
	bool locked = protect_lock();
	bool marked = prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) == 0;
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd >= 0) {
		/* Refused to the unprivileged, who serve no swap. */
		(void)!write(fd, PROTECT_OOM_SCORE,
			     sizeof(PROTECT_OOM_SCORE) - 1);
		close(fd);
	}
	return locked && marked;
}
