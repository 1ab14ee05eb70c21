/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Turns of servers that are compared: each, of one or two processes, runs only
 * while it has its turn, and is stopped (SIGSTOP) otherwise, so that none works
 * at another's cost. The first process serves the second. One thread.
 */
#ifndef BENCH_TURNS_H
#define BENCH_TURNS_H

#include <stdint.h>
#include <sys/types.h>

#define BENCH_TURNS_PROCESSES 2

/** The processes of a server; 0: none. */
typedef const pid_t bench_turns_pids[BENCH_TURNS_PROCESSES];

/** Let them run, and wait until they have done what was left from the last
 * turn. */
void bench_turns_begin(bench_turns_pids pids);

/** Wait until they have nothing to do by themselves. */
void bench_turns_settle(bench_turns_pids pids);
void bench_turns_stop(bench_turns_pids pids);

/** Processor time that they have used, ns. */
uint64_t bench_turns_cpu_ns(bench_turns_pids pids);

/** Kill them, wait for their end and forget them. */
void bench_turns_end(pid_t pids[BENCH_TURNS_PROCESSES]);

#endif
