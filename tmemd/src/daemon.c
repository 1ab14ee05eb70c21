/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Start: lock and socket first, so that a second tmemd goes no further; then
 * the arena. Clients that connect meanwhile wait in the socket's queue.
 *
 * End: nobody new; keepers and sessions hang up, exports leave their pools
 * behind; the arena stays fit to be reopened.
 */
#include "daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <tmem/client.h>
#include <unistd.h>
#include "arena-file.h"
#include "conn.h"
#include "error.h"
#include "exports.h"
#include "listen.h"
#include "log.h"
#include "protect.h"
#include "size.h"
#include "steward.h"

/* How long not to accept when descriptors or memory have run out, ms. */
#define DAEMON_PAUSE 100L

#define DAEMON_STACK ((size_t)256 << 10)

/* How often to try for an arena, that long apart. */
#define DAEMON_TRIES 10

/* What only the main thread uses. */
struct daemon_main {
	struct tmemd daemon;
	struct tmemd_listen listener;
	struct tmemd_conns *conns;
	struct tmemd_steward *steward;
	int signals;
	int watchdog; /* ms between two signs of life, or -1 */
	bool full;    /* it has been said that nothing can be accepted */
};

bool tmemd_daemon_is_admin(uid_t uid)
{
	return uid == 0 || uid == geteuid();
}

void tmemd_daemon_domain(struct tmemd *daemon, const char *name, uid_t uid,
			 char domain[static TMEM_NAME_MAX])
{
	struct tmem_client_settings settings;
	const char *rule = "";

	pthread_mutex_lock(&daemon->lock);
	tmemd_config_client(&daemon->config, name, uid, &rule, &settings);
	strcpy(domain, rule);
	pthread_mutex_unlock(&daemon->lock);
}

void tmemd_daemon_joined(void *arg, const char *name, uid_t uid)
{
	struct tmemd *daemon = arg;
	struct tmem_client_settings settings;
	struct tmem_client_info *client;
	const char *domain;
	size_t count;

	pthread_mutex_lock(&daemon->lock);
	tmemd_config_client(&daemon->config, name, uid, &domain, &settings);
	pthread_mutex_unlock(&daemon->lock);
	if (settings.set == 0 ||
	    tmem_store_clients(daemon->store, &client, NULL, &count) < 0)
		return;
	for (size_t i = 0; i < count; i++)
		if (client[i].uid == uid && strcmp(client[i].name, name) == 0)
			tmem_store_client_set(daemon->store, client[i].id,
					      &settings);
	free(client);
}

/* Start ------------------------------------------------------------------- */

static void daemon_raise_files(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

/* Stacks of threads that ask for nothing else: with host swap they are in
 * memory as a whole. */
static void daemon_small_stacks(void)
{
	pthread_attr_t attr;

	if (pthread_attr_init(&attr) != 0)
		return;
	pthread_attr_setstacksize(&attr, DAEMON_STACK);
	pthread_setattr_default_np(&attr);
	pthread_attr_destroy(&attr);
}

static int daemon_block_signals(int *fd)
{
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	*fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	return *fd < 0 ? -errno : 0;
}

/* Why the store did not open, for people. */
static int daemon_store_error(const struct tmemd_config *config,
			      uint64_t budget, int r, char *error)
{
	char text[TMEM_SIZE_TEXT];

	tmem_size_format(budget, text);
	switch (r) {
	case -EBUSY:
		return tmemd_error(
			error, r,
			"another process has arena %s open: stop it, or give another arena",
			config->arena);
	case -EBADMSG:
		return tmemd_error(
			error, r,
			"arena %s was not made by this version of tmem: give another, or remove the file, and with it the pages it holds",
			config->arena);
	case -EINVAL:
		return tmemd_error(
			error, r,
			"the store cannot have a budget of %s: it is more than the capacity, which a reopened arena keeps (raise capacity, or give another arena)",
			text);
	case -ENOSPC:
		return tmemd_error(
			error, r,
			"arena %s: the tmpfs is full: enlarge it (mount -o remount,size=...)",
			config->arena);
	default:
		return tmemd_error(error, r, "cannot open the store: %s",
				   strerror(-r));
	}
}

/* A tmemd that was killed lets go of its socket's lock and of its arena in no
 * certain order. */
static int daemon_open_arena(const struct tmem_store_config *config,
			     struct tmem_store **store)
{
	static const struct timespec pause = {0, DAEMON_PAUSE * 1000000};
	int r = tmem_store_open(config, store);

	for (int tries = 0; r == -EBUSY && tries < DAEMON_TRIES; tries++) {
		nanosleep(&pause, NULL);
		r = tmem_store_open(config, store);
	}
	return r;
}

static int daemon_open_store(struct tmemd *daemon, char *error)
{
	struct tmemd_config *config = &daemon->config;
	struct tmem_store_config store;
	char text[TMEM_SIZE_TEXT];
	uint64_t held, wanted;
	int r;

	tmem_store_config_init(&store);
	r = tmemd_arena_file_open(
		config->arena,
		geteuid() == 0 && strcmp(config->socket, TMEM_SOCKET_PATH) == 0,
		&store.arena_fd, &held, error);
	if (r < 0)
		return r;
	wanted = tmemd_config_budget(config, held);
	r = tmemd_limit_clamp(wanted, &store.budget, error);
	if (r == 0) {
		store.capacity = config->capacity;
		store.codec = config->codec;
		store.nursery = config->nursery;
		store.threads = config->threads;
		store.no_cold = config->no_cold;
		r = daemon_open_arena(&store, &daemon->store);
		if (r < 0)
			daemon_store_error(config, store.budget, r, error);
	}
	if (r < 0) {
		if (store.arena_fd >= 0)
			close(store.arena_fd);
		return r;
	}
	tmem_log(LOG_NOTICE, "%s, budget %s%s",
		 tmem_store_reopened(daemon->store) ? "arena reopened"
		 : store.arena_fd < 0		    ? "arena in memory"
						    : "arena created",
		 tmem_size_format(store.budget, text),
		 store.budget < wanted ? ", as the memory cgroup allows no more"
				       : "");
	return tmemd_limit_init(&daemon->limit, daemon->store, wanted,
				store.budget);
}

static int daemon_start(struct daemon_main *main, char *error)
{
	struct tmemd *daemon = &main->daemon;
	uint64_t watchdog;
	int r;

	r = daemon_block_signals(&main->signals);
	if (r == 0)
		r = tmemd_listen_init(&main->listener, daemon->config.socket,
				      daemon->config.group, error);
	if (r == 0)
		r = daemon_open_store(daemon, error);
	if (r == 0)
		r = tmem_sessions_new(daemon->store, tmemd_daemon_joined,
				      daemon, &daemon->sessions);
	if (r == 0)
		r = tmemd_exports_new(daemon, &daemon->exports);
	if (r == 0)
		r = tmemd_conns_new(daemon, &main->conns);
	if (r == 0)
		r = tmemd_steward_new(daemon, &main->steward);
	if (r == -EAGAIN)
		r = tmemd_error(error, r, TMEMD_NO_THREAD);
	if (sd_watchdog_enabled(0, &watchdog) > 0)
		main->watchdog = (int)MIN(watchdog / 2000, (uint64_t)INT32_MAX);
	return r;
}

/* End: also of a start that stopped half-way. */
static void daemon_end(struct daemon_main *main)
{
	struct tmemd *daemon = &main->daemon;

	tmemd_listen_hush(&main->listener);
	main->steward = tmemd_steward_free(main->steward);
	if (daemon->exports != NULL)
		tmemd_exports_leave(daemon->exports);
	main->conns = tmemd_conns_free(main->conns);
	daemon->sessions = tmem_sessions_free(daemon->sessions);
	daemon->exports = tmemd_exports_free(daemon->exports);
	if (daemon->store != NULL) {
		/* Ephemeral pages ended with their sessions: what is left of
		 * their memory goes back to the host. */
		tmem_store_compact(daemon->store);
		tmemd_limit_deinit(&daemon->limit);
		daemon->store = tmem_store_close(daemon->store);
	}
	tmemd_listen_deinit(&main->listener);
	if (main->signals >= 0)
		close(main->signals);
}

/* Run --------------------------------------------------------------------- */

/* Returns whether to go on. */
static bool daemon_signal(struct daemon_main *main)
{
	struct signalfd_siginfo info;

	while (read(main->signals, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo != SIGHUP)
			return false;
		tmemd_steward_reload(main->steward);
	}
	return true;
}

static void daemon_accept(struct daemon_main *main)
{
	static const struct timespec pause = {0, DAEMON_PAUSE * 1000000};
	int sock = accept4(main->listener.fd, NULL, NULL, SOCK_CLOEXEC);

	if (sock >= 0) {
		main->full = false;
		tmemd_conns_add(main->conns, sock);
	} else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM ||
		   errno == ENOBUFS) {
		if (!main->full)
			tmem_log(LOG_WARNING, "cannot accept a connection: %s",
				 strerror(errno));
		main->full = true;
		nanosleep(&pause, NULL);
	}
}

static void daemon_loop(struct daemon_main *main)
{
	struct pollfd fds[] = {{.fd = main->signals, .events = POLLIN},
			       {.fd = main->listener.fd, .events = POLLIN}};
	bool more = true;

	while (more) {
		sd_notify(0, "WATCHDOG=1");
		if (poll(fds, 2, main->watchdog) <= 0)
			continue;
		if (fds[0].revents != 0)
			more = daemon_signal(main);
		else if (fds[1].revents != 0)
			daemon_accept(main);
	}
}

/* Tell whoever started us, and let go of its terminal. */
static void daemon_ready(int ready)
{
	int null;

	sd_notify(0, "READY=1");
	if (ready < 0)
		return;
	tmem_log_to_syslog();
	(void)!chdir("/");
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
		dup2(null, STDERR_FILENO);
		close(null);
	}
	(void)!write(ready, "", 1);
	close(ready);
}

int tmemd_daemon_run(const struct tmemd_options *options, int ready,
		     char *error)
{
	struct daemon_main main = {
		.listener = TMEMD_LISTEN_INIT, .signals = -1, .watchdog = -1};
	struct tmemd *daemon = &main.daemon;
	int r;

	daemon->options = options;
	r = tmemd_options_config(options, &daemon->config, error);
	if (r < 0)
		return r;
	tmem_log_set_level(daemon->config.log_level);
	pthread_mutex_init(&daemon->lock, NULL);
	daemon_raise_files();
	daemon_small_stacks();
	if (!(tmem_protect() & TMEM_PROTECT_LOCKED))
		tmem_log(
			LOG_INFO,
			"memory is not locked: do not swap to exports of this tmemd, which is for root's");
	r = daemon_start(&main, error);
	if (r == 0) {
		daemon_ready(ready);
		daemon_loop(&main);
		sd_notify(0, "STOPPING=1");
		tmem_log(LOG_NOTICE, "ending");
	}
	daemon_end(&main);
	pthread_mutex_destroy(&daemon->lock);
	tmemd_config_deinit(&daemon->config);
	return r;
}
