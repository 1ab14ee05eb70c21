/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Each operation validates what it takes from the request through the
 * control_string() family and finds clients and pools through a view. Who may
 * look may look at what is his own; who may change anything is an
 * administrator. Counters of the whole host are an administrator's too: how
 * many puts found an equal page says what others hold.
 */
#include "control.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "error.h"
#include "exports.h"
#include "setting.h"
#include "size.h"
#include "uuid.h"
#include "view.h"

struct control {
	struct tmemd *daemon;
	const json_t *request;
	json_t *reply;
	const uid_t *uid; /* NULL: an administrator */
	struct tmemd_view view;
	char *error;
};

/* A string of the request; NULL when it has none. */
static const char *control_string(const struct control *control,
				  const char *key)
{
	return json_string_value(json_object_get(control->request, key));
}

static bool control_flag(const struct control *control, const char *key)
{
	return json_is_true(json_object_get(control->request, key));
}

static int control_missing(const struct control *control, const char *key)
{
	return tmemd_error(control->error, -EINVAL,
			   "the request has no \"%s\", which is a string", key);
}

/* Add to the reply. Consumes value. */
static int control_add(struct control *control, const char *key, json_t *value)
{
	return json_object_set_new(control->reply, key, value) < 0 ? -ENOMEM
								   : 0;
}

static int control_client(struct control *control,
			  const struct tmem_client_info **out)
{
	const char *word = control_string(control, "client");

	if (word == NULL)
		return control_missing(control, "client");
	return tmemd_view_client(&control->view, word, out, control->error);
}

/* Looking ----------------------------------------------------------------- */

static int control_lists(struct control *control, bool counters)
{
	int r = control_add(control, "clients",
			    tmemd_view_clients_json(&control->view, counters));

	if (r == 0)
		r = control_add(
			control, "pools",
			tmemd_view_pools_json(&control->view, counters));
	if (r == 0)
		r = control_add(control, "exports",
				tmemd_exports_json(control->daemon->exports,
						   control->uid, counters));
	return r;
}

static int control_list(struct control *control)
{
	return control_lists(control, false);
}

static int control_host(struct control *control)
{
	struct tmemd *daemon = control->daemon;
	uint64_t value[TMEM_HOST_STAT_COUNT];
	bool frozen;
	json_t *host;

	tmem_store_stats(daemon->store, value);
	pthread_mutex_lock(&daemon->lock);
	frozen = daemon->frozen;
	pthread_mutex_unlock(&daemon->lock);
	host = tmemd_view_counters(tmem_host_stat_desc, value,
				   TMEM_HOST_STAT_COUNT);
	if (host == NULL ||
	    json_object_set_new(host, "frozen", json_boolean(frozen)) < 0) {
		json_decref(host);
		return -ENOMEM;
	}
	return control_add(control, "host", host);
}

static int control_stats(struct control *control)
{
	int r = control_add(control, "version", json_string(TMEM_VERSION));

	if (r == 0)
		r = control_add(control, "pid", json_integer(getpid()));
	if (r == 0 && control->uid == NULL)
		r = control_host(control);
	if (r == 0)
		r = control_lists(control, true);
	return r;
}

static int control_freeable(struct control *control)
{
	return control_add(control, "freeable",
			   json_integer((json_int_t)tmem_store_freeable(
				   control->daemon->store)));
}

/* Settings ---------------------------------------------------------------- */

static int control_set_budget(struct control *control, const char *text)
{
	struct tmemd_limit_result result;
	uint64_t bytes;
	int r;

	if (tmem_size_parse(text, &bytes) < 0)
		return tmemd_error(
			control->error, -EINVAL,
			"budget \"%s\" is not valid: give a size such as 2G",
			text);
	r = tmemd_limit_set(&control->daemon->limit, bytes, &result,
			    control->error);
	if (r < 0)
		return r;
	r = control_add(control, "budget",
			json_integer((json_int_t)result.budget));
	if (r == 0)
		r = control_add(control, "clamped",
				json_boolean(result.clamped));
	if (r == 0)
		r = control_add(control, "full", json_boolean(result.full));
	return r;
}

static int control_set(struct control *control)
{
	const char *budget = control_string(control, "budget");
	struct tmem_client_settings settings = {0};
	const struct tmem_client_info *client;
	const char *key, *value;
	int r;

	if (budget != NULL)
		return control_set_budget(control, budget);
	r = control_client(control, &client);
	for (size_t i = 0; r == 0 && (key = tmemd_setting_key(i)); i++) {
		value = control_string(control, key);
		if (value != NULL)
			r = tmemd_setting_parse(&settings, key, value,
						control->error);
		else if (json_object_get(control->request, key) != NULL)
			r = control_missing(control, key);
	}
	if (r == 0 && settings.set == 0)
		r = tmemd_error(
			control->error, -EINVAL,
			"nothing to set: give weight, cap, maxmem, compress or dedup");
	if (r == 0)
		r = tmem_store_client_set(control->daemon->store, client->id,
					  &settings);
	return r;
}

static int control_set_frozen(struct control *control, bool frozen)
{
	struct tmem_client_settings settings = {.set = TMEM_SET_FROZEN,
						.frozen = frozen};
	struct tmemd *daemon = control->daemon;
	const struct tmem_client_info *client;
	int r;

	if (control_flag(control, "all")) {
		pthread_mutex_lock(&daemon->lock);
		tmem_store_set_frozen(daemon->store, frozen);
		daemon->frozen = frozen;
		pthread_mutex_unlock(&daemon->lock);
		return 0;
	}
	r = control_client(control, &client);
	return r < 0 ? r
		     : tmem_store_client_set(daemon->store, client->id,
					     &settings);
}

static int control_freeze(struct control *control)
{
	return control_set_frozen(control, true);
}

static int control_thaw(struct control *control)
{
	return control_set_frozen(control, false);
}

static int control_shared_auth(struct control *control)
{
	const char *name = control_string(control, "name");
	const char *text = control_string(control, "uuid");
	const json_t *uid = json_object_get(control->request, "uid");
	const json_t *allow = json_object_get(control->request, "allow");
	struct tmem_uuid uuid;
	int r;

	if (name == NULL || text == NULL)
		return control_missing(control, name == NULL ? "name" : "uuid");
	if (tmem_uuid_parse(text, &uuid) < 0)
		return tmemd_error(
			control->error, -EINVAL,
			"uuid \"%s\" is not valid: give 32 hexadecimal digits, as uuidgen(1) prints",
			text);
	if (!json_is_integer(uid) || json_integer_value(uid) < 0 ||
	    json_integer_value(uid) >= UINT32_MAX || !json_is_boolean(allow))
		return tmemd_error(
			control->error, -EINVAL,
			"the request needs a \"uid\", a number, and \"allow\", true or false");
	r = tmem_store_shared_auth(control->daemon->store,
				   (uid_t)json_integer_value(uid), name, &uuid,
				   json_is_true(allow));
	if (r == -ENOENT)
		r = tmemd_error(
			control->error, r,
			"client \"%s\" of user %u was not authorised for %s",
			name, (unsigned)json_integer_value(uid), text);
	else if (r == -EINVAL)
		r = tmemd_error(
			control->error, r,
			"client \"%s\" or uuid %s is not valid: a name has no / and no space, a uuid is not all zero",
			name, text);
	else if (r == -ENOSPC)
		r = tmemd_error(
			control->error, r,
			"there are as many authorisations as the store can hold: forbid some");
	return r;
}

/* Memory ------------------------------------------------------------------ */

static int control_flush_pool(struct control *control)
{
	const struct tmem_pool_info *pool;
	int r;

	r = tmemd_view_pool(&control->view, control_string(control, "pool"),
			    &pool, control->error);
	if (r < 0)
		return r;
	if ((pool->flags & TMEM_POOL_PERSISTENT) != 0 &&
	    !control_flag(control, "force"))
		return tmemd_error(
			control->error, -EPERM,
			"pool %s is persistent, and what it holds would be lost: say --force to flush it all the same",
			pool->name);
	return tmem_store_flush_pool(control->daemon->store, pool->id);
}

/* Flush a client's own pools: the ephemeral ones, with force all. A client
 * that is not connected has nothing else to be known by: with force it ends. */
static int control_flush_client(struct control *control)
{
	struct tmem_store *store = control->daemon->store;
	bool force = control_flag(control, "force");
	const struct tmem_client_info *client;
	unsigned kept = 0;
	int r;

	r = control_client(control, &client);
	if (r < 0)
		return r;
	if (force && !client->connected) {
		r = tmem_store_destroy_client(store, client->id);
		if (r != -EBUSY)
			return r;
		r = 0;
	}
	for (size_t i = 0; i < control->view.pools && r == 0; i++) {
		const struct tmem_pool_info *pool = &control->view.pool[i];

		if (pool->client_id != client->id)
			continue;
		if ((pool->flags & TMEM_POOL_PERSISTENT) != 0 && !force) {
			kept++;
			continue;
		}
		r = tmem_store_flush_pool(store, pool->id);
		if (r == -ENOENT) /* it has ended meanwhile */
			r = 0;
	}
	return r < 0 ? r : control_add(control, "kept", json_integer(kept));
}

static int control_flush(struct control *control)
{
	return control_string(control, "pool") != NULL
		       ? control_flush_pool(control)
		       : control_flush_client(control);
}

static int control_reclaim(struct control *control)
{
	const char *text = control_string(control, "bytes");
	uint64_t bytes, released;
	int r;

	if (text == NULL)
		return control_missing(control, "bytes");
	if (tmem_size_parse(text, &bytes) < 0)
		return tmemd_error(
			control->error, -EINVAL,
			"\"%s\" is not valid: give a size such as 512M", text);
	r = tmem_store_reclaim(control->daemon->store, bytes, &released);
	return r < 0 ? r
		     : control_add(control, "released",
				   json_integer((json_int_t)released));
}

static const struct {
	const char *op;
	int (*run)(struct control *control);
	bool anybody; /* who may connect, and sees his own */
} control_ops[] = {
	{"stats", control_stats, true},
	{"list", control_list, true},
	{"set", control_set, false},
	{"freeze", control_freeze, false},
	{"thaw", control_thaw, false},
	{"flush", control_flush, false},
	{"reclaim", control_reclaim, false},
	{"freeable", control_freeable, false},
	{"shared-auth", control_shared_auth, false},
};
#define CONTROL_OPS (sizeof(control_ops) / sizeof(*control_ops))

int tmemd_control_run(struct tmemd *daemon, uid_t uid, const char *op,
		      const json_t *request, json_t **reply, char *error)
{
	bool admin = tmemd_daemon_is_admin(uid);
	struct control control = {.daemon = daemon,
				  .request = request,
				  .uid = admin ? NULL : &uid,
				  .error = error};
	size_t i = 0;
	int r;

	while (i < CONTROL_OPS && strcmp(control_ops[i].op, op) != 0)
		i++;
	if (i == CONTROL_OPS)
		return tmemd_error(error, -EOPNOTSUPP,
				   "there is no operation \"%.64s\"", op);
	if (!admin && !control_ops[i].anybody)
		return tmemd_error(
			error, -EPERM,
			"%s is for the administrator: run it as root or as the user that tmemd runs as",
			op);
	r = tmemd_view_init(&control.view, daemon->store, control.uid);
	if (r < 0)
		return r;
	control.reply = json_pack("{s:b}", "ok", 1);
	r = control.reply != NULL ? control_ops[i].run(&control) : -ENOMEM;
	tmemd_view_deinit(&control.view);
	if (r < 0) {
		json_decref(control.reply);
		return r;
	}
	*reply = control.reply;
	return 0;
}
