/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Threads that take no signals: those are for the main thread, which ends the
 * mount.
 */
#ifndef TMEMFS_THREAD_H
#define TMEMFS_THREAD_H

#include <pthread.h>
#include <signal.h>

/** Start a thread. Returns 0 or -errno. */
static inline int fs_thread_start(pthread_t *thread, void *(*work)(void *),
				  void *arg)
{
	sigset_t all, before;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(thread, NULL, work, arg);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -rc;
}

#endif
