/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Forking, readiness, the pidfile. */
#include "daemon.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>
#include "log.h"

/** The parent's part: end as the child's set-up ends. */
_Noreturn static void wait_ready(int fd)
{
	char byte;
	ssize_t n;

	do
		n = read(fd, &byte, 1);
	while (n < 0 && errno == EINTR);
	/* Without the byte the child has failed, and has said why. */
	_exit(n == 1 ? EXIT_SUCCESS : EXIT_FAILURE);
}

int nbd_daemon_fork(struct nbd_daemon *daemon, bool foreground,
		    const char *pidfile)
{
	int fds[2];
	pid_t pid;

	*daemon = (struct nbd_daemon){.ready_fd = -1, .pidfile = pidfile};
	if (foreground)
		return 0;
	if (pipe2(fds, O_CLOEXEC))
		return -errno;
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid) {
		close(fds[1]);
		wait_ready(fds[0]);
	}
	close(fds[0]);
	daemon->ready_fd = fds[1];
	setsid();
	return 0;
}

static int write_pidfile(const char *path)
{
	FILE *file = fopen(path, "we");
	bool failed;

	if (!file)
		return -errno;
	failed = fprintf(file, "%d\n", getpid()) < 0;
	return fclose(file) || failed ? -EIO : 0;
}

/** stdin, stdout and stderr go nowhere. */
static int leave_terminal(void)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC), i, r = 0;

	if (fd < 0)
		return -errno;
	for (i = 0; i <= 2 && !r; i++)
		if (dup2(fd, i) < 0)
			r = -errno;
	if (fd > 2)
		close(fd);
	return r;
}

int nbd_daemon_ready(struct nbd_daemon *daemon)
{
	int r;

	if (daemon->pidfile) {
		r = write_pidfile(daemon->pidfile);
		if (r < 0) {
			tmem_log(LOG_ERR, "writing %s failed: %s",
				 daemon->pidfile, strerror(-r));
			return r;
		}
	}
	sd_notify(0, "READY=1");
	if (daemon->ready_fd < 0)
		return 0;
	r = chdir("/") ? -errno : leave_terminal();
	if (r < 0) {
		tmem_log(LOG_ERR, "becoming a daemon failed: %s", strerror(-r));
		return r;
	}
	tmem_log_to_syslog();
	r = write(daemon->ready_fd, "", 1) == 1 ? 0 : -errno;
	close(daemon->ready_fd);
	daemon->ready_fd = -1;
	/* Nobody waits any more: then nobody is told. */
	return r == -EPIPE ? 0 : r;
}

void nbd_daemon_end(const struct nbd_daemon *daemon)
{
	sd_notify(0, "STOPPING=1");
	if (daemon->pidfile)
		(void)unlink(daemon->pidfile);
}
