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

#include <stddef.h>

/** What of it there is. */
enum tmem_protection {
	TMEM_PROTECT_LOCKED = 1u << 0, /**< what is touched is never swapped */
	TMEM_PROTECT_MARKED = 1u << 1, /**< PR_SET_IO_FLUSHER */
	TMEM_PROTECT_SPARED = 1u << 2, /**< others are killed before it */
	/** all that is private is there, and freed memory is kept */
	TMEM_PROTECT_TOUCHED = 1u << 3,
};

/** Protect this process as far as its privileges reach. Returns how far. */
unsigned tmem_protect(void);
/** How far that was. */
unsigned tmem_protection(void);

/**
 * Have all private memory of this process touched, so that no thread ever waits
 * for a page of it: what there is, and whatever comes. Stacks too, which had
 * better be small. heap bytes are there to be allocated without the kernel.
 * Shared mappings, like an arena, stay as they are. Any thread. Returns 0 or
 * -errno.
 */
int tmem_protect_touch(size_t heap);

#endif
