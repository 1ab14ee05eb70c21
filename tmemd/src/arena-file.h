/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The file that holds the arena of tmemd's store: on a tmpfs, so that pages
 * outlive the process but not the machine, and nobody else's.
 *
 * Threading: used while tmemd starts, before other threads.
 */
#ifndef TMEMD_ARENA_FILE_H
#define TMEMD_ARENA_FILE_H

#include <stdbool.h>
#include <stdint.h>

/** Where tmemd as a service has a tmpfs for its arena. */
#define TMEMD_ARENA_PATH "/run/tmem/arena"

/**
 * Open the arena's file.
 *
 * setting is "none" (a memfd: *fd becomes -1), a path (of a directory on a
 * tmpfs, for the file "arena" in it, or of the file itself), or "auto": with
 * service TMEMD_ARENA_PATH, where a tmpfs is mounted if there is none, and
 * without it "none".
 *
 * *held is set to the bytes of memory it holds already. Returns 0, or -errno
 * and error (TMEMD_ERROR_MAX bytes) names the path and the remedy.
 */
int tmemd_arena_file_open(const char *setting, bool service, int *fd,
			  uint64_t *held, char *error);

#endif
