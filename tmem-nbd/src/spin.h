/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whether to look for input again and again for a while before sleeping. To be
 * woken takes tens of microseconds between processors, and costs the client
 * that wakes; a client with a request under way mostly sends the next one
 * sooner.
 *
 * Bounded: a thread spins at most NBD_SPIN_NS at a time, and once each time it
 * goes to sleep, so that it takes no time while nobody asks for anything.
 *
 * Adaptive: who has spun in vain goes to sleep at once the next time, after
 * another such failure the next two times, then four, up to NBD_SPIN_REST; one
 * success, and it spins each time. The thread yields between two looks, and
 * where that takes long, others want this processor, perhaps the client: a
 * failure too.
 *
 * Threading: one thread a struct.
 */
#ifndef NBD_SPIN_H
#define NBD_SPIN_H

#include <stdbool.h>
#include <stdint.h>

#define NBD_SPIN_NS   50000
#define NBD_SPIN_REST 256u

struct nbd_spin {
	unsigned rest; /* times not to spin, after the last failure */
	unsigned skip; /* of these, still to come */
	int64_t end;
	int64_t last; /* look */
};

/** Before sleeping. Returns whether to spin. */
bool nbd_spin_begin(struct nbd_spin *spin);

/** After a look that found nothing. Returns whether to look again. */
bool nbd_spin_again(struct nbd_spin *spin);

/** A look found something. */
void nbd_spin_found(struct nbd_spin *spin);

#endif
