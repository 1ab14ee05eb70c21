/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Work on names; see names.h. */
#include "names.h"

#include <fcntl.h>
#include <ftw.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "../child.h"
#include "../clock.h"

#define FILES_OPEN 16

static const unsigned compared = 1u << BENCH_EXT4 | 1u << BENCH_TMEMFS |
				 1u << BENCH_TMEMFS_HOSTED | 1u << BENCH_LL |
				 1u << BENCH_FH | 1u << BENCH_BINDFS;

/* Each is called for every file in turn, in the folder of them. */
static int create_one(int folder, const char *name)
{
	int fd = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
			0644);

	return fd < 0 ? -1 : close(fd);
}

static int open_one(int folder, const char *name)
{
	int fd = openat(folder, name, O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -1 : close(fd);
}

static int rename_one(int folder, const char *name)
{
	char other[40];

	snprintf(other, sizeof(other), "%s-renamed", name);
	return renameat(folder, name, folder, other);
}

static int unlink_one(int folder, const char *name)
{
	char other[40];

	snprintf(other, sizeof(other), "%s-renamed", name);
	return unlinkat(folder, other, 0);
}

enum { UNTAR = 4, WORKS };

static const struct {
	const char *name;
	int (*one)(int folder, const char *name); /* or NULL: tar */
} works[WORKS] = {
	{"create", create_one}, {"open", open_one}, {"rename", rename_one},
	{"unlink", unlink_one}, {"untar", NULL},
};

static int remove_one(const char *path, const struct stat *st, int type,
		      struct FTW *where)
{
	return remove(path);
}

/* Each takes us a file. */
static double do_all(int (*one)(int, const char *), int folder,
		     unsigned long files)
{
	uint64_t start = bench_now();

	for (unsigned long i = 0; i < files; i++) {
		char name[24];

		snprintf(name, sizeof(name), "%lu", i);
		bench_must(one(folder, name), "work on a name");
	}
	return (double)(bench_now() - start) / 1e3 / (double)files;
}

static double untar(const struct bench_ground *ground, char *place,
		    unsigned long files)
{
	char *argv[] = {"tar", "-xf", (char *)ground->archive,
			"-C",  place, NULL};
	uint64_t start = bench_now();

	bench_must(bench_child_wait(bench_child_start(argv, -1, -1, SIGKILL)),
		   "tar");
	return (double)(bench_now() - start) / 1e3 / (double)files;
}

static void turn(const struct bench_ground *ground,
		 const struct bench_mount *mount, unsigned long files,
		 double took[WORKS])
{
	char place[128];
	int folder;

	bench_must(syncfs(ground->fd), "syncfs");
	bench_turns_begin(mount->pids);
	snprintf(place, sizeof(place), "%s/names", mount->place);
	bench_must(mkdir(place, 0755), "making a folder");
	folder = open(place, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bench_must(folder < 0, "opening a folder");
	for (int i = 0; i < UNTAR; i++)
		took[i] = do_all(works[i].one, folder, files);
	took[UNTAR] = untar(ground, place, files);
	close(folder);
	bench_must(nftw(place, remove_one, FILES_OPEN, FTW_DEPTH | FTW_PHYS),
		   "removing what was made");
	bench_turns_settle(mount->pids);
	bench_turns_stop(mount->pids);
}

static void note(const struct bench_mount *mount, double *took,
		 unsigned long rounds, json_t *report)
{
	double *of_rounds = calloc(rounds, sizeof(*of_rounds));

	bench_must(!of_rounds, "calloc");
	printf("%-28s", mount->name);
	for (int i = 0; i < WORKS; i++) {
		double median;

		for (unsigned long round = 0; round < rounds; round++)
			of_rounds[round] = took[round * WORKS + (unsigned)i];
		median = bench_median(of_rounds, rounds);
		bench_set(report, median, "names/%s/%s", works[i].name,
			  mount->name);
		printf(" %8.1f", median);
	}
	printf("\n");
	free(of_rounds);
}

void bench_names(const struct bench_options *options,
		 const struct bench_ground *ground, json_t *report)
{
	struct bench_mount mounts[BENCH_MOUNTS];
	size_t count =
		bench_mounts_start(mounts, options->mounts & compared, ground);
	size_t a_mount = options->rounds * WORKS;
	double *took = calloc(count * a_mount + 1, sizeof(*took));

	bench_must(!took, "calloc");
	printf("\n%-28s", "names, us a file");
	for (int i = 0; i < WORKS; i++)
		printf(" %8s", works[i].name);
	printf("\n");
	for (unsigned long round = 0; round < options->rounds; round++)
		for (size_t i = 0; i < count; i++)
			turn(ground, &mounts[i], options->files,
			     took + i * a_mount + round * WORKS);
	for (size_t i = 0; i < count; i++) {
		note(&mounts[i], took + i * a_mount, options->rounds, report);
		bench_mount_end(&mounts[i]);
	}
	for (int i = 0; i < WORKS; i++)
		bench_set(report,
			  fmin(bench_get(report, "names/%s/ll", works[i].name),
			       bench_get(report, "names/%s/fh", works[i].name)),
			  "names/%s/passthrough", works[i].name);
	fflush(stdout);
	free(took);
}
