/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pages of the anonymous memory of a process; see pageset.h.
 *
 * A compiler in the middle of its work stands for the programs whose pages go
 * to swap: it is started on a source that includes half of the C++ library,
 * stopped when it holds enough, read through /proc/PID/mem, and killed.
 */
#include "pageset.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <tmem/types.h>
#include <unistd.h>
#include "codec.h"

#define POLL_US 2000
#define POLLS	5000

extern char **environ;

static void load_range(int mem, uint64_t from, uint64_t to,
		       struct bench_pages *pages, size_t end)
{
	uint64_t word;

	for (; from < to && pages->count < end; from += TMEM_PAGE_SIZE) {
		uint8_t *page = bench_page(pages, pages->count);

		if (pread(mem, page, TMEM_PAGE_SIZE, (off_t)from) ==
			    TMEM_PAGE_SIZE &&
		    !tmem_page_is_fill(page, &word))
			pages->object[pages->count++] = pages->objects;
	}
}

size_t bench_pages_of_process(pid_t pid, struct bench_pages *to, size_t most)
{
	char path[64], line[512], rights[5];
	unsigned long long from, end, inode;
	size_t before = to->count;
	FILE *maps;
	int mem;

	snprintf(path, sizeof(path), "/proc/%d/mem", (int)pid);
	mem = open(path, O_RDONLY | O_CLOEXEC);
	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	maps = fopen(path, "re");
	while (mem >= 0 && maps && fgets(line, sizeof(line), maps))
		if (sscanf(line, "%llx-%llx %4s %*s %*s %llu", &from, &end,
			   rights, &inode) == 4 &&
		    strcmp(rights, "rw-p") == 0 && inode == 0)
			load_range(mem, from, end, to, before + most);
	to->objects++;
	if (maps)
		fclose(maps);
	if (mem >= 0)
		close(mem);
	return to->count - before;
}

/* Resident pages of a process that are its own, 0 when it is gone. */
static size_t anonymous(pid_t pid)
{
	unsigned long resident = 0, shared = 0;
	char path[64];
	FILE *statm;

	snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
	statm = fopen(path, "re");
	if (!statm)
		return 0;
	if (fscanf(statm, "%*u %lu %lu", &resident, &shared) != 2)
		resident = shared = 0;
	fclose(statm);
	return resident - shared;
}

/* The driver (c++) starts the compiler proper: its only child. */
static pid_t child_of(pid_t pid)
{
	char path[64];
	int child = 0;
	FILE *children;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)pid,
		 (int)pid);
	children = fopen(path, "re");
	if (!children)
		return 0;
	if (fscanf(children, "%d", &child) != 1)
		child = 0;
	fclose(children);
	return child;
}

/* Wait until the compiler holds that many pages, and stop it. Returns its pid,
 * 0 when it ended before. */
static pid_t stop_compiler(pid_t driver, size_t pages)
{
	siginfo_t ended = {0};

	for (unsigned i = 0; i < POLLS; i++) {
		pid_t compiler = child_of(driver);

		if (compiler && anonymous(compiler) >= pages)
			return kill(compiler, SIGSTOP) ? 0 : compiler;
		if (waitid(P_PID, (id_t)driver, &ended,
			   WEXITED | WNOHANG | WNOWAIT) ||
		    ended.si_pid)
			return 0;
		usleep(POLL_US);
	}
	if (child_of(driver))
		kill(child_of(driver), SIGKILL);
	return 0;
}

static pid_t start_compiler(void)
{
	static const char source[] = "#include <bits/stdc++.h>\n"
				     "std::regex expression(\"(a|b)*c\");\n"
				     "std::wregex wide(L\"(a|b)*c\");\n";
	char *const argv[] = {"c++", "-x", "c++",	"-O2", "-g",
			      "-S",  "-o", "/dev/null", "-",   NULL};
	posix_spawn_file_actions_t actions;
	int source_pipe[2];
	pid_t pid;
	int r;

	if (pipe2(source_pipe, O_CLOEXEC))
		return 0;
	/* A pipe holds more than the source. */
	if (write(source_pipe[1], source, sizeof(source) - 1) < 0)
		return 0;
	close(source_pipe[1]);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, source_pipe[0], 0);
	posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
	r = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	close(source_pipe[0]);
	return r ? 0 : pid;
}

size_t bench_pages_of_compiler(struct bench_pages *to, size_t most)
{
	pid_t driver = start_compiler(), compiler;
	size_t loaded = 0;

	if (!driver)
		return 0;
	/* Some pages are fill; more than these it holds at its end. */
	compiler = stop_compiler(driver, most + most / 4);
	if (compiler) {
		loaded = bench_pages_of_process(compiler, to, most);
		kill(compiler, SIGKILL);
	} else {
		kill(driver, SIGKILL);
	}
	waitpid(driver, NULL, 0);
	return loaded;
}
