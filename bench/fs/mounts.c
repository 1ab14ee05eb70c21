/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Mounts to compare; see mounts.h. */
#include "mounts.h"

#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>
#include "../child.h"
#include "../clock.h"

/* Of the size of a file: a store with room for all that is read, and one that
 * cannot hold one file even when it is compressed. */
#define BUDGET_ROOMY(size) ((size)*3 + (64ull << 20))
#define BUDGET_FULL(size)  ((size) / 4 + (4ull << 20))

/* As many as libfuse lets them have anyway; without a number, 3.14 complains of
 * its own. */
#define THREADS "max_idle_threads=10"

#define BINDFS "/usr/bin/bindfs"

static const struct {
	const char *name;
	const char *program; /* in the build's folder, or anywhere */
	const char *options;
	bool caches;
} kinds[BENCH_MOUNTS] = {
	[BENCH_EXT4] = {"ext4", NULL, NULL, false},
	[BENCH_TMEMFS] = {"tmemfs", "tmemfs/tmemfs", "codec=raw", true},
	[BENCH_TMEMFS_LZ4] = {"tmemfs-lz4", "tmemfs/tmemfs",
			      "codec=lz4,nursery=0", true},
	[BENCH_TMEMFS_HOSTED] = {"tmemfs-hosted", "tmemfs/tmemfs", NULL, true},
	[BENCH_TMEMFS_FULL] = {"tmemfs-full", "tmemfs/tmemfs", "codec=lz4",
			       true},
	[BENCH_TMEMFS_STRICT] = {"tmemfs-strict", "tmemfs/tmemfs",
				 "codec=raw,coherency=strict", true},
	[BENCH_LL] = {"ll", "bench/fs/passthrough_ll", NULL, false},
	[BENCH_FH] = {"fh", "bench/fs/passthrough_fh", NULL, false},
	[BENCH_BINDFS] = {"bindfs", BINDFS, NULL, false},
};

const char *bench_mount_name(enum bench_mount_kind kind)
{
	return kinds[kind].name;
}

bool bench_mount_caches(enum bench_mount_kind kind)
{
	return kinds[kind].caches;
}

static void program_path(enum bench_mount_kind kind, char *to, size_t room)
{
	const char *program = kinds[kind].program;

	if (program[0] == '/')
		snprintf(to, room, "%s", program);
	else
		bench_build_path(program, to, room);
}

bool bench_mount_there(enum bench_mount_kind kind)
{
	char path[512];

	if (!kinds[kind].program)
		return true;
	program_path(kind, path, sizeof(path));
	return access(path, X_OK) == 0;
}

/* Whether something is mounted at a place in this folder. */
static bool mounted(const char *place)
{
	char above[128];
	struct stat at, over;

	snprintf(above, sizeof(above), "%s/..", place);
	return stat(place, &at) == 0 && stat(above, &over) == 0 &&
	       at.st_dev != over.st_dev;
}

static void start_tmemd(struct bench_mount *mount, const char *socket,
			const struct bench_ground *ground)
{
	struct bench_command command = {0};
	char path[512];

	bench_build_path("tmemd/tmemd", path, sizeof(path));
	bench_command_add(&command, "%s", path);
	bench_command_add(&command, "--config=/dev/null");
	bench_command_add(&command, "--log-level=warning");
	bench_command_add(&command, "--codec=raw");
	bench_command_add(&command, "--budget=%llu",
			  (unsigned long long)BUDGET_ROOMY(ground->size));
	bench_command_add(&command, "--socket=%s", socket);
	mount->pids[0] = bench_child_serve(command.argv);
	bench_child_await(mount->pids[0], "tmemd", bench_socket_answers,
			  socket);
}

static void add_options(struct bench_command *command,
			const struct bench_mount *mount, const char *socket,
			const struct bench_ground *ground)
{
	enum bench_mount_kind kind = mount->kind;
	uint64_t budget = kind == BENCH_TMEMFS_FULL
				  ? BUDGET_FULL(ground->size)
				  : BUDGET_ROOMY(ground->size);

	bench_command_add(command, "-f");
	if (kind == BENCH_TMEMFS_HOSTED)
		bench_command_add(command, "-otmemd=%s", socket);
	else if (kinds[kind].caches)
		bench_command_add(command, "-oembedded,budget=%llu,%s",
				  (unsigned long long)budget,
				  kinds[kind].options);
	else if (kind == BENCH_LL)
		bench_command_add(command, "-o" THREADS ",source=%s",
				  ground->lower);
	else if (kind == BENCH_FH)
		bench_command_add(command,
				  "-o" THREADS ",modules=subdir,subdir=%s",
				  ground->lower);
	else
		bench_command_add(command, "--multithreaded");
	if (kinds[kind].caches || kind == BENCH_BINDFS)
		bench_command_add(command, "%s", ground->lower);
	bench_command_add(command, "%s", mount->place);
}

void bench_mount_start(struct bench_mount *mount, enum bench_mount_kind kind,
		       const struct bench_ground *ground)
{
	struct bench_command command = {0};
	char path[512], socket[96];

	*mount = (struct bench_mount){.name = kinds[kind].name, .kind = kind};
	if (kind == BENCH_EXT4) {
		snprintf(mount->place, sizeof(mount->place), "%s",
			 ground->lower);
		return;
	}
	snprintf(mount->place, sizeof(mount->place), "%s/%s", ground->folder,
		 mount->name);
	snprintf(socket, sizeof(socket), "%s/tmemd", ground->folder);
	bench_must(mkdir(mount->place, 0755), "making a mount point");
	if (kind == BENCH_TMEMFS_HOSTED)
		start_tmemd(mount, socket, ground);
	program_path(kind, path, sizeof(path));
	bench_command_add(&command, "%s", path);
	add_options(&command, mount, socket, ground);
	mount->pids[1] = bench_child_serve(command.argv);
	bench_child_await(mount->pids[1], mount->name, mounted, mount->place);
	bench_turns_stop(mount->pids);
}

void bench_mount_end(struct bench_mount *mount)
{
	if (mount->kind == BENCH_EXT4)
		return;
	bench_turns_end(mount->pids);
	umount2(mount->place, MNT_DETACH);
	rmdir(mount->place);
}

size_t bench_mounts_start(struct bench_mount mounts[BENCH_MOUNTS],
			  unsigned wanted, const struct bench_ground *ground)
{
	size_t count = 0;

	for (int kind = 0; kind < BENCH_MOUNTS; kind++)
		if (wanted & 1u << kind &&
		    bench_mount_there((enum bench_mount_kind)kind))
			bench_mount_start(&mounts[count++],
					  (enum bench_mount_kind)kind, ground);
	return count;
}
