/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tmem-nbd: an export served from memory, from this process or from tmemd. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>
#include "attach.h"
#include "listen.h"
#include "log.h"
#include "server.h"

int nbd_server_signal(const struct nbd_server *server)
{
	struct signalfd_siginfo info;
	ssize_t n = read(server->signal_fd, &info, sizeof(info));

	return n == sizeof(info) ? (int)info.ssi_signo : 0;
}

void nbd_server_unlink(const struct nbd_server *server)
{
	if (server->options->socket)
		(void)unlink(server->options->socket);
}

/** Signals come through a descriptor, in all threads. */
static int take_signals(void)
{
	sigset_t set;
	int fd;

	/* A client that has gone, and a file that may not grow, are errors of
	 * the call that meets them. */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR1);
	if (sigprocmask(SIG_BLOCK, &set, NULL))
		return -errno;
	fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/** Open the overflow file, which is made when it is not there. *made tells. A
 * disk must not be in use otherwise. */
static int open_overflow(const char *path, bool *made)
{
	struct stat st;
	bool disk = !stat(path, &st) && S_ISBLK(st.st_mode);
	int fd = open(path, O_RDWR | O_CLOEXEC | (disk ? O_EXCL : 0));

	if (fd < 0 && errno == ENOENT) {
		fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		*made = fd >= 0;
	}
	if (fd >= 0)
		return fd;
	fd = -errno;
	tmem_log(LOG_ERR, "opening the overflow file %s failed: %s", path,
		 strerror(-fd));
	return fd;
}

static int open_socket(struct nbd_server *server)
{
	const struct nbd_options *options = server->options;
	bool connected = false;
	int r;

	if (options->listen_fd < 0)
		r = nbd_listen(options->socket, options->socket_mode);
	else
		r = nbd_listen_inherited(options->listen_fd, &connected);
	server->listen_fd = r;
	if (r < 0 || !connected)
		return r;
	if (options->where == NBD_WHERE_HOSTED) {
		tmem_log(
			LOG_ERR,
			"a client's connection was handed over, which tmemd does not serve: hand over a listening socket, or use --embedded");
		return -EINVAL;
	}
	r = server->client_fd = fcntl(r, F_DUPFD_CLOEXEC, 0);
	return r < 0 ? -errno : r;
}

static int serve(struct nbd_server *server)
{
	int sock;

	if (server->client_fd >= 0)
		return nbd_embedded_run(server);
	sock = nbd_keeper_connect(server->options);
	if (sock >= 0)
		return nbd_keeper_run(server, sock);
	return sock == -ENOENT ? nbd_embedded_run(server) : sock;
}

static int run(struct nbd_server *server)
{
	const struct nbd_options *options = server->options;
	bool made = false, opened;
	int r;

	r = open_socket(server);
	opened = r >= 0;
	if (opened && options->overflow)
		r = server->overflow_fd =
			open_overflow(options->overflow, &made);
	if (r >= 0)
		r = serve(server);
	if (server->listen_fd >= 0)
		close(server->listen_fd);
	if (server->overflow_fd >= 0)
		close(server->overflow_fd);
	if (server->client_fd >= 0)
		close(server->client_fd);
	if (r < 0 && opened && !server->begun) {
		nbd_server_unlink(server);
		if (made)
			(void)unlink(options->overflow);
	}
	return r;
}

int main(int argc, char **argv)
{
	struct nbd_options options;
	struct nbd_server server = {.options = &options,
				    .client_fd = -1,
				    .listen_fd = -1,
				    .overflow_fd = -1};
	int r;

	tmem_log_init("tmem-nbd");
	if (argc > 1 && !strcmp(argv[1], "attach"))
		return nbd_attach_main(argc - 1, argv + 1);
	if (argc > 1 && !strcmp(argv[1], "detach"))
		return nbd_detach_main(argc - 1, argv + 1);
	r = nbd_options_parse(&options, argc, argv);
	if (!r) {
		if (options.verbose)
			tmem_log_set_level(LOG_INFO);
		r = nbd_daemon_fork(&server.daemon, options.foreground,
				    options.pidfile);
		if (!r)
			r = server.signal_fd = take_signals();
		if (r < 0)
			tmem_log(LOG_ERR, "starting failed: %s", strerror(-r));
		else
			r = run(&server);
	}
	nbd_options_deinit(&options);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
