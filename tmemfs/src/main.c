/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tmemfs SOURCE MOUNTPOINT: the program around one mount. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fs.h"
#include "log.h"

/*
 * Go on in a child, and end the parent when the child says that the mount is
 * there, or has ended without. Returns, in the child, the descriptor to say so
 * on, or -errno.
 */
static int go_to_background(void)
{
	int ends[2], status;
	char byte;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC))
		return -errno;
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0) {
		close(ends[0]);
		setsid();
		return ends[1];
	}
	close(ends[1]);
	if (read(ends[0], &byte, 1) == 1)
		_exit(EXIT_SUCCESS);
	_exit(waitpid(pid, &status, 0) == pid && WIFEXITED(status)
		      ? WEXITSTATUS(status)
		      : EXIT_FAILURE);
}

static void log_fuse(enum fuse_log_level level, const char *format,
		     va_list args)
{
	char line[512];

	vsnprintf(line, sizeof(line), format, args);
	line[strcspn(line, "\n")] = '\0';
	if (*line)
		tmem_log((int)level, "%s", line);
}

/* The mount answers: let go of the caller, and of its terminal. */
static void be_daemon(void *arg)
{
	const int *ready = arg;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	tmem_log_to_syslog();
	fuse_set_log_func(log_fuse);
	for (int fd = 0; null >= 0 && fd <= 2; fd++)
		dup2(null, fd);
	if (null > 2)
		close(null);
	if (write(*ready, "", 1) != 1)
		tmem_log(LOG_WARNING, "whoever mounted has gone away");
	close(*ready);
}

static int mount_and_serve(struct fs_options *opt, struct fuse_args *args)
{
	int ready = -1, rc;
	struct fs fs;

	if (opt->debug)
		tmem_log_set_level(LOG_DEBUG);
	if (!opt->foreground) {
		ready = go_to_background();
		if (ready < 0) {
			tmem_log(LOG_ERR, "cannot go to the background: %s",
				 strerror(-ready));
			fs_options_deinit(opt);
			return ready;
		}
	}
	rc = fs_start(&fs, opt, args);
	if (rc)
		return rc;
	/* Not to keep the directory it was started in. */
	if (ready >= 0 && chdir("/"))
		tmem_log(LOG_WARNING, "cannot change to /: %s",
			 strerror(errno));
	rc = fs_run(&fs, ready < 0 ? NULL : be_daemon, &ready);
	fs_stop(&fs);
	return rc;
}

int main(int argc, char **argv)
{
	struct fuse_args args = FUSE_ARGS_INIT(argc, argv);
	struct fs_options opt;
	int rc;

	tmem_log_init("tmemfs");
	rc = fs_options_parse(&opt, &args);
	if (rc == 0 && opt.help) {
		fs_options_help(argv[0]);
		fs_options_deinit(&opt);
	} else if (rc == 0 && opt.version) {
		printf("tmemfs %s\n", TMEM_VERSION);
		fs_options_deinit(&opt);
	} else if (rc == 0) {
		rc = mount_and_serve(&opt, &args);
	}
	fuse_opt_free_args(&args);
	return rc ? EXIT_FAILURE : EXIT_SUCCESS;
}
