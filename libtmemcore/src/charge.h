/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What pages cost whom. A page is charged with its records and its content's
 * slot, a shared content in equal parts to the handles that name it. The part
 * is what it is when the handle comes or goes, so that sharing, and recoding
 * what is shared, makes the sums drift; a recount, a walk over the leaves, sets
 * them right.
 *
 * Threading: as each says.
 */
#ifndef TMEM_CHARGE_H
#define TMEM_CHARGE_H

#include "state.h"

/** Most that a client may be charged and hold, in terms of what a put to one
 * pool changes: the owner's sums, or a shared pool's. */
struct tmem_limit {
	int64_t charge;
	int64_t pages;
};

/** Work out the limit of a use, from its client's cap and maxmem. No locks
 * held. Returns whether there is one. */
bool tmem_charge_limit(struct tmem_use *use, struct tmem_limit *limit);

/** A handle of pool in shard s, in leaf, is about to name content new instead
 * of old (0: none). With a limit that this would pass, changes nothing and
 * returns false. Under the shard's lock; the references of new are counted
 * already, those of old still. */
bool tmem_charge_swap(struct tmem_store *store, struct tmem_pool_state *pool,
		      unsigned s, const struct tmem_leaf *leaf, uint32_t old,
		      uint32_t new, const struct tmem_limit *limit);

/** The content that leaf names was held in size bytes until it was recoded:
 * set the handle's part right. What others that share it are charged drifts.
 * Under the shard's lock. */
void tmem_charge_recoded(struct tmem_store *store, struct tmem_pool_state *pool,
			 unsigned s, const struct tmem_leaf *leaf, uint32_t id,
			 uint32_t size);

/** A content was recoded, and so many handles that came or went with another
 * size were not set right. */
void tmem_charge_drift(struct tmem_store *store, uint32_t handles);

/** Charge and pages of a client, shared pools in equal parts to their users.
 * Under the admin lock. */
int64_t tmem_charge_of(const struct tmem_store *store,
		       const struct tmem_client_state *client);
int64_t tmem_charge_pages_of(const struct tmem_store *store,
			     const struct tmem_client_state *client);

/** Walk over all leaves and set the sums right. No lock held; puts, gets and
 * what needs the admin lock go on meanwhile. */
void tmem_charge_recount(struct tmem_store *store);

/** Recount when at least one page in fraction has drifted. No lock held. */
void tmem_charge_refresh(struct tmem_store *store, unsigned fraction);

/** The same, for who must not take long: begin a recount, or go on with one,
 * for some milliseconds at most; nothing while another thread is at it. No lock
 * held but compact. */
void tmem_charge_step(struct tmem_store *store, unsigned fraction);

#endif
