/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rebuilding a store from its arena (tmem_store_open()).
 *
 * Threading: single-threaded, before anybody else has the store.
 */
#ifndef TMEM_REOPEN_H
#define TMEM_REOPEN_H

#include "state.h"

/** The arena is mapped and everything private is fresh: believe the records.
 * Returns 0; -EBADMSG for what no dying process leaves behind; -ENOMEM or
 * -ENOSPC. */
int tmem_reopen(struct tmem_store *store);

#endif
