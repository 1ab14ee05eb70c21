/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An export over a store of this process's own. */
#include "server.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>
#include "export.h"
#include "log.h"
#include "memlimit.h"
#include "protect.h"

/** The budget asked for, or a quarter of the memory that is available, and no
 * more than the memory cgroup leaves. */
static uint64_t budget_of(const struct nbd_options *options)
{
	uint64_t budget = options->budget, room;

	if (!budget && !tmem_memlimit_available("", &budget))
		budget /= 4;
	room = tmem_memlimit_room(tmem_memlimit_cgroup(""));
	return budget < room ? budget : room;
}

static int open_store(const struct nbd_options *options,
		      struct tmem_store **out)
{
	struct tmem_store_config config;
	int r;

	tmem_store_config_init(&config);
	config.budget = budget_of(options);
	config.nursery = options->nursery;
	if (options->arena) {
		config.arena_fd = open(options->arena,
				       O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		if (config.arena_fd < 0) {
			r = -errno;
			tmem_log(LOG_ERR, "opening the arena %s failed: %s",
				 options->arena, strerror(-r));
			return r;
		}
	}
	r = tmem_store_open(&config, out);
	if (!r)
		return 0;
	if (r == -EBADMSG)
		tmem_log(
			LOG_ERR,
			"%s is not an arena of this version: give another --arena, or remove it if its pages are not needed",
			options->arena);
	else if (r == -EBUSY)
		tmem_log(
			LOG_ERR,
			"the arena %s is in use by another process: stop it or give another --arena",
			options->arena);
	else if (r == -EINVAL)
		tmem_log(
			LOG_ERR,
			"the store cannot have this budget: it needs at least %uM, and an arena keeps its capacity",
			TMEM_BUDGET_MIN >> 20);
	else
		tmem_log(LOG_ERR, "opening the store failed: %s", strerror(-r));
	if (config.arena_fd >= 0)
		close(config.arena_fd);
	return r;
}

static void log_stats(struct tmem_nbd_export *nbd, struct tmem_store *store)
{
	uint64_t values[TMEM_NBD_STAT_COUNT], host[TMEM_HOST_STAT_COUNT];
	unsigned i;

	tmem_nbd_export_stats(nbd, values);
	for (i = 0; i < TMEM_NBD_STAT_COUNT; i++)
		tmem_log(LOG_NOTICE, "export %s %" PRIu64 " %s",
			 tmem_nbd_stat_desc[i].name, values[i],
			 tmem_nbd_stat_desc[i].unit);
	tmem_store_stats(store, host);
	for (i = 0; i < TMEM_HOST_STAT_COUNT; i++)
		tmem_log(LOG_NOTICE, "host %s %" PRIu64 " %s",
			 tmem_host_stat_desc[i].name, host[i],
			 tmem_host_stat_desc[i].unit);
}

static void serve(const struct nbd_server *server, struct tmem_nbd_export *nbd,
		  struct tmem_store *store)
{
	struct pollfd p[] = {
		{.fd = server->signal_fd, .events = POLLIN},
		/* An only client has hung up, or was. */
		{.fd = server->client_fd, .events = 0},
	};
	int signal;

	while (!p[1].revents) {
		poll(p, 2, -1);
		signal = nbd_server_signal(server);
		if (signal == SIGUSR1)
			log_stats(nbd, store);
		else if (signal)
			return;
	}
}

static int start(struct nbd_server *server, struct tmem_store *store,
		 struct tmem_nbd_export **out)
{
	const struct nbd_options *options = server->options;
	const struct tmem_nbd_export_config config = {
		.name = options->name,
		.description = options->description,
		.uid = geteuid(),
		.size = options->size,
		.read_only = options->read_only,
		.reset = options->reset,
		.host_swap = options->host_swap,
		.listen_fd = server->listen_fd,
		.overflow_fd = server->overflow_fd,
		.store = store,
		.codec = options->codec,
		.max_connections = options->max_connections,
	};
	char why[512];
	int r;

	r = tmem_nbd_export_start(&config, out, why, sizeof(why));
	if (r < 0) {
		tmem_log(LOG_ERR, "%s", why);
		return r;
	}
	server->listen_fd = server->overflow_fd = -1;
	server->begun = true;
	return 0;
}

int nbd_embedded_run(struct nbd_server *server)
{
	bool keep = server->options->arena;
	struct tmem_nbd_export *nbd;
	struct tmem_store *store = NULL;
	int r;

	/* The device may be swap, and then we must not wait for ourselves. */
	(void)tmem_protect();
	r = open_store(server->options, &store);
	if (r < 0)
		return r;
	r = start(server, store, &nbd);
	if (!r) {
		r = nbd_daemon_ready(&server->daemon);
		if (!r)
			serve(server, nbd, store);
		nbd_daemon_end(&server->daemon);
		/* No new clients while the last ones are served. */
		nbd_server_unlink(server);
		tmem_nbd_export_stop(nbd, keep);
	}
	tmem_store_close(store);
	return r;
}
