/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Clients; see client.h. */
#include "client.h"

#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tmem/types.h>
#include <unistd.h>
#include "../child.h"
#include "../clock.h"

/* Requests a second of a server of which nothing is known. */
#define IOPS_UNKNOWN 10000

/* Pages from one request of qemu-img to its next: a prime, so that all pages
 * get their turn, far from the one before. */
#define STEP_PAGES 4099ul

void bench_client_own(const struct bench_server *server,
		      const struct bench_load *load, struct bench_pages *set,
		      struct bench_loaded *loaded)
{
	bench_load_run(server, load, set, loaded);
}

/* Run a client to its end. Returns all that it printed, allocated. */
static char *output_of(char *const argv[])
{
	FILE *output = tmpfile();
	char *text = NULL;
	size_t room = 0;
	pid_t pid;

	bench_must(!output, "tmpfile");
	pid = bench_child_start(argv, -1, fileno(output), SIGKILL);
	if (bench_child_wait(pid) != 0) {
		fprintf(stderr, "%s: %s failed\n",
			program_invocation_short_name, argv[0]);
		exit(1);
	}
	rewind(output);
	bench_must(getdelim(&text, &room, '\0', output) < 0,
		   "reading what a client printed");
	fclose(output);
	return text;
}

static void add_fio_results(const char *text, struct bench_loaded *loaded)
{
	static const char *const directions[] = {"read", "write"};
	const char *start = strchr(text, '{'); /* after other messages */
	json_t *result = json_loads(start ? start : text, 0, NULL), *job;

	job = json_array_get(json_object_get(result, "jobs"), 0);
	bench_must(!job, "understanding fio");
	for (int i = 0; i < 2; i++) {
		json_t *half = json_object_get(job, directions[i]);

		loaded->iops +=
			json_number_value(json_object_get(half, "iops"));
		loaded->requests += (uint64_t)json_integer_value(
			json_object_get(half, "total_ios"));
	}
	json_decref(result);
}

void bench_client_fio(const struct bench_server *server,
		      const struct bench_load *load, struct bench_pages *set,
		      struct bench_loaded *loaded)
{
	char uri[sizeof(server->uri) + 8], depth[32], jobs[32], runtime[32],
		reads[32], *text;
	char *argv[] = {"fio",
			"--name=load",
			"--ioengine=nbd",
			"--rw=randrw",
			"--bs=4k",
			"--thread",
			"--group_reporting",
			"--time_based",
			"--refill_buffers",
			"--buffer_compress_percentage=50",
			"--norandommap",
			"--randrepeat=0",
			"--output-format=json",
			uri,
			depth,
			jobs,
			runtime,
			reads,
			NULL};

	snprintf(uri, sizeof(uri), "--uri=%s", server->uri);
	snprintf(depth, sizeof(depth), "--iodepth=%u", load->depth);
	snprintf(jobs, sizeof(jobs), "--numjobs=%u", load->jobs);
	snprintf(runtime, sizeof(runtime), "--runtime=%.0fms",
		 load->seconds * 1e3);
	snprintf(reads, sizeof(reads), "--rwmixread=%u", load->read_percent);
	text = output_of(argv);
	*loaded = (struct bench_loaded){0};
	add_fio_results(text, loaded);
	free(text);
}

void bench_client_qemu_img(const struct bench_server *server,
			   const struct bench_load *load,
			   struct bench_pages *set, struct bench_loaded *loaded)
{
	double iops = loaded->iops > 0 ? loaded->iops : IOPS_UNKNOWN;
	double seconds = 0;
	uint64_t requests = (uint64_t)(iops * load->seconds) + 1;
	char count[32], depth[32], step[32], *text, *line;
	char *argv[] = {"qemu-img", "bench", (char *)server->uri,
			"-f",	    "raw",   "-t",
			"none",	    "-s",    "4096",
			"-S",	    step,    "-c",
			count,	    "-d",    depth,
			NULL,	    NULL,    NULL};

	snprintf(count, sizeof(count), "%llu", (unsigned long long)requests);
	snprintf(depth, sizeof(depth), "%u", load->depth);
	snprintf(step, sizeof(step), "%lu", STEP_PAGES * TMEM_PAGE_SIZE);
	if (!load->read_percent) {
		argv[15] = "-w";
		argv[16] = "--pattern=90";
	}
	text = output_of(argv);
	line = strstr(text, "Run completed in");
	bench_must(!line || sscanf(line, "Run completed in %lf", &seconds) != 1,
		   "understanding qemu-img");
	free(text);
	*loaded = (struct bench_loaded){
		.requests = requests,
		.iops = (double)requests / seconds,
	};
}
