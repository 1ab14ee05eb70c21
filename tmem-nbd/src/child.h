/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Programs that a command runs, and signals meanwhile: SIGINT, SIGTERM and
 * SIGHUP are kept until somebody asks, so that what was begun is undone.
 *
 * Threading: the only thread.
 */
#ifndef NBD_CHILD_H
#define NBD_CHILD_H

#include <stdbool.h>
#include <sys/types.h>

/** Keep signals, from now on. */
void nbd_child_keep_signals(void);
/** Whether there was one. */
bool nbd_child_interrupted(void);
/** Begin anew: what undoes is not interrupted by what it undoes for. */
void nbd_child_forget(void);

/** Run a program, argv[0] looked for in PATH, and wait for it; a signal ends
 * it. Its output is logged if it fails. Returns 0; -EINTR; -ENOENT when there
 * is no such program; -EIO when it failed. */
int nbd_child_run(const char *const *argv);

/** Start one that stays when we end. Returns its process id or -errno. */
pid_t nbd_child_start(const char *const *argv);

#endif
