/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Making a unix socket, or taking one over. */
#include "listen.h"
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>
#include "log.h"

/** Make the socket's directory if only that is missing (/run/tmem). */
static void make_directory(const char *path)
{
	char *copy = strdup(path);

	if (copy)
		(void)mkdir(dirname(copy), 0755);
	free(copy);
}

/** Whether a server listens at the address. */
static bool is_live(const struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	bool live;

	if (fd < 0)
		return true;
	live = !connect(fd, (const struct sockaddr *)address,
			sizeof(*address)) ||
	       errno != ECONNREFUSED;
	close(fd);
	return live;
}

/** What is at the address keeps us from listening there: remove it if it is a
 * socket that nobody listens on. Returns 0 or -EADDRINUSE. */
static int remove_stale(const struct sockaddr_un *address)
{
	struct stat st;

	if (lstat(address->sun_path, &st))
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode)) {
		tmem_log(
			LOG_ERR,
			"%s is there and is no socket: remove it or give another --socket",
			address->sun_path);
		return -EADDRINUSE;
	}
	if (is_live(address)) {
		tmem_log(
			LOG_ERR,
			"%s is in use by another server: stop it or give another --socket",
			address->sun_path);
		return -EADDRINUSE;
	}
	return unlink(address->sun_path) && errno != ENOENT ? -errno : 0;
}

static int bind_with_mode(int fd, const struct sockaddr_un *address,
			  mode_t mode)
{
	/* Never more than mode, not even for a moment. */
	mode_t mask = umask(0777 & ~mode);
	int r = bind(fd, (const struct sockaddr *)address, sizeof(*address))
			? -errno
			: 0;

	umask(mask);
	return r;
}

int nbd_listen(const char *path, mode_t mode)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd, r;

	if (strlen(path) >= sizeof(address.sun_path)) {
		tmem_log(
			LOG_ERR,
			"%s is too long for a socket: give a path of less than %zu bytes",
			path, sizeof(address.sun_path));
		return -ENAMETOOLONG;
	}
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	r = bind_with_mode(fd, &address, mode);
	if (r == -ENOENT) {
		make_directory(path);
		r = bind_with_mode(fd, &address, mode);
	}
	if (r == -EADDRINUSE) {
		r = remove_stale(&address);
		if (!r)
			r = bind_with_mode(fd, &address, mode);
		else
			goto err;
	}
	if (!r && listen(fd, SOMAXCONN))
		r = -errno;
	if (!r)
		return fd;
	tmem_log(LOG_ERR, "listening at %s failed: %s", path, strerror(-r));
err:
	close(fd);
	return r;
}

/** Have nothing at fd any more, though it stays open if it is stdin. */
static int give_up(int fd)
{
	int null, r;

	if (fd != STDIN_FILENO) {
		close(fd);
		return 0;
	}
	null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (null < 0)
		return -errno;
	r = dup2(null, fd) < 0 ? -errno : 0;
	close(null);
	return r;
}

int nbd_listen_inherited(int fd, bool *connected)
{
	bool listens = sd_is_socket_unix(fd, SOCK_STREAM, 1, NULL, 0) > 0;
	int copy, flags, r;

	if (!listens && sd_is_socket_unix(fd, SOCK_STREAM, 0, NULL, 0) <= 0) {
		tmem_log(
			LOG_ERR,
			"descriptor %d is no unix stream socket: hand one over, or give a path with --socket",
			fd);
		return -ENOTSOCK;
	}
	copy = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	if (copy < 0)
		return -errno;
	/* Connections are waited for where they are read. */
	flags = fcntl(copy, F_GETFL);
	if (flags < 0 || fcntl(copy, F_SETFL, flags & ~O_NONBLOCK))
		r = -errno;
	else
		r = give_up(fd);
	if (r < 0) {
		close(copy);
		return r;
	}
	*connected = !listens;
	return copy;
}
