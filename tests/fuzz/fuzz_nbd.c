/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An NBD client that sends anything. The input's first byte says how the rest
 * arrives and what the store refuses; the rest is what the client says, in the
 * handshake and after it. When it ends, 64 KiB of one letter follow, so that a
 * short input can have a long payload.
 *
 * recv() and send() are wrapped (link arguments in meson.build): there
 * is no socket. Whatever comes, the device must be readable afterwards, and
 * its extents must add up.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include "access.h"
#include "array-pool.h"
#include "fuzz.h"
#include "log.h"
#include "nbd-scene.h"

#define PAGES	96u
#define SIZE	((uint64_t)PAGES * TMEM_PAGE_SIZE - 512)
#define EXTRA	(64u << 10)
#define EXTENTS 256u

ssize_t __wrap_recv(int fd, void *to, size_t length, int flags);
ssize_t __wrap_send(int fd, const void *from, size_t length, int flags);

static struct {
	const uint8_t *data;
	size_t left;
	size_t extra;
	size_t most; /* bytes at a time */
} client;

ssize_t __wrap_recv(int fd, void *to, size_t length, int flags)
{
	size_t n = length < client.most ? length : client.most;

	if (n > client.left)
		n = client.left;
	if (n) {
		memcpy(to, client.data, n);
		client.data += n;
		client.left -= n;
		return (ssize_t)n;
	}
	n = length < client.extra ? length : client.extra;
	memset(to, 'x', n);
	client.extra -= n;
	return (ssize_t)n;
}

ssize_t __wrap_send(int fd, const void *from, size_t length, int flags)
{
	static uint8_t wire[NBD_STREAM_MAX];

	memcpy(wire, from, length);
	return (ssize_t)length;
}

static void need(bool fine, const char *what)
{
	if (fine)
		return;
	fprintf(stderr, "after this client, %s\n", what);
	abort();
}

/* With an overflow file, and without. */
static struct test_nbd_scene scenes[2];

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	/* Refused writes are no news here. */
	tmem_log_set_level(LOG_CRIT);
	test_nbd_scene_init(&scenes[0], SIZE,
			    memfd_create("overflow", MFD_CLOEXEC));
	test_nbd_scene_init(&scenes[1], SIZE, -1);
	return 0;
}

static void look_at(struct test_nbd_scene *scene)
{
	static uint8_t bytes[PAGES * TMEM_PAGE_SIZE];
	struct nbd_extent extents[EXTENTS];
	uint64_t bad, sum = 0;
	unsigned count, i;

	need(!nbd_access_read(scene->device, &scene->io, 0, (uint32_t)SIZE,
			      bytes, &bad),
	     "the device cannot be read");
	count = nbd_access_extents(scene->device, 0, SIZE, extents, EXTENTS);
	for (i = 0; i < count; i++)
		sum += extents[i].length;
	need(sum == SIZE, "extents do not cover the device");
	need(!nbd_access_zero(scene->device, &scene->io, 0, SIZE,
			      NBD_ZERO_TRIM),
	     "the device cannot be trimmed");
	need(nbd_access_extents(scene->device, 0, SIZE, extents, 1) == 1 &&
		     extents[0].length == SIZE && !extents[0].present,
	     "a trimmed device has pages");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct nbd_connection connection;
	uint8_t how = size ? data[0] : 0;
	struct test_nbd_scene *scene = &scenes[how & 1];
	unsigned page;

	for (page = 0; page < PAGES; page += 2)
		test_array_pool_refuse(scene->pool, page, how & 2);
	scene->info.read_only = how & 4;
	client.data = size ? data + 1 : data;
	client.left = size ? size - 1 : 0;
	client.extra = EXTRA;
	client.most = how & 8 ? 1u + (how >> 4) : SIZE_MAX;
	need(!nbd_connection_init(&connection, &scene->info, -1, 0),
	     "there is no memory");
	(void)nbd_connection_run(&connection);
	nbd_connection_deinit(&connection);
	look_at(scene);
	return 0;
}
