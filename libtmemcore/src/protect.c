/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "protect.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

/* Not never (-1000): a leak must not take the whole host with it. */
#define PROTECT_OOM_SCORE "-900"

/* Bytes of heap to have ready, at least. */
#define PROTECT_HEAP ((size_t)1 << 20)

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

/* Whether the kernel looks for others first: systemd may have seen to that. */
static bool protect_spare(void)
{
	char text[16] = "";
	int fd = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return false;
	/* Refused to the unprivileged. */
	(void)!write(fd, PROTECT_OOM_SCORE, sizeof(PROTECT_OOM_SCORE) - 1);
	n = pread(fd, text, sizeof(text) - 1, 0);
	close(fd);
	return n > 0 && atoi(text) <= atoi(PROTECT_OOM_SCORE);
}

/* Relaxed: it guards nothing. */
static _Atomic(unsigned) protection;

unsigned tmem_protection(void)
{
	return atomic_load_explicit(&protection, memory_order_relaxed);
}

static void protect_add(unsigned more)
{
	atomic_fetch_or_explicit(&protection, more, memory_order_relaxed);
}

unsigned tmem_protect(void)
{
	/* One heap for all threads, so that there is one to have ready. */
	mallopt(M_ARENA_MAX, 1);
	if (protect_lock())
		protect_add(TMEM_PROTECT_LOCKED);
	if (prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) == 0)
		protect_add(TMEM_PROTECT_MARKED);
	if (protect_spare())
		protect_add(TMEM_PROTECT_SPARED);
	return tmem_protection();
}

/* Lock a mapping whole, as a line of /proc/self/maps has it. What cannot be
 * read, like the unused part of a heap, cannot be touched either: it is when
 * it is made accessible. */
static void protect_touch_mapping(const char *line)
{
	unsigned long start, end;
	char mode[5];

	if (sscanf(line, "%lx-%lx %4s", &start, &end, mode) == 3 &&
	    mode[3] == 'p' && !strstr(line, "[v"))
		(void)mlock((const void *)start, end - start);
}

/* Have the heap grow by so much at once, and not be given back: what frees and
 * allocates goes on without the kernel. A thread that grew it would wait for
 * memory with malloc's lock, the address space's and some of its own. */
static int protect_heap(size_t bytes)
{
	void *volatile block;

	protect_add(TMEM_PROTECT_TOUCHED);
	mallopt(M_TOP_PAD, (int)PROTECT_HEAP);
	mallopt(M_TRIM_THRESHOLD, INT_MAX);
	mallopt(M_MMAP_MAX, 0);
	block = malloc(bytes > PROTECT_HEAP ? bytes : PROTECT_HEAP);
	if (!block)
		return -ENOMEM;
	free(block);
	return 0;
}

int tmem_protect_touch(size_t heap)
{
	char line[PATH_MAX + 128];
	FILE *maps;
	int r;

	/* What comes is touched as it comes, what there is stays as it is. */
	if (mlockall(MCL_FUTURE) < 0)
		return -errno;
	r = protect_heap(heap);
	if (r < 0)
		return r;
	maps = fopen("/proc/self/maps", "re");
	if (!maps)
		return -errno;
	while (fgets(line, sizeof(line), maps))
		protect_touch_mapping(line);
	fclose(maps);
	return 0;
}
