/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Servers to compare; see server.h. */
#include "server.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libnbd.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <unistd.h>
#include "../clock.h"
#include "child.h"

#define START_NS (20 * 1000000000ull) /* the longest that a start takes */
#define POLL_US	 10000

/* A server is idle that works less than so much in so long; one that goes on
 * working by itself is waited for no longer than REST_MOST_NS. */
#define REST_US	     100000
#define REST_WORK_NS 3000000
#define REST_MOST_NS (15 * 1000000000ull)

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

/* This program is bench/nbd/nbd there. */
void bench_build_path(const char *below, char *to, size_t room)
{
	char self[512];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	bench_must(n < 0, "reading /proc/self/exe");
	self[n] = '\0';
	for (int up = 0; up < 3; up++) {
		char *slash = strrchr(self, '/');

		bench_must(!slash, "finding the build's folder");
		*slash = '\0';
	}
	snprintf(to, room, "%s/%s", self, below);
}

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
	size_t at = 0, i;

	for (i = 0; i < ARGUMENTS && recipe[i]; i++) {
		command->argv[i] = command->text + at;
		expand(recipe[i], words, command->text + at,
		       sizeof(command->text) - at);
		at += strlen(command->text + at) + 1;
		bench_must(at >= sizeof(command->text), "a long command");
	}
	command->argv[i] = NULL;
}

void bench_server_command(struct bench_command *command,
			  enum bench_server_kind kind,
			  const struct bench_server_config *config,
			  const char *socket)
{
	make_command(command, recipes[kind].command,
		     &(struct words){config, socket, -1});
}

static bool socket_answers(const char *path)
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

static void await(bool (*answers)(const char *), const char *where, pid_t pid,
		  const char *name)
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

static pid_t start(char *const argv[])
{
	pid_t pid = bench_child_start(argv, -1, -1, SIGKILL);

	bench_child_kill_later(pid);
	return pid;
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
		server->pid[0] = start(command.argv);
		expand("@control", &words, control, sizeof(control));
		await(socket_answers, control, server->pid[0], "tmemd");
	}
	make_command(&command, recipe->command, &words);
	server->pid[1] = start(command.argv);
	if (server->file >= 0)
		bench_must(fcntl(server->file, F_SETFD, FD_CLOEXEC), "fcntl");
	await(nbd_answers, server->uri, server->pid[1], server->name);
	bench_server_stop(server);
}

void bench_server_end(struct bench_server *server)
{
	char overflow[sizeof(server->socket) + 16];

	for (int i = 0; i < BENCH_SERVER_PROCESSES; i++)
		if (server->pid[i]) {
			kill(server->pid[i], SIGKILL);
			bench_child_wait(server->pid[i]);
			server->pid[i] = 0;
		}
	overflow_path(server->socket, overflow, sizeof(overflow));
	unlink(overflow);
	unlink(server->socket);
	if (server->file >= 0)
		close(server->file);
}

/* Turns -------------------------------------------------------------------- */

static void send_all(const struct bench_server *server, int signal)
{
	for (int i = 0; i < BENCH_SERVER_PROCESSES; i++)
		if (server->pid[i])
			bench_must(kill(server->pid[i], signal),
				   "a signal to a server");
}

void bench_server_stop(const struct bench_server *server)
{
	send_all(server, SIGSTOP);
}

void bench_server_turn(const struct bench_server *server)
{
	uint64_t end = bench_now() + REST_MOST_NS, worked;

	send_all(server, SIGCONT);
	do {
		worked = bench_server_cpu_ns(server);
		usleep(REST_US);
		worked = bench_server_cpu_ns(server) - worked;
	} while (worked > REST_WORK_NS && bench_now() < end);
}

uint64_t bench_server_cpu_ns(const struct bench_server *server)
{
	uint64_t sum = 0;

	for (int i = 0; i < BENCH_SERVER_PROCESSES; i++) {
		clockid_t clock;

		if (!server->pid[i])
			continue;
		bench_must(clock_getcpuclockid(server->pid[i], &clock),
			   "the processor clock of a server");
		sum += bench_clock(clock);
	}
	return sum;
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

	for (int i = 0; i < BENCH_SERVER_PROCESSES; i++)
		if (server->pid[i])
			sum += bench_process_memory(server->pid[i]);
	overflow_path(server->socket, overflow, sizeof(overflow));
	if (stat(overflow, &st) == 0)
		sum += (uint64_t)st.st_blocks * 512;
	return sum;
}
