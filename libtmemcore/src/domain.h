/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Numbers for dedup domains, as content words hold them: a name has a number
 * as long as some client or pool names it. Records hold both, so that a
 * reopened arena keeps them.
 *
 * Threading: the admin lock.
 */
#ifndef TMEM_DOMAIN_H
#define TMEM_DOMAIN_H

#include "state.h"

#define TMEM_DOMAIN_COMMON 1u

/** Take part in the domain of a name; NULL or "" is the common one, "none" is
 * TMEM_DOMAIN_NONE. Returns 0; -ENOSPC when there are too many; -ENOMEM. */
int tmem_domain_join(struct tmem_store *store, const char *name,
		     uint16_t *domain);
/** Take part in a domain by number. */
void tmem_domain_ref(struct tmem_store *store, uint32_t domain);
void tmem_domain_unref(struct tmem_store *store, uint32_t domain);

/** Reopening: a record names this pair. Takes part. Returns 0; -EBADMSG when
 * another name has the number, or another number the name; -ENOMEM. */
int tmem_domain_found(struct tmem_store *store, const char *name,
		      uint32_t domain);

void tmem_domains_deinit(struct tmem_store *store);

#endif
