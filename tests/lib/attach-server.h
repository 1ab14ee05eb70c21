/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A store that clients can attach to: tmemd's sessions without the rest of
 * tmemd. The door is a thread that lets them in, to a store of its own
 * process; the server is a process with a store and its door.
 */
#ifndef TEST_ATTACH_SERVER_H
#define TEST_ATTACH_SERVER_H

#include <pthread.h>
#include <stdint.h>
#include <sys/types.h>
#include <tmem/types.h>

struct tmem_sessions;
struct tmem_store;

struct test_attach_door {
	char dir[32];
	char path[64]; /* of the socket */
	int listener;
	struct tmem_sessions *sessions;
	pthread_t thread;
};

/** Let clients attach to a store. Aborts on failure. */
void test_attach_door_open(struct test_attach_door *door,
			   struct tmem_store *store);

/** End all sessions and wait for their ends. Free the clients first. */
void test_attach_door_close(struct test_attach_door *door);

struct test_attach_server {
	char dir[32];
	char path[64]; /* of the socket */
	uint64_t budget;
	int arena; /* stays over restarts */
	pid_t pid;
};

/** The shared pool that clients named "one" and "two", of this user, are
 * authorised for. */
extern const struct tmem_uuid test_attach_uuid;

/** Start a server with an arena and a socket of its own. Aborts on failure. */
void test_attach_server_start(struct test_attach_server *server,
			      uint64_t budget);

/** SIGKILL it. */
void test_attach_server_kill(struct test_attach_server *server);

/** Start another on the arena and the socket's path of one killed. */
void test_attach_server_restart(struct test_attach_server *server);

/** End it in good order, check its store, and clean up. Returns 0 when all
 * was well. */
int test_attach_server_stop(struct test_attach_server *server);

#endif
