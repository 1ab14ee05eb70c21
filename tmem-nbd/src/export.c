/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An export's life and its threads.
 *
 * The accepting thread takes new connections, starts a thread for each, and
 * joins those that have ended; the list of connections is its own, but for
 * statistics. Whoever ends, or wants the export to stop, writes to the wake-up
 * descriptor that it polls beside the listening socket.
 */
#include "export.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "connection.h"
#include "host-swap.h"
#include "log.h"
#include "writeout.h"

#define CONNECTIONS_DEFAULT 64u
#define HANDSHAKE_DEFAULT   10000u

/** Time that stop gives requests under way, and the pause when there are no
 * descriptors or memory for another connection; milliseconds. */
#define STOP_GRACE   5000
#define ACCEPT_PAUSE 100

#define STACK_SIZE (256u << 10)

#define DESCRIPTION(name, type, unit, text) {#name, #type, #unit, text},
const struct tmem_stat_desc tmem_nbd_stat_desc[] = {
	TMEM_NBD_STATS(DESCRIPTION)};

struct client {
	struct client *next;
	struct tmem_nbd_export *nbd;
	pthread_t thread;
	int fd;
	atomic_bool ended;
	struct nbd_connection connection;
};

struct tmem_nbd_export {
	struct nbd_export_info info;
	char name[TMEM_NAME_MAX];
	char description[NBD_STRING_MAX];
	struct tmem_client *client;
	struct tmem_pool *pool;
	int listen_fd, overflow_fd, wake_fd;
	unsigned max_connections, handshake_ms;
	pthread_t accepting;
	atomic_bool stopping;
	/* Guards the list, which only the accepting thread changes, and
	 * totals. */
	pthread_mutex_t lock;
	struct client *clients;
	unsigned count;
	uint64_t totals[TMEM_NBD_STAT_COUNT]; /* of what has ended */
};

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void wake(struct tmem_nbd_export *nbd)
{
	/* Only fails when it has been written to 2^64 times already. */
	(void)eventfd_write(nbd->wake_fd, 1);
}

/* Connections ------------------------------------------------------------- */

static void *serve(void *arg)
{
	struct client *client = arg;
	struct nbd_connection *connection = &client->connection;
	struct tmem_nbd_export *nbd = client->nbd;
	int r;

	r = nbd_connection_run(connection);
	if (r == -EPROTO || r == -ETIMEDOUT) {
		nbd_io_count(&connection->io, TMEM_NBD_STAT_dropped, 1);
		tmem_log(LOG_INFO, "%s: dropped a client: %s", nbd->name,
			 r == -EPROTO ? "it does not keep to the protocol"
				      : "its handshake took too long");
	}
	/* The client learns at once; the descriptor is closed when joined. */
	shutdown(client->fd, SHUT_RDWR);
	atomic_store(&client->ended, true);
	wake(nbd);
	return NULL;
}

static void free_client(struct client *client)
{
	nbd_connection_deinit(&client->connection);
	close(client->fd);
	free(client);
}

static int start_thread(pthread_t *thread, void *(*run)(void *), void *arg)
{
	pthread_attr_t attr;
	int r;

	r = pthread_attr_init(&attr);
	if (r)
		return -r;
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	r = pthread_create(thread, &attr, run, arg);
	pthread_attr_destroy(&attr);
	return -r;
}

static int start_client(struct tmem_nbd_export *nbd, int fd)
{
	struct client *client = calloc(1, sizeof(*client));
	int r;

	if (!client)
		return -ENOMEM;
	client->nbd = nbd;
	client->fd = fd;
	r = nbd_connection_init(&client->connection, &nbd->info, fd,
				nbd->handshake_ms);
	if (r < 0) {
		free(client);
		return r;
	}
	r = start_thread(&client->thread, serve, client);
	if (r < 0) {
		nbd_connection_deinit(&client->connection);
		free(client);
		return r;
	}
	pthread_mutex_lock(&nbd->lock);
	client->next = nbd->clients;
	nbd->clients = client;
	nbd->count++;
	nbd->totals[TMEM_NBD_STAT_accepted]++;
	pthread_mutex_unlock(&nbd->lock);
	return 0;
}

static void add_stats(const struct client *client, uint64_t *values)
{
	unsigned i;

	for (i = 0; i < TMEM_NBD_STAT_COUNT; i++)
		values[i] += atomic_load_explicit(
			&client->connection.io.stats[i], memory_order_relaxed);
}

/** Take an ended client out of the list, or NULL. */
static struct client *take_ended(struct tmem_nbd_export *nbd)
{
	struct client **at, *client;

	pthread_mutex_lock(&nbd->lock);
	for (at = &nbd->clients; (client = *at); at = &client->next)
		if (atomic_load(&client->ended))
			break;
	if (client) {
		*at = client->next;
		nbd->count--;
		add_stats(client, nbd->totals);
	}
	pthread_mutex_unlock(&nbd->lock);
	return client;
}

static void join_ended(struct tmem_nbd_export *nbd)
{
	struct client *client;

	while ((client = take_ended(nbd))) {
		pthread_join(client->thread, NULL);
		free_client(client);
	}
}

static void shut_down_all(struct tmem_nbd_export *nbd, int how)
{
	struct client *client;

	for (client = nbd->clients; client; client = client->next)
		shutdown(client->fd, how);
}

/* Accepting --------------------------------------------------------------- */

static bool is_listening(int fd)
{
	socklen_t size = sizeof(int);
	int value = 0;

	return !getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &value, &size) &&
	       value;
}

/** The socket is a client's. Whoever handed it over sees that it is shut down
 * when that client is not served any more. */
static void serve_only(struct tmem_nbd_export *nbd)
{
	int fd = fcntl(nbd->listen_fd, F_DUPFD_CLOEXEC, 0);
	int r = fd < 0 ? -errno : start_client(nbd, fd);

	if (!r)
		return;
	nbd_device_report(nbd->info.device, "serving the client failed: %s",
			  strerror(-r));
	shutdown(nbd->listen_fd, SHUT_RDWR);
	if (fd >= 0)
		close(fd);
}

static void accept_one(struct tmem_nbd_export *nbd)
{
	int fd = accept4(nbd->listen_fd, NULL, NULL, SOCK_CLOEXEC);
	int r;

	if (fd < 0) {
		/* Out of something: the connection stays in the queue. */
		if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
			poll(NULL, 0, ACCEPT_PAUSE);
		return;
	}
	if (nbd->count >= nbd->max_connections) {
		pthread_mutex_lock(&nbd->lock);
		nbd->totals[TMEM_NBD_STAT_turned_away]++;
		pthread_mutex_unlock(&nbd->lock);
		nbd_device_report(
			nbd->info.device,
			"a client was turned away: %u are connected, which is the limit",
			nbd->count);
		close(fd);
		return;
	}
	r = start_client(nbd, fd);
	if (r < 0) {
		nbd_device_report(nbd->info.device,
				  "serving a client failed: %s", strerror(-r));
		close(fd);
	}
}

/** Let clients' requests that have arrived be answered, then end them. */
static void end_clients(struct tmem_nbd_export *nbd)
{
	struct pollfd p = {.fd = nbd->wake_fd, .events = POLLIN};
	int64_t deadline = now_ms() + STOP_GRACE, left;
	eventfd_t value;

	/* A socket shut down for reading still gives what it has received. */
	shut_down_all(nbd, SHUT_RD);
	for (join_ended(nbd); nbd->clients; join_ended(nbd)) {
		left = deadline - now_ms();
		if (left <= 0)
			shut_down_all(nbd, SHUT_RDWR);
		poll(&p, 1, left > 0 ? (int)left : -1);
		(void)eventfd_read(nbd->wake_fd, &value);
	}
}

static void *accept_all(void *arg)
{
	struct tmem_nbd_export *nbd = arg;
	struct pollfd p[] = {
		{.fd = nbd->wake_fd, .events = POLLIN},
		{.fd = nbd->listen_fd, .events = POLLIN},
	};
	eventfd_t value;

	if (!is_listening(nbd->listen_fd)) {
		p[1].fd = -1;
		serve_only(nbd);
	}
	while (!atomic_load(&nbd->stopping)) {
		if (poll(p, 2, -1) < 0)
			continue;
		if (p[0].revents) {
			(void)eventfd_read(nbd->wake_fd, &value);
			join_ended(nbd);
		}
		if (p[1].revents && !atomic_load(&nbd->stopping))
			accept_one(nbd);
	}
	end_clients(nbd);
	return NULL;
}

/* Start and stop ---------------------------------------------------------- */

static int check_config(const struct tmem_nbd_export_config *config, char *why,
			size_t why_size)
{
	const char *text = config->description ? config->description : "";

	if (config->size && !tmem_nbd_size_is_valid(config->size)) {
		snprintf(
			why, why_size,
			"a device's size is 512 bytes to 16T and a multiple of 512, not %llu",
			(unsigned long long)config->size);
		return -EINVAL;
	}
	if (strlen(text) >= NBD_STRING_MAX) {
		snprintf(why, why_size, "a description has less than %u bytes",
			 NBD_STRING_MAX);
		return -EINVAL;
	}
	return 0;
}

static int open_pool(struct tmem_nbd_export *nbd,
		     const struct tmem_nbd_export_config *config, char *why,
		     size_t why_size)
{
	const struct tmem_client_config client = {.name = config->name,
						  .uid = config->uid};
	const struct tmem_pool_config pool = {.name = "nbd",
					      .flags = TMEM_POOL_PERSISTENT,
					      .codec = config->codec};
	int r;

	r = tmem_client_new_local(config->store, &client, &nbd->client);
	if (!r) {
		r = tmem_pool_new(nbd->client, &pool, &nbd->pool);
		if (r < 0)
			nbd->client = tmem_client_free(nbd->client);
	}
	if (r == -EINVAL)
		snprintf(
			why, why_size,
			"'%s' is no name: use 1 to %u printable characters, no '/' or space",
			config->name, TMEM_NAME_MAX - 1);
	else if (r == -EBUSY)
		snprintf(
			why, why_size,
			"'%s' is in use by another client: choose another name",
			config->name);
	else if (r < 0)
		snprintf(why, why_size, "opening a pool for '%s' failed: %s",
			 config->name, strerror(-r));
	return r;
}

static int start_accepting(struct tmem_nbd_export *nbd, char *why,
			   size_t why_size)
{
	int r;

	nbd->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (nbd->wake_fd < 0) {
		r = -errno;
	} else {
		r = start_thread(&nbd->accepting, accept_all, nbd);
		if (r < 0)
			close(nbd->wake_fd);
	}
	if (r < 0)
		snprintf(why, why_size, "starting to accept failed: %s",
			 strerror(-r));
	return r;
}

static struct tmem_nbd_export *
new_export(const struct tmem_nbd_export_config *config)
{
	struct tmem_nbd_export *nbd = calloc(1, sizeof(*nbd));

	if (!nbd)
		return NULL;
	pthread_mutex_init(&nbd->lock, NULL);
	snprintf(nbd->name, sizeof(nbd->name), "%s", config->name);
	if (config->description)
		snprintf(nbd->description, sizeof(nbd->description), "%s",
			 config->description);
	nbd->info = (struct nbd_export_info){
		.name = nbd->name,
		.description = nbd->description,
		.read_only = config->read_only,
	};
	nbd->listen_fd = config->listen_fd;
	nbd->overflow_fd = config->overflow_fd;
	nbd->max_connections = config->max_connections ? config->max_connections
						       : CONNECTIONS_DEFAULT;
	nbd->handshake_ms =
		config->handshake_ms ? config->handshake_ms : HANDSHAKE_DEFAULT;
	return nbd;
}

/** Close a device that is not to be served. One that was new is nobody's: it
 * must not be in the way of the next. */
static void abandon(struct tmem_nbd_export *nbd)
{
	struct nbd_device *device = nbd->info.device;

	if (device->exact) {
		if (nbd->overflow_fd >= 0)
			(void)nbd_overflow_erase(nbd->overflow_fd);
		(void)tmem_flush_object(nbd->pool, &nbd_device_record_oid);
	}
	nbd_device_close(device);
}

int tmem_nbd_export_start(const struct tmem_nbd_export_config *config,
			  struct tmem_nbd_export **out, char *why,
			  size_t why_size)
{
	struct tmem_nbd_export *nbd;
	int r;

	r = check_config(config, why, why_size);
	if (!r && config->host_swap)
		r = nbd_host_swap_check(config, why, why_size);
	if (r < 0)
		return r;
	nbd = new_export(config);
	if (!nbd) {
		snprintf(why, why_size, "out of memory");
		return -ENOMEM;
	}
	r = open_pool(nbd, config, why, why_size);
	if (r < 0)
		goto err1;
	r = nbd_device_open(config, nbd->pool,
			    tmem_store_generation(config->store),
			    &nbd->info.device, why, why_size);
	if (r < 0)
		goto err2;
	nbd->info.device->name = nbd->name;
	nbd->info.device->host_swap = config->host_swap;
	/* Its maps are there. Threads come later, touched as they come. */
	if (config->host_swap)
		r = nbd_host_swap_prepare(config, why, why_size);
	if (r < 0)
		goto err3;
	r = nbd_writeout_start(nbd->info.device);
	if (r < 0) {
		snprintf(why, why_size, "starting to write out failed: %s",
			 strerror(-r));
		goto err3;
	}
	r = start_accepting(nbd, why, why_size);
	if (r < 0)
		goto err4;
	*out = nbd;
	return 0;
err4:
	nbd_writeout_stop(nbd->info.device);
err3:
	abandon(nbd);
err2:
	tmem_pool_free(nbd->pool);
	tmem_client_free(nbd->client);
err1:
	pthread_mutex_destroy(&nbd->lock);
	free(nbd);
	return r;
}

struct tmem_nbd_export *tmem_nbd_export_stop(struct tmem_nbd_export *nbd,
					     bool keep)
{
	if (!nbd)
		return NULL;
	atomic_store(&nbd->stopping, true);
	wake(nbd);
	pthread_join(nbd->accepting, NULL);
	close(nbd->wake_fd);
	close(nbd->listen_fd);
	nbd_writeout_stop(nbd->info.device);
	/* The file first: a pool without its file is refused, a file without
	 * its pool too, and neither is mistaken for the device. */
	if (!keep && nbd->overflow_fd >= 0)
		(void)nbd_overflow_erase(nbd->overflow_fd);
	nbd_device_close(nbd->info.device);
	if (nbd->overflow_fd >= 0)
		close(nbd->overflow_fd);
	if (keep)
		tmem_pool_free(nbd->pool);
	else
		tmem_pool_destroy(nbd->pool);
	tmem_client_free(nbd->client);
	pthread_mutex_destroy(&nbd->lock);
	free(nbd);
	return NULL;
}

uint64_t tmem_nbd_export_size(const struct tmem_nbd_export *nbd)
{
	return nbd->info.device->size;
}

struct tmem_uuid tmem_nbd_export_device(const struct tmem_nbd_export *nbd)
{
	return nbd->info.device->id;
}

void tmem_nbd_export_stats(struct tmem_nbd_export *nbd, uint64_t *values)
{
	const struct nbd_device *device = nbd->info.device;
	const struct client *client;

	pthread_mutex_lock(&nbd->lock);
	memcpy(values, nbd->totals, sizeof(nbd->totals));
	for (client = nbd->clients; client; client = client->next)
		add_stats(client, values);
	values[TMEM_NBD_STAT_connections] = nbd->count;
	nbd_writeout_add_stats(device, values);
	pthread_mutex_unlock(&nbd->lock);
	values[TMEM_NBD_STAT_overflow_pages] =
		nbd_page_map_count(&device->spilled);
	values[TMEM_NBD_STAT_map_bytes] =
		device->held.bytes + device->spilled.bytes;
}
