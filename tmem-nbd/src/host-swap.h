/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An export that the host which serves it swaps on. Whoever writes to swap
 * waits for us to get memory: so we must not wait for memory. The process is
 * locked and touched (protect.h), the store has a reserve and refuses pages
 * beyond it, and what it refuses goes to a disk without a file system.
 *
 * Threading: as an export is started.
 */
#ifndef NBD_HOST_SWAP_H
#define NBD_HOST_SWAP_H

#include "export.h"

/** Whether this process and the overflow disk will do, before anything is
 * written there; or say what is missing: a line of why_size bytes. Returns 0;
 * -EPERM when the process is not protected enough; -EINVAL for an overflow file
 * that will not do. */
int nbd_host_swap_check(const struct tmem_nbd_export_config *config, char *why,
			size_t why_size);

/** Make this process and its store fit for it, or say why not. Returns 0, or
 * what tmem_store_set_reserve() and tmem_protect_touch() return. */
int nbd_host_swap_prepare(const struct tmem_nbd_export_config *config,
			  char *why, size_t why_size);

#endif
