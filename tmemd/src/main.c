/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmemd's entry: options, going to the background, exit codes.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "daemon.h"
#include "error.h"
#include "log.h"

enum { EXIT_USAGE = 2 };

/* The parent's part: wait until the child is ready, or else for its end. */
static int main_wait_ready(pid_t child, int ready)
{
	char byte;
	int status;

	if (read(ready, &byte, 1) == 1)
		return EXIT_SUCCESS;
	if (waitpid(child, &status, 0) < 0 || !WIFEXITED(status))
		return EXIT_FAILURE;
	return WEXITSTATUS(status);
}

/* Go to the background; the parent exits when the child writes to *ready. */
static int main_fork(int *ready)
{
	int pipe_fd[2];
	pid_t child;

	if (pipe2(pipe_fd, O_CLOEXEC) < 0)
		return -errno;
	child = fork();
	if (child < 0)
		return -errno;
	if (child > 0) {
		close(pipe_fd[1]);
		_exit(main_wait_ready(child, pipe_fd[0]));
	}
	close(pipe_fd[0]);
	setsid();
	*ready = pipe_fd[1];
	return 0;
}

/* Have descriptors 0 to 2 open: a socket or the arena must not become what
 * stdio, or going to the background, takes for the terminal. */
static void main_open_standard(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

static int main_check_config(const struct tmemd_options *options)
{
	struct tmemd_config config;
	char error[TMEMD_ERROR_MAX] = "";
	int r = tmemd_options_config(options, &config, error);

	if (r < 0) {
		fprintf(stderr, "tmemd: %s\n",
			*error != '\0' ? error : strerror(-r));
		return EXIT_USAGE;
	}
	tmemd_config_deinit(&config);
	puts("tmemd: the configuration is valid");
	return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	struct tmemd_options options;
	char error[TMEMD_ERROR_MAX] = "";
	int ready = -1;
	int r;

	main_open_standard();
	tmem_log_init("tmemd");
	r = tmemd_options_parse(&options, argc, argv);
	if (r != TMEMD_OPTIONS_RUN)
		return r == TMEMD_OPTIONS_DONE ? EXIT_SUCCESS : EXIT_USAGE;
	if (options.check_config)
		return main_check_config(&options);
	umask(077);
	/* A client that has gone, and an overflow file that may not grow, are
	 * errors of the call that meets them. */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	r = options.daemon ? main_fork(&ready) : 0;
	if (r == 0)
		r = tmemd_daemon_run(&options, ready, error);
	if (r < 0)
		tmem_log(LOG_ERR, "%s", *error != '\0' ? error : strerror(-r));
	/* Not worth a restart: it would go wrong again. */
	return r == 0 ? EXIT_SUCCESS : r == -EINVAL ? EXIT_USAGE : EXIT_FAILURE;
}
