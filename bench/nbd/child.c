/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Processes and a folder that end with this one; see child.h. */
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../clock.h"

#define EXIT_NO_PROGRAM 127
#define FILES_OPEN	16
#define CHILDREN_MOST	256

static int keeper_fd;

pid_t bench_child_start(char *const argv[], int in_fd, int out_fd, int signal)
{
	pid_t parent = getpid(), pid;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	bench_must(null < 0, "opening /dev/null");
	fflush(NULL);
	pid = fork();
	bench_must(pid < 0, "fork");
	if (pid == 0) {
		if (prctl(PR_SET_PDEATHSIG, signal) || getppid() != parent ||
		    dup2(in_fd < 0 ? null : in_fd, STDIN_FILENO) < 0 ||
		    dup2(out_fd < 0 ? null : out_fd, STDOUT_FILENO) < 0)
			_exit(1);
		execvp(argv[0], argv);
		fprintf(stderr, "%s: cannot run %s: %s\n",
			program_invocation_short_name, argv[0],
			strerror(errno));
		_exit(EXIT_NO_PROGRAM);
	}
	close(null);
	return pid;
}

int bench_child_wait(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		bench_must(errno != EINTR, "waitpid");
	if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_NO_PROGRAM)
		exit(1);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

bool bench_child_ended(pid_t pid)
{
	siginfo_t ended = {0};

	return waitid(P_PID, (id_t)pid, &ended, WEXITED | WNOHANG | WNOWAIT) ||
	       ended.si_pid;
}

static int remove_one(const char *path, const struct stat *st, int type,
		      struct FTW *where)
{
	return remove(path);
}

/* Until the other end of the pipe is closed, be it by its owner's death. */
static void keep(const char *folder, int fd)
{
	int fds[CHILDREN_MOST], count = 0;
	pid_t pid;
	ssize_t n;

	setsid(); /* signals of a terminal are not for this one */
	while ((n = read(fd, &pid, sizeof(pid))) != 0)
		if (n == sizeof(pid) && count < CHILDREN_MOST)
			fds[count++] = pidfd_open(pid, 0);
	while (count--)
		pidfd_send_signal(fds[count], SIGKILL, NULL, 0);
	nftw(folder, remove_one, FILES_OPEN, FTW_DEPTH | FTW_PHYS);
	_exit(0);
}

const char *bench_child_folder(void)
{
	static char folder[] = "/tmp/bench-nbd-XXXXXX";
	int ends[2];
	pid_t pid;

	bench_must(!mkdtemp(folder), "making a folder in /tmp");
	bench_must(pipe2(ends, O_CLOEXEC), "pipe2");
	fflush(NULL);
	pid = fork();
	bench_must(pid < 0, "fork");
	if (pid == 0) {
		close(ends[1]);
		keep(folder, ends[0]);
	}
	close(ends[0]);
	keeper_fd = ends[1]; /* open until the end */
	return folder;
}

void bench_child_kill_later(pid_t pid)
{
	bench_must(write(keeper_fd, &pid, sizeof(pid)) != sizeof(pid),
		   "telling who cleans up");
}
