/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Turns of servers; see turns.h. */
#include "turns.h"

#include <signal.h>
#include <unistd.h>
#include "child.h"
#include "clock.h"

/* A server is idle that works less than so much in so long; one that goes on
 * working by itself is waited for no longer than REST_MOST_NS. */
#define REST_US	     100000
#define REST_WORK_NS 3000000
#define REST_MOST_NS (15 * 1000000000ull)

void bench_turns_begin(bench_turns_pids pids)
{
	for (int i = 0; i < BENCH_TURNS_PROCESSES; i++)
		if (pids[i])
			bench_must(kill(pids[i], SIGCONT), "waking a server");
	bench_turns_settle(pids);
}

void bench_turns_settle(bench_turns_pids pids)
{
	uint64_t end = bench_now() + REST_MOST_NS, worked;

	do {
		worked = bench_turns_cpu_ns(pids);
		usleep(REST_US);
		worked = bench_turns_cpu_ns(pids) - worked;
	} while (worked > REST_WORK_NS && bench_now() < end);
}

/* Who is served first: nobody shall wait for one that is stopped. */
void bench_turns_stop(bench_turns_pids pids)
{
	for (int i = BENCH_TURNS_PROCESSES; i--;)
		if (pids[i])
			bench_must(kill(pids[i], SIGSTOP), "stopping a server");
}

uint64_t bench_turns_cpu_ns(bench_turns_pids pids)
{
	uint64_t sum = 0;

	for (int i = 0; i < BENCH_TURNS_PROCESSES; i++) {
		clockid_t clock;

		if (!pids[i])
			continue;
		bench_must(clock_getcpuclockid(pids[i], &clock),
			   "the processor clock of a server");
		sum += bench_clock(clock);
	}
	return sum;
}

void bench_turns_end(pid_t pids[BENCH_TURNS_PROCESSES])
{
	for (int i = BENCH_TURNS_PROCESSES; i--;)
		if (pids[i]) {
			kill(pids[i], SIGKILL);
			bench_child_wait(pids[i]);
			pids[i] = 0;
		}
}
