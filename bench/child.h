/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Processes that this one starts and that end with it, and a folder that goes
 * with it. One thread.
 */
#ifndef BENCH_CHILD_H
#define BENCH_CHILD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define BENCH_COMMAND_WORDS 24

/** A command line, its last word NULL; zeros are an empty one. */
struct bench_command {
	char *argv[BENCH_COMMAND_WORDS];
	char text[1024];
	size_t count, used;
};

/** Add a word. Exits where there is no room. It must not be copied then. */
void bench_command_add(struct bench_command *command, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/** A path in the build's folder. */
void bench_build_path(const char *below, char *to, size_t room);

/** Start a program. It gets a signal when this process ends in whatever way;
 * its standard input is in_fd, its output out_fd (or /dev/null: -1). Exits
 * where there is no such program. */
pid_t bench_child_start(char *const argv[], int in_fd, int out_fd, int signal);

/** What a script exits with where this host cannot do what it is for. */
#define BENCH_EXIT_LEFT_OUT 77

/** Wait for its end. Returns its exit status, -1 where a signal ended it. */
int bench_child_wait(pid_t pid);

/** Whether it has ended, without waiting. */
bool bench_child_ended(pid_t pid);

/** A new folder, and a process that removes it with its files when this one has
 * ended. To be called before there is much memory, since it forks. */
const char *bench_child_folder(void);

/** Have that process kill a child then: for programs that ask for another
 * signal themselves, and may be stopped and not see it. */
void bench_child_kill_later(pid_t pid);

/** Start a program that goes on until then. */
pid_t bench_child_serve(char *const argv[]);

/** Wait until the child answers at a path. Exits where it ends before. */
void bench_child_await(pid_t pid, const char *name,
		       bool (*answers)(const char *), const char *where);

/** Whether somebody accepts connections on a unix socket. */
bool bench_socket_answers(const char *path);

#endif
