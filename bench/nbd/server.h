/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Servers of a device in memory: tmem-nbd and its peers. Each runs only while
 * it has its turn, and is stopped (SIGSTOP) otherwise, so that none works at
 * another's cost. They end with this process, however it ends. One thread.
 */
#ifndef BENCH_NBD_SERVER_H
#define BENCH_NBD_SERVER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "../child.h"
#include "../turns.h"

enum bench_server_kind {
	BENCH_TMEM,	   /**< tmem-nbd with a store of its own */
	BENCH_TMEM_TIGHT,  /**< the same, with a budget and overflow */
	BENCH_TMEM_HOSTED, /**< tmem-nbd at a tmemd */
	BENCH_NBDKIT,	   /**< nbdkit memory */
	BENCH_NBDKIT_MALLOC,
	BENCH_NBDKIT_ZSTD,
	BENCH_QEMU, /**< qemu-nbd of a file in memory */
	BENCH_ZRAM, /**< none, but a device to compare with */
	BENCH_SERVERS
};

/** What servers are started with. */
struct bench_server_config {
	const char *folder; /**< for sockets */
	uint64_t size;	    /**< of the device, bytes */
	uint64_t budget;    /**< of BENCH_TMEM_TIGHT */
	int device;	    /**< BENCH_ZRAM */
};

struct bench_server {
	const char *name;
	pid_t pid[BENCH_TURNS_PROCESSES]; /**< 0: none */
	int file;			  /**< what it serves, or -1 */
	int device; /**< to read and write instead, or -1 */
	uint64_t size;
	char socket[96];
	char uri[128];
};

const char *bench_server_name(enum bench_server_kind kind);

/** Start one, wait until it answers, and stop it until its first turn. Exits
 * where that fails. */
void bench_server_start(struct bench_server *server,
			enum bench_server_kind kind,
			const struct bench_server_config *config);

/** Kill it and wait for its end. */
void bench_server_end(struct bench_server *server);

/** Let it run, and wait until it has done what was left from its last turn. */
void bench_server_turn(const struct bench_server *server);
void bench_server_stop(const struct bench_server *server);

/** Processor time that its processes have used, ns. */
uint64_t bench_server_cpu_ns(const struct bench_server *server);

/** Bytes in memory for it: what its processes have resident, and files in
 * memory that they have open. What overflowed to disk counts as well. */
uint64_t bench_server_memory(const struct bench_server *server);

/** The same of a process. */
uint64_t bench_process_memory(pid_t pid);

/** The command that starts a server of one process. */
void bench_server_command(struct bench_command *command,
			  enum bench_server_kind kind,
			  const struct bench_server_config *config,
			  const char *socket);

#endif
