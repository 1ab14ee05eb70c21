/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lanes (lane.h), dealt out to threads in turn as they first ask. */
#include "lane.h"
#include <stdatomic.h>

unsigned tmem_lane(void)
{
	static _Atomic(unsigned) next;
	static _Thread_local unsigned lane = TMEM_LANES;

	if (lane == TMEM_LANES)
		lane = atomic_fetch_add_explicit(&next, 1,
						 memory_order_relaxed) %
		       TMEM_LANES;
	return lane;
}
