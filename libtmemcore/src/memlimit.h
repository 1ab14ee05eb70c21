/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How much memory this process may use: what the machine has available, and
 * the limit of its own memory cgroup, past which the kernel kills instead of
 * refusing.
 *
 * root is put before every path read ("" outside tests).
 *
 * Threading: any thread; nothing is kept.
 */
#ifndef TMEM_MEMLIMIT_H
#define TMEM_MEMLIMIT_H

#include <stdint.h>

/** No limit. */
#define TMEM_MEMLIMIT_NONE UINT64_MAX

/** MemAvailable in bytes. Returns 0 or -errno. */
int tmem_memlimit_available(const char *root, uint64_t *bytes);

/**
 * Lowest limit, bytes, of this process's memory cgroup and of those above it,
 * in cgroup v1 or v2 (whichever has the memory controller; both are read).
 * What cannot be read counts as no limit.
 */
uint64_t tmem_memlimit_cgroup(const char *root);

/** The most a store may use under a cgroup limit: room is left for what is
 * not the store's (stacks, requests under way, rings beside a store full of
 * persistent pages). */
uint64_t tmem_memlimit_room(uint64_t limit);

#endif
