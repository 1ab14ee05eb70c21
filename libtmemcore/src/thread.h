/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Starting a thread of the library's own. It has all signals blocked, since
 * they are for the program's own threads, and a small stack, since a process
 * may have all its memory locked.
 */
#ifndef TMEM_THREAD_H
#define TMEM_THREAD_H

#include <pthread.h>

/** Of which a thread touches this much; whoever starts it charges that. */
#define TMEM_THREAD_CHARGE ((size_t)32 << 10)

/** Returns 0 or -errno. */
int tmem_thread_start(pthread_t *thread, void *(*fn)(void *arg), void *arg);

#endif
