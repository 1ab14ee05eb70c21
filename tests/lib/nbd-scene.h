/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A device over an array pool, with or without an overflow file, and a client
 * at a socket of it: for tests of tmem-nbd's modules.
 *
 * Threading: one thread, but for what a test does itself. Every call aborts on
 * failure.
 */
#ifndef TEST_NBD_SCENE_H
#define TEST_NBD_SCENE_H

#include <pthread.h>
#include "connection.h"

/** Arena's generation of every scene. */
#define TEST_NBD_GENERATION 0x1122334455667788ull

struct test_nbd_scene {
	struct tmem_nbd_export_config config;
	struct tmem_pool *pool;
	struct nbd_device *device;
	struct nbd_export_info info;
	struct nbd_io io;
};

/** A new device, with an overflow file (taken over) unless it is -1. */
void test_nbd_scene_init(struct test_nbd_scene *scene, uint64_t size,
			 int overflow_fd);
void test_nbd_scene_deinit(struct test_nbd_scene *scene);

/** Close the device and open it again on the same pool and file, as after a
 * crash. */
void test_nbd_scene_reopen(struct test_nbd_scene *scene);

/** Write a page of text made of seed. Returns as nbd_access_write(). */
int test_nbd_write(struct test_nbd_scene *scene, uint64_t page, uint64_t seed);

/** Whether bytes are that page; seed 0: zeros. */
bool test_nbd_is_page(const uint8_t *bytes, uint64_t seed);

/** Whether a page, which must be readable, reads as that. */
bool test_nbd_reads_as(struct test_nbd_scene *scene, uint64_t page,
		       uint64_t seed);

/** An unlinked file of no bytes, on disk. Returns a descriptor. */
int test_nbd_file(void);

/** A page of the overflow file as it is there now. */
void test_nbd_slot(const struct test_nbd_scene *scene, uint64_t page,
		   uint8_t *to);

/** A connection's server side running in a thread. */
struct test_nbd_server {
	const struct test_nbd_scene *scene;
	pthread_t thread;
	int client_fd; /**< the test's end; receives time out after 10 s */
	int server_fd;
	unsigned handshake_ms;
	int result; /**< of nbd_connection_run(), after join */
	uint64_t stats[TMEM_NBD_STAT_COUNT];
};

void test_nbd_server_start(struct test_nbd_server *server,
			   const struct test_nbd_scene *scene,
			   unsigned handshake_ms);
/** Close the client's end unless it is, and wait for the server's. Returns the
 * result. */
int test_nbd_server_join(struct test_nbd_server *server);

#endif
