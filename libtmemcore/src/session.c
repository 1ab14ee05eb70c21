/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Clients of a local store (session.h). A client's identity is (uid, name). It
 * is there while it has a session or a persistent pool of its own; what the
 * administrator set for it lasts as long.
 */
#include "session.h"
#include <errno.h>
#include "charge.h"
#include "domain.h"
#include "evict.h"
#include "op.h"
#include "pool.h"
#include "room.h"
#include "stats.h"

#define USES_MAX       ((1u << (32 - TMEM_CLIENT_SLOT_BITS)) - 1)
#define WEIGHT_DEFAULT 100u
#define WEIGHT_MAX     10000u

static struct tmem_client_state *find(const struct tmem_store *store, uid_t uid,
				      const char *name)
{
	for (uint32_t i = 0; i < store->client_end; i++) {
		struct tmem_client_state *client = store->client[i];

		if (client && client->record->uid == uid &&
		    !strcmp(client->record->name, name))
			return client;
	}
	return NULL;
}

static struct tmem_client_state *by_id(const struct tmem_store *store,
				       uint32_t id)
{
	struct tmem_client_state *client = store->client[tmem_client_slot(id)];

	return client && client->id == id ? client : NULL;
}

/* Replace a name that readers of the arena may meet half written: at every
 * instruction it is a whole name or "". */
static void set_name(char to[static TMEM_NAME_MAX], const char *name)
{
	size_t length = strlen(name);

	*(volatile char *)to = 0;
	atomic_signal_fence(memory_order_seq_cst);
	memset(to + 1, 0, TMEM_NAME_MAX - 1);
	if (length > 1)
		memcpy(to + 1, name + 1, length - 1);
	atomic_signal_fence(memory_order_seq_cst);
	*(volatile char *)to = name[0];
}

static int enter(struct tmem_store *store, struct tmem_client_record *record,
		 uint32_t id, struct tmem_client_state **out)
{
	struct tmem_client_state *client =
		tmem_budget_alloc_always(&store->budget, sizeof(*client));

	if (!client)
		return -ENOMEM;
	client->record = record;
	client->id = id;
	store->client[tmem_client_slot(id)] = client;
	if (store->client_end <= tmem_client_slot(id))
		store->client_end = tmem_client_slot(id) + 1;
	*out = client;
	return 0;
}

int tmem_session_found(struct tmem_store *store,
		       struct tmem_client_record *record)
{
	struct tmem_client_state *client;

	return enter(store, record,
		     atomic_load_explicit(&record->id, memory_order_relaxed),
		     &client);
}

/* Users other than root leave some of the clients to each other, and to it. */
static bool may_have_more(const struct tmem_store *store, uid_t uid)
{
	uint32_t own = 0, all = 0;

	for (uint32_t i = 0; i < store->client_end; i++) {
		const struct tmem_client_state *client = store->client[i];

		if (!client || client->record->uid == 0)
			continue;
		all++;
		own += client->record->uid == uid;
	}
	return uid == 0 ||
	       (own < TMEM_CLIENTS_MAX / 4 && all < TMEM_CLIENTS_MAX / 4 * 3);
}

static struct tmem_client_record *free_slot(struct tmem_store *store,
					    uint32_t *slot)
{
	for (uint32_t i = 0; i < TMEM_CLIENTS_MAX; i++) {
		struct tmem_client_record *record =
			tmem_roster_at(&store->clients, i);

		if (store->client[i] || (record && record->uses == USES_MAX))
			continue;
		*slot = i;
		return tmem_roster_take(&store->clients, i);
	}
	return NULL;
}

static int create(struct tmem_store *store,
		  const struct tmem_client_config *config,
		  struct tmem_client_state **out)
{
	struct tmem_client_record *record;
	uint32_t slot = TMEM_CLIENTS_MAX, id;
	int r;

	if (!may_have_more(store, config->uid))
		return -ENOSPC;
	record = free_slot(store, &slot);
	if (!record)
		return slot == TMEM_CLIENTS_MAX ? -ENOSPC : -ENOMEM;
	r = enter(store, record,
		  (record->uses + 1) << TMEM_CLIENT_SLOT_BITS | slot, out);
	if (r < 0)
		return r;
	id = (*out)->id;
	record->uses++;
	record->uid = config->uid;
	atomic_store_explicit(&record->weight, WEIGHT_DEFAULT,
			      memory_order_relaxed);
	atomic_store_explicit(&record->cap, 0, memory_order_relaxed);
	atomic_store_explicit(&record->maxmem, 0, memory_order_relaxed);
	atomic_store_explicit(&record->codec, TMEM_CODEC_NONE,
			      memory_order_relaxed);
	atomic_store_explicit(&record->dedup, TMEM_DEDUP_AUTO,
			      memory_order_relaxed);
	atomic_store_explicit(&record->frozen, 0, memory_order_relaxed);
	set_name(record->name, config->name);
	/* Release: the commit. */
	atomic_store_explicit(&record->id, id, memory_order_release);
	return 0;
}

/* Under the admin lock. */
static int begin(struct tmem_store *store,
		 const struct tmem_client_config *config,
		 struct tmem_client_state **out)
{
	struct tmem_client_state *client =
		find(store, config->uid, config->name);
	uint16_t domain;
	int r;

	if (client && client->live)
		return -EBUSY;
	r = tmem_domain_join(store, config->domain, &domain);
	if (r < 0)
		return r;
	if (!client) {
		r = create(store, config, &client);
		if (r < 0) {
			tmem_domain_unref(store, domain);
			return r;
		}
	}
	client->record->domain = domain;
	set_name(client->record->domain_name,
		 config->domain ? config->domain : "");
	client->live = true;
	*out = client;
	return 0;
}

void tmem_session_vanish(struct tmem_store *store,
			 struct tmem_client_state *client)
{
	if (client->live || client->pools)
		return;
	/* Release: the commit. */
	atomic_store_explicit(&client->record->id, 0, memory_order_release);
	store->client[tmem_client_slot(client->id)] = NULL;
	tmem_budget_free(&store->budget, client, sizeof(*client));
}

static bool local_connected(const struct tmem_client *client)
{
	return true;
}

static int local_reattach(struct tmem_client *client)
{
	return 0;
}

static void local_client_free(struct tmem_client *base)
{
	struct tmem_session *session = (struct tmem_session *)base;
	struct tmem_store *store = session->store;

	tmem_lock_acquire(&store->admin);
	tmem_domain_unref(store, session->client->record->domain);
	session->client->live = false;
	tmem_session_vanish(store, session->client);
	tmem_lock_release(&store->admin);
	tmem_budget_free(&store->budget, session, sizeof(*session));
}

static const struct tmem_client_ops local_ops;

static int local_pool_new(struct tmem_client *base,
			  const struct tmem_pool_config *config,
			  struct tmem_pool **out)
{
	struct tmem_session *session = (struct tmem_session *)base;
	struct tmem_use *use;
	int r = tmem_pool_open(session->store, session->client, config, &use);

	if (r < 0)
		return r;
	use->base.ops = &local_ops;
	*out = &use->base;
	return 0;
}

static void local_pool_free(struct tmem_pool *pool)
{
	tmem_pool_leave((struct tmem_use *)pool, false);
}

static int local_pool_destroy(struct tmem_pool *pool)
{
	tmem_pool_leave((struct tmem_use *)pool, true);
	return 0;
}

static const struct tmem_client_ops local_ops = {
	.connected = local_connected,
	.reattach = local_reattach,
	.client_free = local_client_free,
	.pool_new = local_pool_new,
	.pool_free = local_pool_free,
	.pool_destroy = local_pool_destroy,
	.put_run = tmem_op_put_run,
	.replace_run = tmem_op_replace_run,
	.get_run = tmem_op_get_run,
	.flush_run = tmem_op_flush_run,
	.flush_object = tmem_op_flush_object,
	.ahead = tmem_op_ahead,
	.pool_stats = tmem_stats_of_use,
	.pool_room = tmem_room_of_pool,
	.pool_coldest = tmem_room_coldest,
	.pool_watch = tmem_room_watch,
};

int tmem_client_new_local(struct tmem_store *store,
			  const struct tmem_client_config *config,
			  struct tmem_client **out)
{
	struct tmem_session *session;
	int r = tmem_client_config_check(config);

	if (r < 0)
		return r;
	session = tmem_budget_alloc_always(&store->budget, sizeof(*session));
	if (!session)
		return -ENOMEM;
	tmem_lock_acquire(&store->admin);
	r = begin(store, config, &session->client);
	tmem_lock_release(&store->admin);
	if (r < 0) {
		tmem_budget_free(&store->budget, session, sizeof(*session));
		return r;
	}
	session->base.ops = &local_ops;
	session->store = store;
	*out = &session->base;
	return 0;
}

void tmem_session_settings(const struct tmem_client_record *record,
			   struct tmem_client_settings *settings)
{
	*settings = (struct tmem_client_settings){
		.set = UINT32_MAX,
		.weight = atomic_load_explicit(&record->weight,
					       memory_order_relaxed),
		.cap = atomic_load_explicit(&record->cap, memory_order_relaxed),
		.maxmem = atomic_load_explicit(&record->maxmem,
					       memory_order_relaxed),
		.codec = (enum tmem_codec)atomic_load_explicit(
			&record->codec, memory_order_relaxed),
		.dedup = (enum tmem_dedup)atomic_load_explicit(
			&record->dedup, memory_order_relaxed),
		.frozen = atomic_load_explicit(&record->frozen,
					       memory_order_relaxed),
	};
}

bool tmem_session_settings_valid(const struct tmem_client_settings *s)
{
	if ((s->set & TMEM_SET_WEIGHT) &&
	    (s->weight < 1 || s->weight > WEIGHT_MAX))
		return false;
	if ((s->set & TMEM_SET_CAP) && s->cap > INT64_MAX)
		return false;
	if ((s->set & TMEM_SET_MAXMEM) && s->maxmem > INT64_MAX)
		return false;
	if ((s->set & TMEM_SET_CODEC) &&
	    ((unsigned)s->codec >= TMEM_CODEC_COUNT ||
	     s->codec == TMEM_CODEC_FILL))
		return false;
	return !(s->set & TMEM_SET_DEDUP) ||
	       (unsigned)s->dedup <= TMEM_DEDUP_OFF;
}

int tmem_store_client_set(struct tmem_store *store, uint32_t client_id,
			  const struct tmem_client_settings *s)
{
	struct tmem_client_state *client;
	struct tmem_client_record *record;
	const uint32_t known = TMEM_SET_WEIGHT | TMEM_SET_CAP |
			       TMEM_SET_MAXMEM | TMEM_SET_CODEC |
			       TMEM_SET_DEDUP | TMEM_SET_FROZEN;

	if ((s->set & ~known) || !tmem_session_settings_valid(s))
		return -EINVAL;
	tmem_lock_acquire(&store->admin);
	client = by_id(store, client_id);
	if (!client) {
		tmem_lock_release(&store->admin);
		return -ENOENT;
	}
	record = client->record;
	if (s->set & TMEM_SET_WEIGHT)
		atomic_store_explicit(&record->weight, s->weight,
				      memory_order_relaxed);
	if (s->set & TMEM_SET_CAP)
		atomic_store_explicit(&record->cap, s->cap,
				      memory_order_relaxed);
	if (s->set & TMEM_SET_MAXMEM)
		atomic_store_explicit(&record->maxmem, s->maxmem,
				      memory_order_relaxed);
	if (s->set & TMEM_SET_CODEC)
		atomic_store_explicit(&record->codec, (uint8_t)s->codec,
				      memory_order_relaxed);
	if (s->set & TMEM_SET_DEDUP)
		atomic_store_explicit(&record->dedup, (uint8_t)s->dedup,
				      memory_order_relaxed);
	if (s->set & TMEM_SET_FROZEN)
		atomic_store_explicit(&record->frozen, s->frozen,
				      memory_order_relaxed);
	tmem_lock_release(&store->admin);
	if (s->set & (TMEM_SET_CAP | TMEM_SET_MAXMEM)) {
		tmem_evict_client(store, client_id, 0, 0);
		tmem_room_wanted(store);
	}
	return 0;
}

int tmem_store_destroy_client(struct tmem_store *store, uint32_t client_id)
{
	for (;;) {
		struct tmem_client_state *client;
		uint32_t pool_id = 0;
		int r = 0;

		tmem_lock_acquire(&store->admin);
		client = by_id(store, client_id);
		if (!client)
			r = -ENOENT;
		else if (client->live)
			r = -EBUSY;
		for (uint32_t i = 0; i < store->pool_end && r == 0; i++) {
			struct tmem_pool_state *pool =
				tmem_store_pool(store, i);

			if (pool && pool->owner == client && !pool->dead)
				pool_id = pool->id;
		}
		tmem_lock_release(&store->admin);
		if (r < 0)
			return r;
		/* With its last pool the client vanishes. */
		if (!pool_id)
			return 0;
		tmem_pool_end(store, pool_id);
		tmem_lock_acquire(&store->admin);
		client = by_id(store, client_id);
		tmem_lock_release(&store->admin);
		if (!client)
			return 0;
	}
}

static struct tmem_auth_record *find_auth(const struct tmem_store *store,
					  uid_t uid, const char *name,
					  const struct tmem_uuid *uuid)
{
	for (uint32_t i = 0; i < store->auths.slots; i++) {
		struct tmem_auth_record *auth =
			tmem_roster_at(&store->auths, i);

		if (auth &&
		    atomic_load_explicit(&auth->used, memory_order_relaxed) &&
		    auth->uid == uid && !strcmp(auth->name, name) &&
		    !memcmp(&auth->uuid, uuid, sizeof(*uuid)))
			return auth;
	}
	return NULL;
}

bool tmem_session_authorised(const struct tmem_store *store,
			     const struct tmem_client_state *client,
			     const struct tmem_uuid *uuid)
{
	return find_auth(store, client->record->uid, client->record->name,
			 uuid);
}

static int add_auth(struct tmem_store *store, uid_t uid, const char *name,
		    const struct tmem_uuid *uuid)
{
	for (uint32_t i = 0; i < store->auths.slots; i++) {
		struct tmem_auth_record *auth =
			tmem_roster_take(&store->auths, i);

		if (!auth)
			return -ENOSPC;
		if (atomic_load_explicit(&auth->used, memory_order_relaxed))
			continue;
		auth->uid = uid;
		auth->uuid = *uuid;
		memset(auth->name, 0, sizeof(auth->name));
		strcpy(auth->name, name);
		/* Release: the commit. */
		atomic_store_explicit(&auth->used, 1, memory_order_release);
		return 0;
	}
	return -ENOSPC;
}

int tmem_store_shared_auth(struct tmem_store *store, uid_t uid,
			   const char *client_name,
			   const struct tmem_uuid *uuid, bool allow)
{
	static const struct tmem_uuid none;
	struct tmem_auth_record *auth;
	int r = 0;

	if (!tmem_name_valid(client_name) || !memcmp(uuid, &none, sizeof(none)))
		return -EINVAL;
	tmem_lock_acquire(&store->admin);
	auth = find_auth(store, uid, client_name, uuid);
	if (allow && !auth)
		r = add_auth(store, uid, client_name, uuid);
	else if (!allow && !auth)
		r = -ENOENT;
	else if (!allow)
		atomic_store_explicit(&auth->used, 0, memory_order_release);
	tmem_lock_release(&store->admin);
	return r;
}
