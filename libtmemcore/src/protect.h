/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A process that serves the host's swap must not wait for it: its memory stays
 * in RAM, its allocations never write to swap to make room, and it is not the
 * one to be killed when memory runs out.
 *
 * Threading: before there are other threads, which inherit it.
 */
#ifndef TMEM_PROTECT_H
#define TMEM_PROTECT_H

#include <stdbool.h>

/** Protect this process as far as its privileges reach. Returns whether its
 * memory is locked and its allocations are marked: fit to serve swap. */
bool tmem_protect(void);

#endif
