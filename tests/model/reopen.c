/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * reopen: kill a process that runs the model's workload, chaos included, at a
 * random moment; reopen its arena; check it; read every page back; go on in
 * the same arena with the next process. Some are killed while they are still
 * opening the arena.
 */
#include "model.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "arena-file.h"
#include "pages.h"

/* Kills come up to this long after the work began. */
#define LONGEST_MS 80

static const struct world_config configs[] = {
	{.budget = 8 << 20, .capacity = 48 << 20, .hash_bits = 10},
	{.budget = 32 << 20,
	 .capacity = 48 << 20,
	 .hash_bits = 64,
	 .nursery = 4 << 20,
	 .threads = 2},
	{.budget = 16 << 20,
	 .capacity = 48 << 20,
	 .hash_bits = 14,
	 .nursery = 1 << 20,
	 .threads = 1},
};

_Noreturn static void child(struct model *model, int fd, unsigned round)
{
	const struct world_config *config = &configs[round % 3];
	struct workload workload = {.config = config, .phase = round};
	struct world world;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	world_open(&world, model, fd, config);
	world_reset_settings(&world);
	workload.world = &world;
	workload_phase(&workload); /* without end */
	abort();
}

static bool has_died(pid_t pid)
{
	siginfo_t info = {0};

	return waitid(P_PID, pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
	       info.si_pid == pid;
}

static void kill_at_random(struct model *model, pid_t pid,
			   struct test_random *random)
{
	uint64_t us = test_random_below(random, LONGEST_MS * 1000);
	struct timespec wait = {.tv_nsec = (long)us * 1000};
	bool early = test_random_below(random, 5) == 0;
	int status;

	while (!early && !model->running && !has_died(pid))
		sched_yield();
	nanosleep(&wait, NULL);
	kill(pid, SIGKILL);
	if (waitpid(pid, &status, 0) != pid || !WIFSIGNALED(status) ||
	    WTERMSIG(status) != SIGKILL) {
		fprintf(stderr, "the child died of itself: status %#x\n",
			status);
		exit(1);
	}
}

static uint64_t persistent_pages(struct model *model)
{
	uint64_t count = 0;

	for (unsigned who = 0; who < model->threads; who++)
		for (int kind = 0; kind < MODEL_KINDS; kind++)
			for (unsigned o = 0; o < EXACT_OBJECTS; o++)
				for (unsigned i = 0; i < EXACT_INDEXES; i++)
					count += model_is_persistent(kind) &&
						 model->exact[who][kind][o][i]
							 .seed;
	return count;
}

static uint64_t round_trip(struct model *model, int fd, unsigned round,
			   struct test_random *random)
{
	struct world world;
	pid_t pid;

	model->running = false;
	fflush(NULL);
	pid = fork();
	if (pid < 0) {
		perror("fork");
		exit(1);
	}
	if (pid == 0)
		child(model, fd, round);
	kill_at_random(model, pid, random);
	world_open(&world, model, fd, &configs[round % 2]);
	if (!tmem_store_reopened(world.store) && model->operations)
		model_fail(model, "the arena was made anew");
	world_verify(&world, true);
	world_close(&world);
	return persistent_pages(model);
}

int main(int argc, char **argv)
{
	unsigned rounds = argc > 1	   ? strtoul(argv[1], NULL, 0)
			  : test_is_full() ? 200
					   : 25;
	uint64_t pages = 0;
	uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : test_seed();
	struct test_random random;
	struct model *model;
	int fd;

	if (!rounds || argc > 3) {
		fprintf(stderr, "usage: %s [KILLS [SEED]]\n", argv[0]);
		return 2;
	}
	printf("seed %" PRIu64 "\n", seed);
	test_random_init(&random, seed);
	test_pages_init();
	model = model_new(seed, 4);
	fd = test_arena_memfd();
	for (unsigned round = 0; round < rounds; round++)
		pages += round_trip(model, fd, round, &random);
	printf("kills %u, operations %" PRIu64
	       ", persistent pages read back identical %" PRIu64 "\n",
	       rounds, model->operations, pages);
	close(fd);
	model_free(model);
	return 0;
}
