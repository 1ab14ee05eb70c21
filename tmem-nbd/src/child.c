/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Running programs (child.h). */
#include "child.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "log.h"

extern char **environ;

static bool interrupted;

static void kept_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGHUP);
}

void nbd_child_keep_signals(void)
{
	sigset_t set;

	kept_signals(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

bool nbd_child_interrupted(void)
{
	static const struct timespec now;
	sigset_t set;

	kept_signals(&set);
	while (sigtimedwait(&set, NULL, &now) > 0)
		interrupted = true;
	return interrupted;
}

void nbd_child_forget(void)
{
	(void)nbd_child_interrupted();
	interrupted = false;
}

/** In a process group of its own, so that Ctrl-C reaches us alone. */
static int spawn(const char *const *argv, int output, bool stays, pid_t *pid)
{
	short flags = POSIX_SPAWN_SETSIGMASK |
		      (stays ? POSIX_SPAWN_SETSID : POSIX_SPAWN_SETPGROUP);
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none;
	int r;

	sigemptyset(&none);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setflags(&attr, flags);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, output, 1);
	posix_spawn_file_actions_adddup2(&actions, output, 2);
	r = posix_spawnp(pid, argv[0], &actions, &attr, (char *const *)argv,
			 environ);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attr);
	return -r;
}

/** Wait for a child that is told to end when a signal comes. */
static int wait_for(pid_t pid, int *status)
{
	sigset_t set;

	kept_signals(&set);
	sigaddset(&set, SIGCHLD);
	while (waitpid(pid, status, WNOHANG) == 0) {
		if (sigwaitinfo(&set, NULL) == SIGCHLD || interrupted)
			continue;
		interrupted = true;
		kill(pid, SIGTERM);
	}
	return interrupted ? -EINTR : 0;
}

/** The last line that it wrote is what it died of. */
static void log_failure(const char *name, int output)
{
	char text[1024], *line;
	off_t end = lseek(output, 0, SEEK_END);
	off_t start = end > (off_t)sizeof(text) - 1
			      ? end - (off_t)sizeof(text) + 1
			      : 0;
	ssize_t n = pread(output, text, sizeof(text) - 1, start);

	while (n > 0 && text[n - 1] == '\n')
		n--;
	text[n > 0 ? n : 0] = '\0';
	line = strrchr(text, '\n');
	tmem_log(LOG_ERR, "%s failed: %s", name, line ? line + 1 : text);
}

int nbd_child_run(const char *const *argv)
{
	int output = memfd_create("output", MFD_CLOEXEC), status = 0, r;
	pid_t pid;

	if (output < 0)
		return -errno;
	r = spawn(argv, output, false, &pid);
	if (!r) {
		r = wait_for(pid, &status);
		if (!r && status) {
			log_failure(argv[0], output);
			r = -EIO;
		}
	} else if (r == -ENOENT) {
		tmem_log(LOG_ERR, "there is no program %s: install it",
			 argv[0]);
	}
	close(output);
	return r;
}

pid_t nbd_child_start(const char *const *argv)
{
	int output = open("/dev/null", O_WRONLY | O_CLOEXEC), r;
	pid_t pid;

	if (output < 0)
		return -errno;
	r = spawn(argv, output, true, &pid);
	close(output);
	if (r == -ENOENT)
		tmem_log(LOG_ERR, "there is no program %s: install it",
			 argv[0]);
	return r < 0 ? r : pid;
}
