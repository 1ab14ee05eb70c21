/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel's swap: which devices it is on, and whether what is in one would
 * fit elsewhere. Sizes are bytes. root is put before every path read (""
 * outside tests).
 *
 * Threading: the only thread.
 */
#ifndef NBD_SWAP_H
#define NBD_SWAP_H

#include <stdbool.h>
#include <stdint.h>

struct nbd_swap {
	uint64_t size;
	uint64_t used;
};

/** Highest priority of swap. */
#define NBD_SWAP_PRIORITY_MAX 32767u

/** Returns 0, -ENOENT when there is no swap on the device, or -errno. */
int nbd_swap_find(const char *root, const char *device, struct nbd_swap *out);

/** How much of other memory and swap there is for what is in this swap:
 * MemAvailable and what is free in all other swap. Returns 0 or -errno. */
int nbd_swap_room(const char *root, const struct nbd_swap *swap,
		  uint64_t *bytes);

/** Whether so much room suffices to end the swap: some is left to others. */
bool nbd_swap_fits(const struct nbd_swap *swap, uint64_t room);

/** Make and begin swap on a device that holds nothing, or swap. Returns 0, or
 * -errno (logged). */
int nbd_swap_on(const char *device, unsigned priority);

/** End swap: a signal ends that, and swap goes on. Returns 0, -EINTR, -ENOMEM
 * where memory did not suffice; -errno (logged). */
int nbd_swap_off(const char *device);

#endif
