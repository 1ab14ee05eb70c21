/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Injected failures (fault.h): a countdown for each site. Any thread may come
 * to a site; exactly one of them meets the Nth call.
 */
#include "fault.h"

#ifdef TMEM_TESTING

#include <stdatomic.h>

/* Relaxed everywhere: a test arms sites before it starts what it watches, and
 * reads the counts after that has ended. */
static struct {
	atomic_uint left; /* calls until the next failure, 0: disarmed */
	atomic_bool sticky;
	atomic_uint fired;
} sites[TMEM_FAULT_SITES];

void tmem_fault_arm(enum tmem_fault_site site, unsigned nth, bool sticky)
{
	atomic_store_explicit(&sites[site].sticky, sticky,
			      memory_order_relaxed);
	atomic_store_explicit(&sites[site].left, nth, memory_order_relaxed);
}

unsigned tmem_fault_fired(enum tmem_fault_site site)
{
	return atomic_load_explicit(&sites[site].fired, memory_order_relaxed);
}

bool tmem_fault(enum tmem_fault_site site)
{
	unsigned left =
		atomic_load_explicit(&sites[site].left, memory_order_relaxed);
	unsigned next;

	do {
		if (left == 0)
			return false;
		next = left - 1;
		if (next == 0 && atomic_load_explicit(&sites[site].sticky,
						      memory_order_relaxed))
			next = 1;
	} while (!atomic_compare_exchange_weak_explicit(
		&sites[site].left, &left, next, memory_order_relaxed,
		memory_order_relaxed));
	if (left != 1)
		return false;
	atomic_fetch_add_explicit(&sites[site].fired, 1, memory_order_relaxed);
	return true;
}

#endif
