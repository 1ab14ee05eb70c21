/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "view.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "codec.h"
#include "error.h"
#include "setting.h"
#include "uuid.h"

/* Leave out clients that are not uid's. */
static void view_own_clients(struct tmemd_view *view, uid_t uid)
{
	size_t kept = 0;

	for (size_t i = 0; i < view->clients; i++) {
		if (view->client[i].uid != uid)
			continue;
		view->client[kept] = view->client[i];
		memmove(view->client_value + kept * TMEM_CLIENT_STAT_COUNT,
			view->client_value + i * TMEM_CLIENT_STAT_COUNT,
			TMEM_CLIENT_STAT_COUNT * sizeof(uint64_t));
		kept++;
	}
	view->clients = kept;
}

static const struct tmem_client_info *
view_client_of(const struct tmemd_view *view, uint32_t id)
{
	for (size_t i = 0; i < view->clients; i++)
		if (view->client[i].id == id)
			return &view->client[i];
	return NULL;
}

/* Leave out pools of clients that are not there. Shared pools belong to
 * nobody, and their counters would tell one sharer of another. */
static void view_own_pools(struct tmemd_view *view)
{
	size_t kept = 0;

	for (size_t i = 0; i < view->pools; i++) {
		if (view_client_of(view, view->pool[i].client_id) == NULL)
			continue;
		view->pool[kept] = view->pool[i];
		memmove(view->pool_value + kept * TMEM_POOL_STAT_COUNT,
			view->pool_value + i * TMEM_POOL_STAT_COUNT,
			TMEM_POOL_STAT_COUNT * sizeof(uint64_t));
		kept++;
	}
	view->pools = kept;
}

int tmemd_view_init(struct tmemd_view *view, struct tmem_store *store,
		    const uid_t *uid)
{
	int r;

	*view = (struct tmemd_view){0};
	r = tmem_store_clients(store, &view->client, &view->client_value,
			       &view->clients);
	if (r == 0)
		r = tmem_store_pools(store, &view->pool, &view->pool_value,
				     &view->pools);
	if (r < 0) {
		tmemd_view_deinit(view);
		return r;
	}
	if (uid != NULL) {
		view_own_clients(view, *uid);
		view_own_pools(view);
	}
	return 0;
}

void tmemd_view_deinit(struct tmemd_view *view)
{
	free(view->client);
	free(view->client_value);
	free(view->pool);
	free(view->pool_value);
}

/* The number of a word "id:N", or 0. */
static uint32_t view_id(const char *word)
{
	unsigned long id;
	char *end;

	if (strncmp(word, "id:", 3) != 0 || !isdigit((unsigned char)word[3]))
		return 0;
	id = strtoul(word + 3, &end, 10);
	return *end == '\0' && id <= UINT32_MAX ? (uint32_t)id : 0;
}

/* The client of that name, whose length bytes need not be all of name. */
static int view_client_named(const struct tmemd_view *view, const char *name,
			     size_t length, const struct tmem_client_info **out,
			     char *error)
{
	const struct tmem_client_info *found = NULL;

	for (size_t i = 0; i < view->clients; i++) {
		const struct tmem_client_info *client = &view->client[i];

		if (strncmp(client->name, name, length) != 0 ||
		    client->name[length] != '\0')
			continue;
		if (found != NULL)
			return tmemd_error(
				error, -EEXIST,
				"several users have a client named \"%s\": say id:%u or id:%u (tmem-admin list shows whose they are)",
				found->name, found->id, client->id);
		found = client;
	}
	if (found == NULL)
		return tmemd_error(
			error, -ENOENT,
			"there is no client \"%.*s\": tmem-admin list shows those there are",
			(int)length, name);
	*out = found;
	return 0;
}

int tmemd_view_client(const struct tmemd_view *view, const char *word,
		      const struct tmem_client_info **out, char *error)
{
	const struct tmem_client_info *found =
		view_client_of(view, view_id(word));

	if (found == NULL)
		return view_client_named(view, word, strlen(word), out, error);
	*out = found;
	return 0;
}

static bool view_pool_matches(const struct tmem_pool_info *pool,
			      const char *word, const char *name,
			      const struct tmem_client_info *client)
{
	struct tmem_uuid uuid;

	if (client != NULL)
		return pool->client_id == client->id &&
		       strcmp(pool->name, name) == 0;
	if (pool->id == view_id(word))
		return true;
	return (pool->flags & TMEM_POOL_SHARED) != 0 &&
	       tmem_uuid_parse(word, &uuid) == 0 &&
	       memcmp(&uuid, &pool->uuid, sizeof(uuid)) == 0;
}

int tmemd_view_pool(const struct tmemd_view *view, const char *word,
		    const struct tmem_pool_info **out, char *error)
{
	const struct tmem_client_info *client = NULL;
	const char *slash = strchr(word, '/');
	char owner[TMEM_NAME_MAX];
	int r;

	if (slash != NULL && (size_t)(slash - word) < sizeof(owner)) {
		memcpy(owner, word, (size_t)(slash - word));
		owner[slash - word] = '\0';
		r = tmemd_view_client(view, owner, &client, error);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < view->pools; i++)
		if (view_pool_matches(&view->pool[i], word,
				      slash != NULL ? slash + 1 : word,
				      client)) {
			*out = &view->pool[i];
			return 0;
		}
	return tmemd_error(
		error, -ENOENT,
		"there is no pool \"%.128s\": tmem-admin list shows those there are, as CLIENT/POOL, id:N or a uuid",
		word);
}

/* JSON -------------------------------------------------------------------- */

json_t *tmemd_view_counters(const struct tmem_stat_desc *desc,
			    const uint64_t *values, size_t count)
{
	json_t *counters = json_object();

	for (size_t i = 0; i < count && counters != NULL; i++)
		if (json_object_set_new(counters, desc[i].name,
					json_integer((json_int_t)values[i])) <
		    0) {
			json_decref(counters);
			counters = NULL;
		}
	return counters;
}

/* Names come from clients and are printable, but not always UTF-8. */
static json_t *view_text(const char *text)
{
	json_t *string = json_string(text);

	return string != NULL ? string : json_string("?");
}

static const char *view_codec(enum tmem_codec codec)
{
	return codec == TMEM_CODEC_NONE ? "auto" : tmem_codec_name(codec);
}

static json_t *view_client_json(const struct tmem_client_info *client,
				const uint64_t *values, bool counters)
{
	const struct tmem_client_settings *set = &client->settings;

	return json_pack(
		"{s:I, s:o, s:I, s:b, s:o, s:I, s:I, s:I, s:s, s:s, s:b, s:o*}",
		"id", (json_int_t)client->id, "name", view_text(client->name),
		"uid", (json_int_t)client->uid, "connected", client->connected,
		"domain",
		view_text(client->domain[0] ? client->domain : "host"),
		"weight", (json_int_t)set->weight, "cap", (json_int_t)set->cap,
		"maxmem", (json_int_t)set->maxmem, "compress",
		view_codec(set->codec), "dedup",
		tmemd_setting_dedup_name(set->dedup), "frozen", set->frozen,
		"stats",
		counters ? tmemd_view_counters(tmem_client_stat_desc, values,
					       TMEM_CLIENT_STAT_COUNT)
			 : NULL);
}

static json_t *view_pool_json(const struct tmemd_view *view,
			      const struct tmem_pool_info *pool,
			      const uint64_t *values, bool counters)
{
	const struct tmem_client_info *client =
		view_client_of(view, pool->client_id);
	char uuid[TMEM_UUID_TEXT];

	tmem_uuid_format(&pool->uuid, uuid);
	return json_pack(
		"{s:I, s:o, s:o, s:I, s:s, s:b, s:b, s:s*, s:s, s:s, s:b, s:I, s:o*}",
		"id", (json_int_t)pool->id, "name", view_text(pool->name),
		"client",
		client != NULL ? view_text(client->name) : json_null(),
		"client_id", (json_int_t)pool->client_id, "kind",
		pool->flags & TMEM_POOL_PERSISTENT ? "persistent" : "ephemeral",
		"shared", (pool->flags & TMEM_POOL_SHARED) != 0, "exclusive",
		(pool->flags & TMEM_POOL_EXCLUSIVE) != 0, "uuid",
		pool->flags & TMEM_POOL_SHARED ? uuid : NULL, "compress",
		view_codec(pool->codec), "dedup",
		tmemd_setting_dedup_name(pool->dedup), "sampled", pool->sampled,
		"users", (json_int_t)pool->users, "stats",
		counters ? tmemd_view_counters(tmem_pool_stat_desc, values,
					       TMEM_POOL_STAT_COUNT)
			 : NULL);
}

json_t *tmemd_view_clients_json(const struct tmemd_view *view, bool counters)
{
	json_t *array = json_array();

	for (size_t i = 0; i < view->clients && array != NULL; i++)
		if (json_array_append_new(
			    array,
			    view_client_json(&view->client[i],
					     view->client_value +
						     i * TMEM_CLIENT_STAT_COUNT,
					     counters)) < 0) {
			json_decref(array);
			array = NULL;
		}
	return array;
}

json_t *tmemd_view_pools_json(const struct tmemd_view *view, bool counters)
{
	json_t *array = json_array();

	for (size_t i = 0; i < view->pools && array != NULL; i++)
		if (json_array_append_new(
			    array,
			    view_pool_json(view, &view->pool[i],
					   view->pool_value +
						   i * TMEM_POOL_STAT_COUNT,
					   counters)) < 0) {
			json_decref(array);
			array = NULL;
		}
	return array;
}
