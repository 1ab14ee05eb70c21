/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Processes that this one starts and that end with it, and a folder that goes
 * with it. One thread.
 */
#ifndef BENCH_NBD_CHILD_H
#define BENCH_NBD_CHILD_H

#include <stdbool.h>
#include <sys/types.h>

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

#endif
