/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The steward: a thread for what takes time and nobody waits for. It reads the
 * configuration again, follows the memory cgroup's limit, ends exports whose
 * keepers stay away, and tells systemd how things are.
 *
 * Threading: start and stop from one thread; reload from any.
 */
#ifndef TMEMD_STEWARD_H
#define TMEMD_STEWARD_H

#include "daemon.h"

struct tmemd_steward;

/** Returns 0 or -errno. */
int tmemd_steward_new(struct tmemd *daemon, struct tmemd_steward **out);

/** Let it finish what it is at, and end it. NULL is fine. Always returns
 * NULL. */
struct tmemd_steward *tmemd_steward_free(struct tmemd_steward *steward);

/** Have the configuration read again soon. */
void tmemd_steward_reload(struct tmemd_steward *steward);

#endif
