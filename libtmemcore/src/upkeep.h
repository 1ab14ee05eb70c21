/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What background threads do for slabs: keep some spare ones ready, pack sparse
 * ones, and give back what is too much. Jobs of worker.c; any thread. Without
 * threads nothing needs them: puts take slabs from the kernel, and who needs
 * room compacts.
 */
#ifndef TMEM_UPKEEP_H
#define TMEM_UPKEEP_H

#include "state.h"

/** The store is about to have threads: slabs wake them from now on. */
void tmem_upkeep_init(struct tmem_store *store);

/** Make spare slabs, where puts have taken some and the budget has room. */
int tmem_upkeep_reserve(struct tmem_store *store);
/** Take some memory of what the reserve is short of, whatever the host has.
 * Returns whether to call again. */
bool tmem_upkeep_fill(struct tmem_store *store);
/** How much memory the host must have free for a reserve to be filled again. */
void tmem_upkeep_measure(struct tmem_store *store);
/** A put was refused: see to the reserve, if one is to be kept. */
void tmem_upkeep_refused(struct tmem_store *store);
/** A store that serves its host's swap had no room, or little: who is refused
 * has another place, and somebody waits for him. For a while nobody tries. */
void tmem_upkeep_rest(struct tmem_store *store);
bool tmem_upkeep_rests(const struct tmem_store *store);
/** Compact a sparse slab. */
int tmem_upkeep_compact(struct tmem_store *store);
/** Give back spare slabs above the reserve when none was taken for a while. */
int tmem_upkeep_tidy(struct tmem_store *store);

#endif
