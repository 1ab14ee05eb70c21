/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "nbd-scene.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>
#include "access.h"
#include "array-pool.h"
#include "pages.h"

static void need(bool fine, const char *what)
{
	if (fine)
		return;
	fprintf(stderr, "scene: %s failed\n", what);
	abort();
}

int test_nbd_file(void)
{
	int fd = open("/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	need(fd >= 0, "making a file in /var/tmp");
	return fd;
}

static void open_device(struct test_nbd_scene *scene)
{
	char why[512];
	int r = nbd_device_open(&scene->config, scene->pool,
				TEST_NBD_GENERATION, &scene->device, why,
				sizeof(why));

	need(!r, r ? why : "");
	scene->info = (struct nbd_export_info){
		.device = scene->device,
		.name = scene->config.name,
		.description = scene->config.description,
		.read_only = scene->config.read_only,
	};
	need(!nbd_io_init(&scene->io, scene->device), "preparing access");
}

void test_nbd_scene_init(struct test_nbd_scene *scene, uint64_t size,
			 int overflow_fd)
{
	test_pages_init();
	memset(scene, 0, sizeof(*scene));
	scene->config.name = "disk";
	scene->config.description = "a disk";
	scene->config.size = size;
	scene->config.overflow_fd = overflow_fd;
	scene->pool = test_array_pool_new();
	open_device(scene);
}

static void close_device(struct test_nbd_scene *scene)
{
	nbd_io_deinit(&scene->io);
	nbd_device_close(scene->device);
}

void test_nbd_scene_reopen(struct test_nbd_scene *scene)
{
	close_device(scene);
	open_device(scene);
}

void test_nbd_scene_deinit(struct test_nbd_scene *scene)
{
	close_device(scene);
	tmem_pool_free(scene->pool);
	if (scene->config.overflow_fd >= 0)
		close(scene->config.overflow_fd);
}

int test_nbd_write(struct test_nbd_scene *scene, uint64_t page, uint64_t seed)
{
	uint8_t bytes[TMEM_PAGE_SIZE];

	test_page_of(bytes, TEST_PAGE_TEXT, seed);
	return nbd_access_write(scene->device, &scene->io,
				page * TMEM_PAGE_SIZE, TMEM_PAGE_SIZE, bytes);
}

bool test_nbd_is_page(const uint8_t *bytes, uint64_t seed)
{
	uint8_t want[TMEM_PAGE_SIZE] = {0};

	if (seed)
		test_page_of(want, TEST_PAGE_TEXT, seed);
	return !memcmp(bytes, want, sizeof(want));
}

bool test_nbd_reads_as(struct test_nbd_scene *scene, uint64_t page,
		       uint64_t seed)
{
	uint8_t bytes[TMEM_PAGE_SIZE];
	uint64_t bad;

	need(!nbd_access_read(scene->device, &scene->io, page * TMEM_PAGE_SIZE,
			      sizeof(bytes), bytes, &bad),
	     "reading a page");
	return test_nbd_is_page(bytes, seed);
}

void test_nbd_slot(const struct test_nbd_scene *scene, uint64_t page,
		   uint8_t *to)
{
	_Alignas(TMEM_PAGE_SIZE) uint8_t aligned[TMEM_PAGE_SIZE];

	need(pread(scene->config.overflow_fd, aligned, TMEM_PAGE_SIZE,
		   (off_t)(page * TMEM_PAGE_SIZE)) == TMEM_PAGE_SIZE,
	     "reading a slot");
	memcpy(to, aligned, TMEM_PAGE_SIZE);
}

static void *serve(void *arg)
{
	struct test_nbd_server *server = arg;
	struct nbd_connection *c = calloc(1, sizeof(*c));
	unsigned i;

	need(c && !nbd_connection_init(c, &server->scene->info,
				       server->server_fd, server->handshake_ms),
	     "preparing a connection");
	server->result = nbd_connection_run(c);
	for (i = 0; i < TMEM_NBD_STAT_COUNT; i++)
		server->stats[i] = atomic_load(&c->io.stats[i]);
	nbd_connection_deinit(c);
	free(c);
	shutdown(server->server_fd, SHUT_RDWR);
	return NULL;
}

void test_nbd_server_start(struct test_nbd_server *server,
			   const struct test_nbd_scene *scene,
			   unsigned handshake_ms)
{
	const struct timeval timeout = {.tv_sec = 10};
	int fds[2];

	need(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds),
	     "making sockets");
	*server = (struct test_nbd_server){.scene = scene,
					   .client_fd = fds[0],
					   .server_fd = fds[1],
					   .handshake_ms = handshake_ms};
	need(!setsockopt(fds[0], SOL_SOCKET, SO_RCVTIMEO, &timeout,
			 sizeof(timeout)),
	     "limiting time");
	need(!pthread_create(&server->thread, NULL, serve, server),
	     "starting a thread");
}

int test_nbd_server_join(struct test_nbd_server *server)
{
	if (server->client_fd >= 0)
		close(server->client_fd);
	server->client_fd = -1;
	pthread_join(server->thread, NULL);
	close(server->server_fd);
	return server->result;
}
