/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Lanes: threads that put at the same time take records and slots from
 * different places, so that they do not write to the same cache lines. Nothing
 * but speed depends on it.
 */
#ifndef TMEM_LANE_H
#define TMEM_LANE_H

#define TMEM_LANES 4u

/** The calling thread's lane, which it keeps: 0 to TMEM_LANES - 1. */
unsigned tmem_lane(void);

#endif
