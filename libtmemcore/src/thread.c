/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Starting a thread (thread.h). */
#include "thread.h"
#include <errno.h>
#include <signal.h>
#include "fault.h"

/* Codecs have their memory elsewhere, a few pages lie on the stack. */
#define STACK_BYTES ((size_t)256 << 10)

int tmem_thread_start(pthread_t *thread, void *(*fn)(void *arg), void *arg)
{
	sigset_t all, before;
	pthread_attr_t attr;
	int r;

	if (tmem_fault(TMEM_FAULT_THREAD))
		return -EAGAIN;
	r = pthread_attr_init(&attr);
	if (r)
		return -r;
	sigfillset(&all);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(thread, &attr, fn, arg);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	return -r;
}
