/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nbd-prober SOCKET PAGES [SEED]: write pages to an NBD export, over and over,
 * while the test kills the server, and see that every page that was
 * acknowledged is there.
 *
 * Writes and trims go out in batches. When the connection breaks, a request
 * without a reply may or may not have happened: its page may read as before or
 * as written. The prober connects again, for up to 60 s, reads such pages to
 * learn which, and goes on. On SIGTERM it reads every page and ends.
 *
 * Prints a line for every 1,000 acknowledged writes, and a last one with what
 * it counted.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <tmem/types.h>
#include <unistd.h>
#include "protocol.h"

#define BATCH	  16u
#define PATIENCE  60
#define PROGRESS  1000u
#define TRIM_EACH 16u /* one request in so many is a trim */

/** What a page may hold: version 0 is zeros. */
struct page {
	uint32_t version;
	uint32_t unsure; /* also possible, if in_doubt */
	bool in_doubt;
};

static const char *path;
static uint32_t pages;
static struct page *model;
static uint64_t state, acknowledged, reconnects, doubts;
static uint32_t versions;
static int sock = -1;
static volatile sig_atomic_t stop;

static void on_term(int sig)
{
	stop = sig;
}

_Noreturn static void fail(const char *what, uint64_t where)
{
	fprintf(stderr, "nbd-prober: %s (page %" PRIu64 ")\n", what, where);
	exit(EXIT_FAILURE);
}

static uint64_t mix(uint64_t x)
{
	x ^= x >> 33;
	x *= 0xff51afd7ed558ccdull;
	x ^= x >> 33;
	x *= 0xc4ceb9fe1a85ec53ull;
	return x ^ x >> 33;
}

static uint64_t next_random(void)
{
	state += 0x9e3779b97f4a7c15ull;
	return mix(state);
}

/** A page of a version: half of it does not compress. */
static void make_page(uint8_t *bytes, uint32_t page, uint32_t version)
{
	uint64_t word, i;

	memset(bytes, 0, TMEM_PAGE_SIZE);
	if (!version)
		return;
	for (i = 0; i < TMEM_PAGE_SIZE / 16; i++) {
		word = mix((uint64_t)version << 32 | page) + mix(i);
		memcpy(bytes + i * 8, &word, sizeof(word));
	}
	memset(bytes + TMEM_PAGE_SIZE / 2, 'p', TMEM_PAGE_SIZE / 2);
}

/* The connection ---------------------------------------------------------- */

static bool send_all(const void *bytes, size_t length)
{
	const uint8_t *at = bytes;
	ssize_t n;

	for (; length; at += n, length -= (size_t)n) {
		n = send(sock, at, length, MSG_NOSIGNAL);
		if (n < 0)
			return false;
	}
	return true;
}

static bool receive_all(void *bytes, size_t length)
{
	return recv(sock, bytes, length, MSG_WAITALL) == (ssize_t)length;
}

/** Greeting, EXPORT_NAME, and simple replies from then on. */
static bool shake_hands(void)
{
	uint8_t wire[NBD_GREETING_SIZE + NBD_EXPORT_NAME_SIZE], *to = wire;

	if (!receive_all(wire, NBD_GREETING_SIZE))
		return false;
	to = nbd_put32(to, NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
	to = nbd_put64(to, NBD_OPTION_MAGIC);
	to = nbd_put32(to, NBD_OPT_EXPORT_NAME);
	to = nbd_put32(to, 0);
	return send_all(wire, (size_t)(to - wire)) &&
	       receive_all(wire, NBD_EXPORT_NAME_SIZE);
}

static bool try_connect(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	sock = socket(AF_UNIX, SOCK_STREAM, 0);
	if (sock < 0)
		fail("no socket", 0);
	if (!connect(sock, (struct sockaddr *)&address, sizeof(address)) &&
	    shake_hands())
		return true;
	close(sock);
	sock = -1;
	return false;
}

static void connect_again(void)
{
	const struct timespec pause = {.tv_nsec = 20000000};
	time_t end = time(NULL) + PATIENCE;

	if (sock >= 0)
		close(sock);
	while (!try_connect()) {
		if (time(NULL) > end)
			fail("the server did not come back", 0);
		nanosleep(&pause, NULL);
	}
}

static bool send_request(uint16_t type, uint64_t cookie, uint32_t page)
{
	uint8_t wire[NBD_REQUEST_SIZE], *to = wire;

	to = nbd_put32(to, NBD_REQUEST_MAGIC);
	to = nbd_put16(to, 0);
	to = nbd_put16(to, type);
	to = nbd_put64(to, cookie);
	to = nbd_put64(to, (uint64_t)page * TMEM_PAGE_SIZE);
	nbd_put32(to, TMEM_PAGE_SIZE);
	return send_all(wire, sizeof(wire));
}

/** False: the connection is gone. */
static bool receive_reply(uint64_t *cookie, uint32_t *error)
{
	uint8_t wire[NBD_SIMPLE_REPLY_SIZE];

	if (!receive_all(wire, sizeof(wire)))
		return false;
	if (nbd_get32(wire) != NBD_SIMPLE_REPLY_MAGIC)
		fail("that is no reply", 0);
	*error = nbd_get32(wire + 4);
	*cookie = nbd_get64(wire + 8);
	return true;
}

/* Reading ----------------------------------------------------------------- */

static bool read_page(uint32_t page, uint8_t *bytes)
{
	uint64_t cookie;
	uint32_t error;

	if (!send_request(NBD_CMD_READ, page, page) ||
	    !receive_reply(&cookie, &error))
		return false;
	if (error)
		fail("reading failed", page);
	return receive_all(bytes, TMEM_PAGE_SIZE);
}

/** Read a page and see that it is what it may be, whatever happens to the
 * connection meanwhile. */
static void check_page(uint32_t page)
{
	uint8_t bytes[TMEM_PAGE_SIZE], want[TMEM_PAGE_SIZE];
	struct page *p = &model[page];

	while (!read_page(page, bytes)) {
		reconnects++;
		connect_again();
	}
	make_page(want, page, p->version);
	if (memcmp(bytes, want, sizeof(want)) != 0 && p->in_doubt) {
		p->version = p->unsure;
		make_page(want, page, p->version);
	}
	if (memcmp(bytes, want, sizeof(want)) != 0)
		fail("an acknowledged page is not there", page);
	p->in_doubt = false;
}

/* Writing ----------------------------------------------------------------- */

struct batch {
	uint32_t page[BATCH], version[BATCH];
	bool answered[BATCH];
};

/** BATCH different pages. */
static void choose(struct batch *batch)
{
	uint32_t stride = pages / BATCH;
	unsigned i;

	memset(batch, 0, sizeof(*batch));
	for (i = 0; i < BATCH; i++) {
		batch->page[i] =
			i * stride + (uint32_t)(next_random() % stride);
		if (next_random() % TRIM_EACH)
			batch->version[i] = ++versions;
	}
}

static bool send_batch(const struct batch *batch)
{
	uint8_t bytes[TMEM_PAGE_SIZE];
	unsigned i;

	for (i = 0; i < BATCH; i++) {
		if (!send_request(batch->version[i] ? NBD_CMD_WRITE
						    : NBD_CMD_TRIM,
				  i, batch->page[i]))
			return false;
		make_page(bytes, batch->page[i], batch->version[i]);
		if (batch->version[i] && !send_all(bytes, sizeof(bytes)))
			return false;
	}
	return true;
}

static bool receive_batch(struct batch *batch)
{
	uint64_t cookie;
	uint32_t error;
	unsigned i;

	for (i = 0; i < BATCH; i++) {
		if (!receive_reply(&cookie, &error))
			return false;
		if (cookie >= BATCH || batch->answered[cookie])
			fail("a reply to nothing", cookie);
		if (error)
			fail("writing failed", batch->page[cookie]);
		batch->answered[cookie] = true;
		model[batch->page[cookie]].version = batch->version[cookie];
		if (++acknowledged % PROGRESS == 0) {
			printf("%" PRIu64 "\n", acknowledged);
			fflush(stdout);
		}
	}
	return true;
}

static void write_batch(void)
{
	struct batch batch;
	struct page *p;
	unsigned i;

	choose(&batch);
	if (send_batch(&batch) && receive_batch(&batch))
		return;
	/* What had been answered may still be on its way here. */
	(void)receive_batch(&batch);
	reconnects++;
	connect_again();
	for (i = 0; i < BATCH; i++) {
		if (batch.answered[i])
			continue;
		p = &model[batch.page[i]];
		p->in_doubt = true;
		p->unsure = batch.version[i];
		doubts++;
		check_page(batch.page[i]);
	}
}

int main(int argc, char **argv)
{
	/* Calls go on: stop is looked at between batches. */
	const struct sigaction action = {.sa_handler = on_term,
					 .sa_flags = SA_RESTART};
	uint32_t page;

	if (argc < 3) {
		fputs("usage: nbd-prober SOCKET PAGES [SEED]\n", stderr);
		return 2;
	}
	path = argv[1];
	pages = (uint32_t)strtoul(argv[2], NULL, 10);
	state = argc > 3 ? strtoull(argv[3], NULL, 10) : (uint64_t)time(NULL);
	model = calloc(pages, sizeof(*model));
	if (!model || pages < BATCH || sigaction(SIGTERM, &action, NULL))
		return 2;
	fprintf(stderr, "nbd-prober: seed %" PRIu64 "\n", state);
	connect_again();
	while (!stop)
		write_batch();
	for (page = 0; page < pages; page++)
		check_page(page);
	printf("verified %u pages after %" PRIu64 " writes, %" PRIu64
	       " reconnects, %" PRIu64 " in doubt\n",
	       pages, acknowledged, reconnects, doubts);
	return 0;
}
