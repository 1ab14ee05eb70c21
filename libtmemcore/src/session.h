/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Clients of a local store: who there is, their settings, and who may join
 * which shared pool. tmem/client.h's operations for a local store lie here.
 *
 * Threading: under the admin lock where it says so, else no locks held.
 */
#ifndef TMEM_SESSION_H
#define TMEM_SESSION_H

#include "state.h"

/** Whether a client may join the shared pool of uuid. Admin lock. */
bool tmem_session_authorised(const struct tmem_store *store,
			     const struct tmem_client_state *client,
			     const struct tmem_uuid *uuid);

/** Forget a client that has neither session nor pools. Admin lock. */
void tmem_session_vanish(struct tmem_store *store,
			 struct tmem_client_state *client);

/** Reopening: bring a client found in the arena into memory. Returns 0 or
 * -ENOMEM. */
int tmem_session_found(struct tmem_store *store,
		       struct tmem_client_record *record);

/** Settings as the record holds them. */
void tmem_session_settings(const struct tmem_client_record *record,
			   struct tmem_client_settings *settings);

/** Whether settings lie within what tmem/store.h allows. */
bool tmem_session_settings_valid(const struct tmem_client_settings *settings);

#endif
