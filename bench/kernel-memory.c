/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the kernel says of memory in use; see kernel-memory.h. */
#include "kernel-memory.h"

#include <malloc.h>
#include <stdio.h>
#include <sys/stat.h>
#include "clock.h"

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
