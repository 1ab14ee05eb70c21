/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Read the files whose names come on standard input, each ended by a NUL, in
 * that order, whole, and print a line for each: its XXH3-128 checksum and its
 * name. Two runs over a tree that print the same have read the same bytes.
 * With limits, the files after the one that reaches a limit are left out.
 *
 * One thread. A file that cannot be read gets the name of its error in place
 * of the checksum, which then differs from any checksum. With --summary, one
 * line "FILES BYTES SECONDS" goes to that file; with --progress, standard error
 * tells how far it has come.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#define BUFFER_BYTES (1u << 20)

static const char usage[] =
	"usage: sumfiles [--bytes N] [--seconds N] [--progress]\n"
	"                [--summary FILE] < NAMES\n";

/* How far it has come, and where to stop (0: nowhere). */
struct walk {
	uint64_t files;
	uint64_t bytes;
	double start;
	double shown;
	uint64_t most_bytes;
	uint64_t most_seconds;
	bool progress;
	const char *summary;
	XXH3_state_t *hash;
};

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* At a terminal one line that moves, elsewhere a line every few seconds. */
static void show(struct walk *walk)
{
	bool terminal = isatty(STDERR_FILENO);
	double time = now();

	if (!walk->progress || time - walk->shown < (terminal ? 0.2 : 5))
		return;
	walk->shown = time;
	fprintf(stderr, "%s    %" PRIu64 " files, %" PRIu64 " MiB%s",
		terminal ? "\r" : "", walk->files, walk->bytes >> 20,
		terminal ? "" : "\n");
}

static int read_whole(struct walk *walk, const char *name)
{
	static char buffer[BUFFER_BYTES];
	int fd = open(name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t n;

	if (fd < 0)
		return -errno;
	XXH3_128bits_reset(walk->hash);
	while ((n = read(fd, buffer, sizeof(buffer))) != 0) {
		if (n < 0) {
			n = -errno;
			break;
		}
		XXH3_128bits_update(walk->hash, buffer, (size_t)n);
		walk->bytes += (uint64_t)n;
		show(walk);
	}
	close(fd);
	return (int)n;
}

static void sum_file(struct walk *walk, const char *name)
{
	int error = read_whole(walk, name);
	XXH128_hash_t sum = XXH3_128bits_digest(walk->hash);

	walk->files++;
	if (error < 0)
		printf("%s %s\n", strerrorname_np(-error), name);
	else
		printf("%016" PRIx64 "%016" PRIx64 " %s\n", sum.high64,
		       sum.low64, name);
}

static bool at_limit(const struct walk *walk)
{
	if (walk->most_bytes != 0 && walk->bytes >= walk->most_bytes)
		return true;
	return walk->most_seconds != 0 &&
	       now() - walk->start >= (double)walk->most_seconds;
}

static int write_summary(const struct walk *walk, double seconds)
{
	FILE *file = fopen(walk->summary, "we");

	if (file == NULL) {
		perror(walk->summary);
		return EXIT_FAILURE;
	}
	fprintf(file, "%" PRIu64 " %" PRIu64 " %.3f\n", walk->files,
		walk->bytes, seconds);
	return fclose(file) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int sum_all(struct walk *walk)
{
	double seconds;
	char *name = NULL;
	size_t size = 0;

	walk->start = walk->shown = now();
	while (!at_limit(walk) && getdelim(&name, &size, '\0', stdin) > 0)
		sum_file(walk, name);
	seconds = now() - walk->start;
	free(name);
	if (walk->progress && isatty(STDERR_FILENO))
		fputs("\r\033[K", stderr);
	if (fflush(stdout) != 0 || ferror(stdin)) {
		perror("sumfiles");
		return EXIT_FAILURE;
	}
	return walk->summary != NULL ? write_summary(walk, seconds)
				     : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"bytes", required_argument, NULL, 'b'},
		{"seconds", required_argument, NULL, 's'},
		{"progress", no_argument, NULL, 'p'},
		{"summary", required_argument, NULL, 'S'},
		{NULL, 0, NULL, 0},
	};
	struct walk walk = {0};
	int c, status;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'b':
			walk.most_bytes = strtoull(optarg, NULL, 10);
			break;
		case 's':
			walk.most_seconds = strtoull(optarg, NULL, 10);
			break;
		case 'p':
			walk.progress = true;
			break;
		case 'S':
			walk.summary = optarg;
			break;
		default:
			fputs(usage, stderr);
			return EXIT_FAILURE;
		}
	}
	walk.hash = XXH3_createState();
	if (walk.hash == NULL) {
		perror("sumfiles");
		return EXIT_FAILURE;
	}
	status = sum_all(&walk);
	XXH3_freeState(walk.hash);
	return status;
}
