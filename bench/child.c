/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Processes and a folder that end with this one; see child.h. */
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include "clock.h"

#define EXIT_NO_PROGRAM 127
#define FILES_OPEN	16
#define CHILDREN_MOST	256
#define START_NS	(20 * 1000000000ull) /* the longest that a start takes */
#define POLL_US		10000

static int keeper_fd;

void bench_command_add(struct bench_command *command, const char *format, ...)
{
	size_t room = sizeof(command->text) - command->used;
	char *word = command->text + command->used;
	va_list arguments;
	int n;

	va_start(arguments, format);
	n = vsnprintf(word, room, format, arguments);
	va_end(arguments);
	bench_must(n < 0 || (size_t)n >= room ||
			   command->count + 1 >= BENCH_COMMAND_WORDS,
		   "a long command");
	command->used += (size_t)n + 1;
	command->argv[command->count++] = word;
}

void bench_build_path(const char *below, char *to, size_t room)
{
	char self[512];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	bench_must(n < 0, "reading /proc/self/exe");
	self[n] = '\0';
	/* This program is two folders down. */
	for (int up = 0; up < 3; up++) {
		char *slash = strrchr(self, '/');

		bench_must(!slash, "finding the build's folder");
		*slash = '\0';
	}
	snprintf(to, room, "%s/%s", self, below);
}

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
	static char folder[64];
	int ends[2];
	pid_t pid;

	snprintf(folder, sizeof(folder), "/tmp/bench-%s-XXXXXX",
		 program_invocation_short_name);
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

pid_t bench_child_serve(char *const argv[])
{
	pid_t pid = bench_child_start(argv, -1, -1, SIGKILL);

	bench_child_kill_later(pid);
	return pid;
}

void bench_child_await(pid_t pid, const char *name,
		       bool (*answers)(const char *), const char *where)
{
	uint64_t end = bench_now() + START_NS;

	while (!answers(where)) {
		if (bench_child_ended(pid) || bench_now() > end) {
			fprintf(stderr, "%s: %s does not serve %s\n",
				program_invocation_short_name, name, where);
			exit(1);
		}
		usleep(POLL_US);
	}
}

bool bench_socket_answers(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool answers;

	bench_must(fd < 0, "socket");
	strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
	answers = connect(fd, (const struct sockaddr *)&address,
			  sizeof(address)) == 0;
	close(fd);
	return answers;
}
