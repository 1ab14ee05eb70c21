/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the kernel says of memory in use; see kernel-memory.h. */
#include "kernel-memory.h"

#include <malloc.h>
#include <math.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <tmem/types.h>
#include <unistd.h>
#include "clock.h"

#ifndef SYS_cachestat
#define SYS_cachestat 451 /* the same on every architecture */
#endif

uint64_t bench_file_bytes(int fd)
{
	struct stat st;

	bench_must(fstat(fd, &st), "fstat");
	return (uint64_t)st.st_blocks * 512;
}

uint64_t bench_anonymous_bytes(void)
{
	unsigned long long kib = 0;
	char line[256];
	FILE *rollup;

	malloc_trim(0);
	rollup = fopen("/proc/self/smaps_rollup", "re");
	bench_must(!rollup, "opening /proc/self/smaps_rollup");
	while (fgets(line, sizeof(line), rollup) &&
	       sscanf(line, "Anonymous: %llu", &kib) != 1)
		;
	fclose(rollup);
	return kib << 10;
}

double bench_cached_bytes(int fd)
{
	struct {
		uint64_t off, len;
	} range = {0}; /* up to the end */
	struct {
		uint64_t cache, dirty, writeback, evicted, recently_evicted;
	} found;

	if (syscall(SYS_cachestat, fd, &range, &found, 0))
		return NAN;
	return (double)found.cache * TMEM_PAGE_SIZE;
}
