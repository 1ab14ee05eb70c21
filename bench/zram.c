/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * zram devices; see zram.h.
 *
 * A child makes the devices, tells their numbers, and waits until its parent
 * closes a socket, be it by dying: then it removes them. It is forked before
 * there are pages, and does not share them.
 */
#include "zram.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "clock.h"
#include "report.h"

#define CONTROL	   "/sys/class/zram-control/"
#define BUSY_TRIES 500
#define BUSY_US	   10000

const char *const bench_zram_algorithms[BENCH_ZRAMS] = {"lzo-rle", "lz4"};

struct bench_zrams {
	int number[BENCH_ZRAMS]; /* of each device, -1: there is none */
	int fd[BENCH_ZRAMS];
	int keeper_fd;
	pid_t keeper;
};

static int write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), r = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		r = -errno;
	close(fd);
	return r;
}

static int set_attribute(int number, const char *name, const char *value)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/block/zram%d/%s", number, name);
	return write_text(path, value);
}

static void remove_device(int number)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", number);
	/* The parent's descriptor of it may close after its socket. */
	for (unsigned i = 0; i < BUSY_TRIES; i++) {
		set_attribute(number, "reset", "1");
		if (write_text(CONTROL "hot_remove", text) != -EBUSY)
			return;
		usleep(BUSY_US);
	}
	fprintf(stderr, "%s: /dev/zram%d stays busy and is left behind\n",
		program_invocation_short_name, number);
}

/* Returns the number of a new device, or -1. */
static int add_device(const char *algorithm, uint64_t bytes)
{
	char text[32] = "";
	int fd = open(CONTROL "hot_add", O_RDONLY | O_CLOEXEC), number;
	ssize_t n;

	if (fd < 0)
		return -1;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return -1;
	number = atoi(text);
	snprintf(text, sizeof(text), "%llu", (unsigned long long)bytes);
	if (set_attribute(number, "comp_algorithm", algorithm) ||
	    set_attribute(number, "disksize", text)) {
		remove_device(number);
		return -1;
	}
	return number;
}

static void keep(int fd, uint64_t bytes)
{
	int number[BENCH_ZRAMS];
	char end;

	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	for (int i = 0; i < BENCH_ZRAMS; i++)
		number[i] = add_device(bench_zram_algorithms[i], bytes);
	if (write(fd, number, sizeof(number)) == sizeof(number))
		while (read(fd, &end, 1) < 0 && errno == EINTR)
			;
	for (int i = 0; i < BENCH_ZRAMS; i++)
		if (number[i] >= 0)
			remove_device(number[i]);
	_exit(0);
}

struct bench_zrams *bench_zrams_new(uint64_t bytes)
{
	struct bench_zrams *zrams;
	int pair[2];

	if (access(CONTROL "hot_add", R_OK)) {
		printf("zram is left out: %shot_add: %s\n", CONTROL,
		       strerror(errno));
		return NULL;
	}
	zrams = malloc(sizeof(*zrams));
	bench_must(!zrams, "malloc");
	bench_must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair),
		   "socketpair");
	fflush(stdout);
	zrams->keeper = fork();
	bench_must(zrams->keeper < 0, "fork");
	if (zrams->keeper == 0) {
		close(pair[0]);
		keep(pair[1], bytes);
	}
	close(pair[1]);
	zrams->keeper_fd = pair[0];
	bench_must(read(pair[0], zrams->number, sizeof(zrams->number)) !=
			   sizeof(zrams->number),
		   "making zram devices");
	for (int i = 0; i < BENCH_ZRAMS; i++)
		zrams->fd[i] = -1;
	return zrams;
}

int bench_zrams_open(struct bench_zrams *zrams, int which)
{
	char path[32];

	if (!zrams || zrams->number[which] < 0)
		return -1;
	snprintf(path, sizeof(path), "/dev/zram%d", zrams->number[which]);
	if (zrams->fd[which] < 0)
		zrams->fd[which] = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	return zrams->fd[which];
}

void bench_zrams_note(const struct bench_zrams *zrams, int which,
		      json_t *report)
{
	const char *algorithm = bench_zram_algorithms[which];
	unsigned long long compressed, used;
	char path[64];
	FILE *stat;

	snprintf(path, sizeof(path), "/sys/block/zram%d/mm_stat",
		 zrams->number[which]);
	stat = fopen(path, "re");
	if (stat && fscanf(stat, "%*u %llu %llu", &compressed, &used) == 2) {
		bench_set(report, (double)compressed, "zram/%s/compressed",
			  algorithm);
		bench_set(report, (double)used, "zram/%s/used", algorithm);
		printf("zram, %s: %.1f MiB compressed, %.1f used: %.3f\n",
		       algorithm, (double)compressed / 1048576,
		       (double)used / 1048576,
		       (double)used / (double)compressed);
	}
	if (stat)
		fclose(stat);
}

void bench_zrams_free(struct bench_zrams *zrams)
{
	if (!zrams)
		return;
	for (int i = 0; i < BENCH_ZRAMS; i++)
		if (zrams->fd[i] >= 0)
			close(zrams->fd[i]);
	close(zrams->keeper_fd);
	waitpid(zrams->keeper, NULL, 0);
	free(zrams);
}
