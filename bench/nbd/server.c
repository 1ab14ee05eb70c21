/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Servers to compare; see server.h. */
#include "server.h"

#include <dirent.h>
#include <fcntl.h>
#include <libnbd.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>
#include "../child.h"
#include "../clock.h"

#define FILES_MOST 16 /* in memory, of one process */
#define ARGUMENTS  16

/* Words that begin with @ stand for what differs from run to run. */
static const struct recipe {
	const char *name;
	const char *before[ARGUMENTS]; /* another process that it needs */
	const char *command[ARGUMENTS];
} recipes[BENCH_SERVERS] = {
	[BENCH_TMEM] = {"tmem",
			{NULL},
			{"@tmem-nbd/tmem-nbd", "-f", "-e", "-s", "@size", "-u",
			 "@socket"}},
	[BENCH_TMEM_TIGHT] = {"tmem-tight",
			      {NULL},
			      {"@tmem-nbd/tmem-nbd", "-f", "-e", "-s", "@size",
			       "-u", "@socket", "-b", "@budget", "-o",
			       "@overflow"}},
	[BENCH_TMEM_HOSTED] = {"tmem-hosted",
			       {"@tmemd/tmemd", "--config", "/dev/null",
				"--socket", "@control"},
			       {"@tmem-nbd/tmem-nbd", "-f", "--tmemd",
				"@control", "-s", "@size", "-u", "@socket"}},
	[BENCH_NBDKIT] = {"nbdkit",
			  {NULL},
			  {"nbdkit", "-f", "-U", "@socket", "memory", "@size"}},
	[BENCH_NBDKIT_MALLOC] = {"nbdkit-malloc",
				 {NULL},
				 {"nbdkit", "-f", "-U", "@socket", "memory",
				  "@size", "allocator=malloc"}},
	[BENCH_NBDKIT_ZSTD] = {"nbdkit-zstd",
			       {NULL},
			       {"nbdkit", "-f", "-U", "@socket", "memory",
				"@size", "allocator=zstd"}},
	[BENCH_QEMU] = {"qemu-nbd",
			{NULL},
			{"qemu-nbd", "-t", "-e", "16", "-f", "raw",
			 "--cache=none", "--aio=io_uring", "-k", "@socket",
			 "@file"}},
	[BENCH_ZRAM] = {"zram", {NULL}, {NULL}},
};

const char *bench_server_name(enum bench_server_kind kind)
{
	return recipes[kind].name;
}

/* Starting ----------------------------------------------------------------- */

static void overflow_path(const char *socket, char *to, size_t room)
{
	snprintf(to, room, "%s.overflow", socket);
}

struct words {
	const struct bench_server_config *config;
	const char *socket;
	int file;
};

static void expand(const char *word, const struct words *words, char *to,
		   size_t room)
{
	if (word[0] != '@')
		snprintf(to, room, "%s", word);
	else if (strcmp(word, "@size") == 0)
		snprintf(to, room, "%llu",
			 (unsigned long long)words->config->size);
	else if (strcmp(word, "@budget") == 0)
		snprintf(to, room, "%llu",
			 (unsigned long long)words->config->budget);
	else if (strcmp(word, "@socket") == 0)
		snprintf(to, room, "%s", words->socket);
	else if (strcmp(word, "@control") == 0)
		snprintf(to, room, "%s.tmemd", words->socket);
	else if (strcmp(word, "@overflow") == 0)
		overflow_path(words->socket, to, room);
	else if (strcmp(word, "@file") == 0)
		snprintf(to, room, "/proc/self/fd/%d", words->file);
	else
		bench_build_path(word + 1, to, room);
}

static void make_command(struct bench_command *command,
			 const char *const *recipe, const struct words *words)
{
	*command = (struct bench_command){0};
	for (size_t i = 0; i < ARGUMENTS && recipe[i]; i++) {
		char word[512];

		expand(recipe[i], words, word, sizeof(word));
		bench_command_add(command, "%s", word);
	}
}

void bench_server_command(struct bench_command *command,
			  enum bench_server_kind kind,
			  const struct bench_server_config *config,
			  const char *socket)
{
	make_command(command, recipes[kind].command,
		     &(struct words){config, socket, -1});
}

/* By the protocol: some servers abort when a client just goes away. */
static bool nbd_answers(const char *uri)
{
	struct nbd_handle *nbd = nbd_create();
	bool answers;

	bench_must(!nbd, "nbd_create");
	answers = nbd_connect_uri(nbd, uri) == 0;
	if (answers)
		nbd_shutdown(nbd, 0);
	nbd_close(nbd);
	return answers;
}

void bench_server_start(struct bench_server *server,
			enum bench_server_kind kind,
			const struct bench_server_config *config)
{
	const struct recipe *recipe = &recipes[kind];
	struct bench_command command;
	struct words words = {config, server->socket, -1};

	*server = (struct bench_server){
		.name = recipe->name,
		.size = config->size,
		.file = -1,
		.device = -1,
	};
	if (kind == BENCH_ZRAM) {
		server->device = config->device;
		return;
	}
	snprintf(server->socket, sizeof(server->socket), "%s/%s",
		 config->folder, recipe->name);
	snprintf(server->uri, sizeof(server->uri), "nbd+unix:///?socket=%s",
		 server->socket);
	if (kind == BENCH_QEMU) {
		/* Open also after exec, for it alone. */
		server->file = memfd_create("device", 0);
		bench_must(server->file < 0 ||
				   ftruncate(server->file, (off_t)config->size),
			   "making a file in memory");
		words.file = server->file;
	}
	if (recipe->before[0]) {
		char control[128];

		make_command(&command, recipe->before, &words);
		server->pid[0] = bench_child_serve(command.argv);
		expand("@control", &words, control, sizeof(control));
		bench_child_await(server->pid[0], "tmemd", bench_socket_answers,
				  control);
	}
	make_command(&command, recipe->command, &words);
	server->pid[1] = bench_child_serve(command.argv);
	if (server->file >= 0)
		bench_must(fcntl(server->file, F_SETFD, FD_CLOEXEC), "fcntl");
	bench_child_await(server->pid[1], server->name, nbd_answers,
			  server->uri);
	bench_server_stop(server);
}

void bench_server_end(struct bench_server *server)
{
	char overflow[sizeof(server->socket) + 16];

	bench_turns_end(server->pid);
	overflow_path(server->socket, overflow, sizeof(overflow));
	unlink(overflow);
	unlink(server->socket);
	if (server->file >= 0)
		close(server->file);
}

void bench_server_stop(const struct bench_server *server)
{
	bench_turns_stop(server->pid);
}

void bench_server_turn(const struct bench_server *server)
{
	bench_turns_begin(server->pid);
}

uint64_t bench_server_cpu_ns(const struct bench_server *server)
{
	return bench_turns_cpu_ns(server->pid);
}

/* Memory ------------------------------------------------------------------- */

/* What it has resident but for files in memory. */
static uint64_t resident(pid_t pid)
{
	unsigned long long kib, sum = 0;
	char path[64], line[256];
	FILE *status;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	status = fopen(path, "re");
	if (!status)
		return 0;
	while (fgets(line, sizeof(line), status))
		if (sscanf(line, "RssAnon: %llu", &kib) == 1 ||
		    sscanf(line, "RssFile: %llu", &kib) == 1)
			sum += kib;
	fclose(status);
	return sum << 10;
}

/* Blocks of a file in memory that is not among those seen before. */
static uint64_t file_bytes(const char *path, ino_t *seen, size_t *count)
{
	struct statfs fs;
	struct stat st;

	if (stat(path, &st) || !S_ISREG(st.st_mode) || statfs(path, &fs) ||
	    fs.f_type != TMPFS_MAGIC)
		return 0;
	for (size_t i = 0; i < *count; i++)
		if (seen[i] == st.st_ino)
			return 0;
	bench_must(*count == FILES_MOST, "a server of few files");
	seen[(*count)++] = st.st_ino;
	return (uint64_t)st.st_blocks * 512;
}

uint64_t bench_process_memory(pid_t pid)
{
	ino_t seen[FILES_MOST];
	uint64_t sum = resident(pid);
	size_t count = 0;
	struct dirent *entry;
	char path[64];
	DIR *fds;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	fds = opendir(path);
	while (fds && (entry = readdir(fds))) {
		char file[sizeof(path) + sizeof(entry->d_name)];

		snprintf(file, sizeof(file), "%s/%s", path, entry->d_name);
		sum += file_bytes(file, seen, &count);
	}
	if (fds)
		closedir(fds);
	return sum;
}

uint64_t bench_server_memory(const struct bench_server *server)
{
	char overflow[sizeof(server->socket) + 16];
	uint64_t sum = 0;
	struct stat st;

	for (int i = 0; i < BENCH_TURNS_PROCESSES; i++)
		if (server->pid[i])
			sum += bench_process_memory(server->pid[i]);
	overflow_path(server->socket, overflow, sizeof(overflow));
	if (stat(overflow, &st) == 0)
		sum += (uint64_t)st.st_blocks * 512;
	return sum;
}
