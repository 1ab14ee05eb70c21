/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel says in /proc/self/cgroup which cgroup a process is in, as a path
 * within each hierarchy, and in /proc/self/mountinfo where hierarchies are
 * mounted, and which part of each (its root):
 *
 *   4:memory:/vm/web            24 30 0:21 /vm /sys/fs/cgroup/memory ... cgroup
 *             ^^^ root  ^^^^ below the mount point: /sys/fs/cgroup/memory/web
 *
 * In a container, path and root may name what is not visible there; then the
 * mount point itself is the nearest cgroup that can be read.
 */
#include "memlimit.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>
#include <unistd.h>

#define MIB (1ull << 20)

enum cgroup_version { CGROUP_V1, CGROUP_V2 };

static FILE *memlimit_open(const char *root, const char *path)
{
	char full[PATH_MAX];

	if (snprintf(full, sizeof(full), "%s%s", root, path) >= PATH_MAX)
		return NULL;
	return fopen(full, "re");
}

int tmem_memlimit_available(const char *root, uint64_t *bytes)
{
	FILE *file = memlimit_open(root, "/proc/meminfo");
	char line[256];
	uint64_t kib;
	int r = -ENODATA;

	if (file == NULL)
		return -errno;
	while (r < 0 && fgets(line, sizeof(line), file) != NULL)
		if (sscanf(line, "MemAvailable: %" SCNu64 " kB", &kib) == 1) {
			*bytes = kib * 1024;
			r = 0;
		}
	fclose(file);
	return r;
}

/* Whether word is one of the comma-separated words of list. */
static bool memlimit_listed(const char *list, const char *word)
{
	size_t length = strlen(word);

	for (const char *at = list; at != NULL; at = strchr(at, ',')) {
		at += *at == ',';
		if (strncmp(at, word, length) == 0 &&
		    strchr(", \n", at[length]) != NULL)
			return true;
	}
	return false;
}

/* This process's path in the hierarchy of version. */
static bool memlimit_own_path(const char *root, enum cgroup_version version,
			      char path[static PATH_MAX])
{
	FILE *file = memlimit_open(root, "/proc/self/cgroup");
	char line[PATH_MAX + 256], *controllers, *own;
	bool found = false;

	if (file == NULL)
		return false;
	while (!found && fgets(line, sizeof(line), file) != NULL) {
		line[strcspn(line, "\n")] = '\0';
		controllers = strchr(line, ':');
		own = controllers ? strchr(controllers + 1, ':') : NULL;
		if (own == NULL || strlen(own + 1) >= PATH_MAX)
			continue;
		*own++ = '\0';
		controllers++;
		found = version == CGROUP_V2
				? *controllers == '\0'
				: memlimit_listed(controllers, "memory");
		if (found)
			strcpy(path, own);
	}
	fclose(file);
	return found;
}

/* mountinfo writes white space and backslashes in paths as octal. */
static void memlimit_unescape(char *text)
{
	char *to = text;

	for (char *at = text; *at != '\0'; to++) {
		if (at[0] == '\\' && at[1] != '\0' && at[2] != '\0' &&
		    at[3] != '\0') {
			*to = (char)((at[1] - '0') * 64 + (at[2] - '0') * 8 +
				     (at[3] - '0'));
			at += 4;
		} else {
			*to = *at++;
		}
	}
	*to = '\0';
}

/* Where the hierarchy of version is mounted, and which part of it. */
static bool memlimit_mount(const char *root, enum cgroup_version version,
			   char part[static PATH_MAX],
			   char point[static PATH_MAX])
{
	FILE *file = memlimit_open(root, "/proc/self/mountinfo");
	char *line = NULL, *after, *options;
	size_t room = 0;
	bool found = false;

	if (file == NULL)
		return false;
	while (!found && getline(&line, &room, file) > 0) {
		after = strstr(line, " - ");
		if (after == NULL ||
		    sscanf(line, "%*s %*s %*s %4095s %4095s", part, point) != 2)
			continue;
		options = strrchr(after, ' ') + 1;
		found = version == CGROUP_V2
				? strncmp(after, " - cgroup2 ", 11) == 0
				: strncmp(after, " - cgroup ", 10) == 0 &&
					  memlimit_listed(options, "memory");
	}
	free(line);
	fclose(file);
	if (found) {
		memlimit_unescape(part);
		memlimit_unescape(point);
	}
	return found;
}

/* The number in file name of directory; "max" and no number are no limit. */
static uint64_t memlimit_read(const char *root, const char *directory,
			      const char *name)
{
	char path[PATH_MAX], line[64];
	uint64_t value = TMEM_MEMLIMIT_NONE;
	FILE *file;

	if (snprintf(path, sizeof(path), "%s/%s", directory, name) >= PATH_MAX)
		return value;
	file = memlimit_open(root, path);
	if (file == NULL)
		return value;
	if (fgets(line, sizeof(line), file) != NULL &&
	    sscanf(line, "%" SCNu64, &value) != 1)
		value = TMEM_MEMLIMIT_NONE;
	fclose(file);
	return value;
}

/* The limit that the kernel already took the minimum of, in v1. It covers
 * cgroups above the mount point, which cannot be read from a container. */
static uint64_t memlimit_hierarchical(const char *root, const char *directory)
{
	char path[PATH_MAX], line[128];
	uint64_t value = TMEM_MEMLIMIT_NONE;
	FILE *file;

	if (snprintf(path, sizeof(path), "%s/memory.stat", directory) >=
	    PATH_MAX)
		return value;
	file = memlimit_open(root, path);
	if (file == NULL)
		return value;
	while (fgets(line, sizeof(line), file) != NULL &&
	       sscanf(line, "hierarchical_memory_limit %" SCNu64, &value) != 1)
		continue;
	fclose(file);
	return value;
}

static uint64_t memlimit_at(const char *root, enum cgroup_version version,
			    const char *directory)
{
	if (version == CGROUP_V1)
		return MIN(
			memlimit_read(root, directory, "memory.limit_in_bytes"),
			memlimit_hierarchical(root, directory));
	/* Above memory.high the kernel stalls, which for whoever swaps to us
	 * is hardly better than being killed. */
	return MIN(memlimit_read(root, directory, "memory.max"),
		   memlimit_read(root, directory, "memory.high"));
}

/* Lowest limit from this process's cgroup up to the mount point. */
static uint64_t memlimit_walk(const char *root, enum cgroup_version version)
{
	char own[PATH_MAX], part[PATH_MAX], point[PATH_MAX];
	char directory[2 * PATH_MAX];
	uint64_t limit = TMEM_MEMLIMIT_NONE;
	size_t length, floor;
	const char *below = "";

	if (!memlimit_own_path(root, version, own) ||
	    !memlimit_mount(root, version, part, point))
		return limit;
	length = strcmp(part, "/") == 0 ? 0 : strlen(part);
	if (strncmp(own, part, length) == 0 &&
	    (own[length] == '/' || own[length] == '\0'))
		below = own + length;
	if (strstr(below, "/..") != NULL)
		below = "";
	floor = strlen(point);
	snprintf(directory, sizeof(directory), "%s%s", point, below);
	while (strlen(directory) > floor) {
		limit = MIN(limit, memlimit_at(root, version, directory));
		*strrchr(directory, '/') = '\0';
	}
	return MIN(limit, memlimit_at(root, version, point));
}

uint64_t tmem_memlimit_cgroup(const char *root)
{
	return MIN(memlimit_walk(root, CGROUP_V1),
		   memlimit_walk(root, CGROUP_V2));
}

uint64_t tmem_memlimit_room(uint64_t limit)
{
	uint64_t reserve = MAX(limit / 8, 32 * MIB);

	if (limit == TMEM_MEMLIMIT_NONE)
		return limit;
	return limit > reserve ? limit - reserve : 0;
}
