/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A thread that gives slabs back to the kernel while another empties more of
 * them: half of what giving back much memory takes is the kernel's, and the
 * other half the store's. It lives as long as that does.
 *
 *   who empties slabs: queue() ... queue() -> drain() -> stop()
 *   the thread:             punch them, neighbours together
 *
 * Threading: one thread calls all of these.
 */
#ifndef TMEM_PUNCHER_H
#define TMEM_PUNCHER_H

#include <pthread.h>
#include "slab.h"

/** Slabs that wait at most. */
#define TMEM_PUNCHER_SLABS (4 * TMEM_SLAB_ENDS)

struct tmem_puncher {
	struct tmem_slabs *slabs;
	pthread_t thread;
	_Atomic(uint32_t) bell;	  /* rung when there is something new */
	_Atomic(uint32_t) queued; /* slabs, ever */
	_Atomic(uint32_t) done;	  /* of these */
	_Atomic(bool) stop;
	_Atomic(uint64_t) waiting; /* bytes of slabs that are not done */
	_Atomic(uint64_t) bytes;   /* given back, ever */
	uint32_t id[TMEM_PUNCHER_SLABS];
};

/** Returns 0, or -errno: then there is no thread, and nothing to stop. */
int tmem_puncher_start(struct tmem_puncher *puncher, struct tmem_slabs *slabs);
/** Slabs of no class, which nobody else knows, of so many bytes. They stay
 * charged until they are done. Waits while too many do. */
void tmem_puncher_queue(struct tmem_puncher *puncher, const uint32_t *ids,
			unsigned count, uint64_t bytes);
/** Wait until all are done. */
void tmem_puncher_drain(struct tmem_puncher *puncher);
/** End the thread, when all is done. */
void tmem_puncher_stop(struct tmem_puncher *puncher);

#endif
