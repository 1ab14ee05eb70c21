/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "attach-server.h"
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <tmem/store.h>
#include <unistd.h>
#include "../../tmemd/src/session.h"
#include "arena-file.h"

const struct tmem_uuid test_attach_uuid = {{1, 2, 3}};

static void must(int good, const char *what)
{
	if (!good) {
		perror(what);
		abort();
	}
}

/* A folder of its own (dir, of 32 bytes) and a socket's path in it. */
static void make_place(char *dir, char *path, size_t size)
{
	strcpy(dir, "/tmp/tmem-test-XXXXXX");
	must(mkdtemp(dir) != NULL, "mkdtemp");
	snprintf(path, size, "%s/socket", dir);
}

static void remove_place(const char *dir, const char *path)
{
	unlink(path);
	rmdir(dir);
}

static int listen_at(const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	must(sock >= 0, "socket");
	unlink(path);
	strcpy(addr.sun_path, path);
	must(bind(sock, (struct sockaddr *)&addr, sizeof(addr)) == 0, "bind");
	must(listen(sock, 64) == 0, "listen");
	return sock;
}

/* Serve one connection. Returns whether it was the request to quit. */
static int serve(struct tmem_sessions *sessions, int conn)
{
	struct tmem_message message = TMEM_MESSAGE_INIT;
	struct ucred peer = {0};
	socklen_t size = sizeof(peer);
	const char *op = "";

	must(getsockopt(conn, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0,
	     "SO_PEERCRED");
	if (tmem_message_receive(conn, &message, -1) == 0)
		tmem_message_parse(message.json, &op);
	if (strcmp(op, "attach") == 0) {
		tmem_sessions_attach(sessions, conn, &peer, message.json, NULL);
		op = "";
	} else {
		close(conn);
	}
	op = strcmp(op, "quit") == 0 ? "quit" : NULL;
	tmem_message_deinit(&message);
	return op != NULL;
}

static void serve_until_quit(struct tmem_sessions *sessions, int listener)
{
	int conn;

	do {
		conn = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		must(conn >= 0, "accept");
	} while (!serve(sessions, conn));
}

static void send_quit(const char *path)
{
	json_t *quit = tmem_message_request("quit");
	int conn = tmem_message_connect(path, 60000);

	must(conn >= 0, "connect");
	must(tmem_message_send(conn, quit, NULL, 0, 60000) == 0, "quit");
	json_decref(quit);
	close(conn);
}

static void *keep_door(void *arg)
{
	struct test_attach_door *door = arg;

	serve_until_quit(door->sessions, door->listener);
	return NULL;
}

void test_attach_door_open(struct test_attach_door *door,
			   struct tmem_store *store)
{
	make_place(door->dir, door->path, sizeof(door->path));
	door->listener = listen_at(door->path);
	must(tmem_sessions_new(store, NULL, NULL, &door->sessions) == 0,
	     "tmem_sessions_new");
	must(pthread_create(&door->thread, NULL, keep_door, door) == 0,
	     "pthread_create");
}

void test_attach_door_close(struct test_attach_door *door)
{
	send_quit(door->path);
	pthread_join(door->thread, NULL);
	door->sessions = tmem_sessions_free(door->sessions);
	close(door->listener);
	remove_place(door->dir, door->path);
}

/* The server's process. Returns its exit status. */
static int run(const struct test_attach_server *server, int listener)
{
	struct tmem_sessions *sessions;
	struct tmem_store_config config;
	struct tmem_store *store;
	int r;

	tmem_store_config_init(&config);
	config.nursery = 0;
	config.threads = 0;
	config.budget = server->budget;
	config.capacity = server->budget;
	config.arena_fd = fcntl(server->arena, F_DUPFD_CLOEXEC, 0);
	r = tmem_store_open(&config, &store);
	if (r < 0) {
		fprintf(stderr, "tmem_store_open: %s\n", strerror(-r));
		return 1;
	}
	tmem_store_shared_auth(store, getuid(), "one", &test_attach_uuid, true);
	tmem_store_shared_auth(store, getuid(), "two", &test_attach_uuid, true);
	must(tmem_sessions_new(store, NULL, NULL, &sessions) == 0,
	     "tmem_sessions_new");
	serve_until_quit(sessions, listener);
	tmem_sessions_free(sessions);
	r = tmem_store_check(store, stderr);
	tmem_store_close(store);
	return r < 0;
}

static void start(struct test_attach_server *server)
{
	/* Made before the fork, so that nobody has to wait for it. */
	int listener = listen_at(server->path);

	server->pid = fork();
	must(server->pid >= 0, "fork");
	if (server->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		exit(run(server, listener));
	}
	close(listener);
}

void test_attach_server_start(struct test_attach_server *server,
			      uint64_t budget)
{
	make_place(server->dir, server->path, sizeof(server->path));
	server->budget = budget;
	server->arena = test_arena_memfd();
	start(server);
}

void test_attach_server_kill(struct test_attach_server *server)
{
	kill(server->pid, SIGKILL);
	waitpid(server->pid, NULL, 0);
	server->pid = -1;
}

void test_attach_server_restart(struct test_attach_server *server)
{
	start(server);
}

int test_attach_server_stop(struct test_attach_server *server)
{
	int status = -1;

	send_quit(server->path);
	waitpid(server->pid, &status, 0);
	close(server->arena);
	remove_place(server->dir, server->path);
	return status;
}
