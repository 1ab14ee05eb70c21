/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What reading leaves in the page cache; see growth.h. */
#include "growth.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <unistd.h>
#include "../clock.h"
#include "../kernel-memory.h"
#include "load.h"

#define REQUEST ((size_t)128 << 10)
#define FOREVER 3600.0 /* s */

static const unsigned compared = 1u << BENCH_EXT4 | 1u << BENCH_TMEMFS |
				 1u << BENCH_TMEMFS_STRICT | 1u << BENCH_LL |
				 1u << BENCH_FH | 1u << BENCH_BINDFS;

static double measure(const struct bench_mount *mount,
		      const struct bench_ground *ground,
		      const struct bench_pages *set)
{
	const struct bench_load all = {
		.size = REQUEST,
		.depth = 1,
		.read_percent = 100,
		.in_order = true,
		.buffered = true,
		.once = true,
		.seconds = FOREVER,
	};
	const char *name = bench_ground_name(BENCH_MISS);
	struct bench_loaded loaded;
	char path[128];
	double bytes;
	int fd, lower;

	snprintf(path, sizeof(path), "%s/%s", mount->place, name);
	bench_turns_begin(mount->pids);
	bench_ground_cold(ground, BENCH_MISS);
	fd = bench_load_run(path, &all, set, &loaded);
	bench_turns_settle(mount->pids);
	lower = openat(ground->fd, name, O_RDONLY | O_CLOEXEC);
	bench_must(lower < 0, "opening the lower file");
	bytes = bench_cached_bytes(lower);
	if (mount->kind != BENCH_EXT4)
		bytes += bench_cached_bytes(fd);
	close(lower);
	close(fd);
	bench_turns_stop(mount->pids);
	return bytes / (double)ground->size;
}

void bench_growth(const struct bench_options *options,
		  const struct bench_ground *ground,
		  const struct bench_pages *set, json_t *report)
{
	struct bench_mount mounts[BENCH_MOUNTS];
	size_t count =
		bench_mounts_start(mounts, options->mounts & compared, ground);

	printf("\n%-28s %8s\n", "growth", "MiB");
	for (size_t i = 0; i < count; i++) {
		double part = measure(&mounts[i], ground, set);

		bench_set(report, part, "growth/%s", mounts[i].name);
		printf("%-28s %8.1f\n", mounts[i].name,
		       part * (double)options->mib);
		fflush(stdout);
		bench_mount_end(&mounts[i]);
	}
}
