/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Clients of all kinds, over a socket: well-behaved ones byte by byte, and
 * those that lie, stall, or vanish at any byte. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include "access.h"
#include "array-pool.h"
#include "nbd-scene.h"
#include "pages.h"

#define PAGES 64u
#define SIZE  ((uint64_t)PAGES * TMEM_PAGE_SIZE)
#define MIB   (1u << 20)

/** A client's words. */
struct words {
	uint8_t bytes[3 * MIB];
	size_t length;
};

static struct test_nbd_scene scene;
static struct test_nbd_server server;
static struct words words;

static void set_up(void)
{
	test_pages_init();
	test_nbd_scene_init(&scene, SIZE, -1);
	words.length = 0;
}

static void tear_down(void)
{
	test_nbd_scene_deinit(&scene);
}

/* What clients say -------------------------------------------------------- */

static void say(const void *bytes, size_t length)
{
	memcpy(words.bytes + words.length, bytes, length);
	words.length += length;
}

static void say32(uint32_t value)
{
	nbd_put32(words.bytes + words.length, value);
	words.length += 4;
}

static void say_option(uint32_t option, const void *data, uint32_t length)
{
	nbd_put64(words.bytes + words.length, NBD_OPTION_MAGIC);
	words.length += 8;
	say32(option);
	say32(length);
	say(data, length);
}

static void say_request(uint16_t type, uint16_t flags, uint64_t offset,
			uint32_t length)
{
	uint8_t *to = words.bytes + words.length;

	to = nbd_put32(to, NBD_REQUEST_MAGIC);
	to = nbd_put16(to, flags);
	to = nbd_put16(to, type);
	to = nbd_put64(to, 0xc00c1e);
	to = nbd_put64(to, offset);
	nbd_put32(to, length);
	words.length += NBD_REQUEST_SIZE;
}

static void say_write(uint64_t offset, uint32_t length, uint8_t byte)
{
	say_request(NBD_CMD_WRITE, 0, offset, length);
	memset(words.bytes + words.length, byte, length);
	words.length += length;
}

/** Up to transmission, with all there is to agree on. */
static void say_hello(void)
{
	static const uint8_t contexts[] = {
		0,   0,	  0,   4,   'd', 'i', 's', 'k', /* export */
		0,   0,	  0,   1,			/* queries */
		0,   0,	  0,   15,  'b', 'a', 's', 'e', ':', 'a',
		'l', 'l', 'o', 'c', 'a', 't', 'i', 'o', 'n',
	};

	say32(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
	say_option(NBD_OPT_STRUCTURED_REPLY, "", 0);
	say_option(NBD_OPT_SET_META_CONTEXT, contexts, sizeof(contexts));
	say_option(NBD_OPT_GO, "\0\0\0\0\0\0", 6);
}

/** Bytes of the answers to say_hello() with the greeting: 18, ACK, context and
 * ACK, export information and ACK. */
#define HELLO_ANSWER (18u + 20 + (20 + 4 + 15) + 20 + (20 + 12) + 20)

static void send_words(void)
{
	size_t done = 0;
	ssize_t n;

	while (done < words.length) {
		n = send(server.client_fd, words.bytes + done,
			 words.length - done, MSG_NOSIGNAL);
		if (n < 0)
			break; /* the server has hung up, as tests want it */
		done += (size_t)n;
	}
	words.length = 0;
}

/** Receive just length bytes. */
static void hear(void *to, size_t length)
{
	ssize_t n = 0;

	if (length)
		n = recv(server.client_fd, to, length, MSG_WAITALL);
	ck_assert_msg(n == (ssize_t)length, "heard %zd bytes, wanted %zu", n,
		      length);
}

static void hear_just(const void *golden, size_t length)
{
	uint8_t *bytes = malloc(length);

	hear(bytes, length);
	ck_assert_mem_eq(bytes, golden, length);
	free(bytes);
}

static void skip_heard(size_t length)
{
	uint8_t *bytes = malloc(length);

	hear(bytes, length);
	free(bytes);
}

/** The server must hang up without a further word. */
static void hear_end(void)
{
	uint8_t byte;

	ck_assert_int_le(recv(server.client_fd, &byte, 1, 0), 0);
}

/** All that the server says until it hangs up. */
static void hear_out(void)
{
	uint8_t bytes[4096];

	while (recv(server.client_fd, bytes, sizeof(bytes), 0) > 0)
		;
}

/** An option's reply. Returns its type; its data is in data if not NULL. */
static uint32_t hear_option(uint32_t option, uint8_t *data, uint32_t *length)
{
	uint8_t header[NBD_OPTION_REPLY_SIZE], rest[4096];

	hear(header, sizeof(header));
	ck_assert_uint_eq(nbd_get64(header), NBD_OPTION_REPLY_MAGIC);
	ck_assert_uint_eq(nbd_get32(header + 8), option);
	*length = nbd_get32(header + 16);
	ck_assert_uint_le(*length, sizeof(rest));
	hear(data ? data : rest, *length);
	return nbd_get32(header + 12);
}

/** An option that is answered by one reply. Returns its type. */
static uint32_t ask(uint32_t option, const void *data, uint32_t size)
{
	uint32_t length;

	say_option(option, data, size);
	send_words();
	return hear_option(option, NULL, &length);
}

/** A simple reply's error. */
static uint32_t hear_simple(void)
{
	uint8_t wire[NBD_SIMPLE_REPLY_SIZE];

	hear(wire, sizeof(wire));
	ck_assert_uint_eq(nbd_get32(wire), NBD_SIMPLE_REPLY_MAGIC);
	ck_assert_uint_eq(nbd_get64(wire + 8), 0xc00c1e);
	return nbd_get32(wire + 4);
}

/** An error chunk's error. */
static uint32_t hear_error(void)
{
	uint8_t wire[NBD_CHUNK_SIZE + 6];

	hear(wire, sizeof(wire));
	ck_assert_uint_eq(nbd_get32(wire), NBD_CHUNK_MAGIC);
	ck_assert_uint_eq(nbd_get16(wire + 4), NBD_CHUNK_DONE);
	ck_assert_uint_eq(nbd_get16(wire + 6), NBD_CHUNK_ERROR);
	return nbd_get32(wire + NBD_CHUNK_SIZE);
}

/** Begin a session in transmission, with structured replies or without. */
static void begin(bool structured)
{
	test_nbd_server_start(&server, &scene, 0);
	if (structured) {
		say_hello();
		send_words();
		skip_heard(HELLO_ANSWER);
		return;
	}
	say32(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
	say_option(NBD_OPT_EXPORT_NAME, "disk", 4);
	send_words();
	skip_heard(NBD_GREETING_SIZE + NBD_EXPORT_NAME_SIZE);
}

/** End it as clients should, and see that the server does. */
static void end(void)
{
	say_request(NBD_CMD_DISC, 0, 0, 0);
	send_words();
	hear_end();
	ck_assert_int_eq(test_nbd_server_join(&server), 0);
}

/* Handshake --------------------------------------------------------------- */

START_TEST(hello_is_answered_in_golden_bytes)
{
	static const uint8_t golden[] = {
		/* greeting */
		'N',
		'B',
		'D',
		'M',
		'A',
		'G',
		'I',
		'C',
		'I',
		'H',
		'A',
		'V',
		'E',
		'O',
		'P',
		'T',
		0,
		3,
		/* structured replies: ACK */
		0,
		3,
		0xe8,
		0x89,
		4,
		0x55,
		0x65,
		0xa9,
		0,
		0,
		0,
		8,
		0,
		0,
		0,
		1,
		0,
		0,
		0,
		0,
		/* contexts: base:allocation has id 1 */
		0,
		3,
		0xe8,
		0x89,
		4,
		0x55,
		0x65,
		0xa9,
		0,
		0,
		0,
		10,
		0,
		0,
		0,
		4,
		0,
		0,
		0,
		19,
		0,
		0,
		0,
		1,
		'b',
		'a',
		's',
		'e',
		':',
		'a',
		'l',
		'l',
		'o',
		'c',
		'a',
		't',
		'i',
		'o',
		'n',
		/* contexts: ACK */
		0,
		3,
		0xe8,
		0x89,
		4,
		0x55,
		0x65,
		0xa9,
		0,
		0,
		0,
		10,
		0,
		0,
		0,
		1,
		0,
		0,
		0,
		0,
		/* GO: information on the export, 256 KiB and its flags */
		0,
		3,
		0xe8,
		0x89,
		4,
		0x55,
		0x65,
		0xa9,
		0,
		0,
		0,
		7,
		0,
		0,
		0,
		3,
		0,
		0,
		0,
		12,
		0,
		0,
		0,
		0,
		0,
		0,
		0,
		4,
		0,
		0,
		0x0d,
		0xed,
		/* GO: ACK */
		0,
		3,
		0xe8,
		0x89,
		4,
		0x55,
		0x65,
		0xa9,
		0,
		0,
		0,
		7,
		0,
		0,
		0,
		1,
		0,
		0,
		0,
		0,
	};

	test_nbd_server_start(&server, &scene, 0);
	say_hello();
	send_words();
	ck_assert_uint_eq(sizeof(golden), HELLO_ANSWER);
	hear_just(golden, sizeof(golden));
	end();
}
END_TEST

START_TEST(export_name_with_and_without_zeroes)
{
	static const uint8_t
		golden[NBD_EXPORT_NAME_SIZE + NBD_EXPORT_NAME_ZEROES] = {
			0, 0, 0, 0, 0, 4, 0, 0, 0x0d, 0x6d};

	test_nbd_server_start(&server, &scene, 0);
	say32(NBD_FLAG_FIXED_NEWSTYLE);
	say_option(NBD_OPT_EXPORT_NAME, "", 0);
	send_words();
	skip_heard(NBD_GREETING_SIZE);
	hear_just(golden, sizeof(golden));
	end();
	begin(false);
	end();
}
END_TEST

START_TEST(options_are_answered)
{
	static const uint8_t wrong_name[] = {0,	  0,   0,   4, 'd',
					     'i', 's', 'c', 0, 0};
	static const uint8_t all_contexts[] = {0, 0, 0, 0, 0, 0, 0, 0};
	static const uint8_t infos[] = {0, 0, 0, 0, 0, 4, 0,
					0, 0, 1, 0, 2, 0, 3};
	uint8_t data[4096] = {0};
	uint32_t length;

	test_nbd_server_start(&server, &scene, 0);
	say32(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
	send_words();
	skip_heard(NBD_GREETING_SIZE);
	/* LIST: name and description. */
	say_option(NBD_OPT_LIST, "", 0);
	send_words();
	ck_assert_uint_eq(hear_option(NBD_OPT_LIST, data, &length),
			  NBD_REP_SERVER);
	ck_assert_mem_eq(data, "\0\0\0\4diska disk", 14);
	ck_assert_uint_eq(hear_option(NBD_OPT_LIST, NULL, &length),
			  NBD_REP_ACK);
	/* Contexts need structured replies first. */
	ck_assert_uint_eq(ask(NBD_OPT_LIST_META_CONTEXT, all_contexts, 8),
			  (uint32_t)NBD_REP_ERR_INVALID);
	ck_assert_uint_eq(ask(NBD_OPT_STRUCTURED_REPLY, "", 0), NBD_REP_ACK);
	ck_assert_uint_eq(ask(NBD_OPT_LIST_META_CONTEXT, all_contexts, 8),
			  NBD_REP_META_CONTEXT);
	ck_assert_uint_eq(hear_option(NBD_OPT_LIST_META_CONTEXT, NULL, &length),
			  NBD_REP_ACK);
	/* SET of nothing selects nothing. */
	ck_assert_uint_eq(ask(NBD_OPT_SET_META_CONTEXT, all_contexts, 8),
			  NBD_REP_ACK);
	/* What is not there, or wrong. */
	ck_assert_uint_eq(ask(NBD_OPT_INFO, wrong_name, sizeof(wrong_name)),
			  (uint32_t)NBD_REP_ERR_UNKNOWN);
	ck_assert_uint_eq(ask(NBD_OPT_GO, wrong_name, sizeof(wrong_name)),
			  (uint32_t)NBD_REP_ERR_UNKNOWN);
	ck_assert_uint_eq(ask(NBD_OPT_GO, wrong_name, sizeof(wrong_name) - 1),
			  (uint32_t)NBD_REP_ERR_INVALID);
	ck_assert_uint_eq(ask(NBD_OPT_LIST, "x", 1),
			  (uint32_t)NBD_REP_ERR_INVALID);
	ck_assert_uint_eq(ask(NBD_OPT_STRUCTURED_REPLY, "x", 1),
			  (uint32_t)NBD_REP_ERR_INVALID);
	ck_assert_uint_eq(ask(5, "", 0), (uint32_t)NBD_REP_ERR_UNSUP);
	ck_assert_uint_eq(ask(0xffffffff, "abc", 3),
			  (uint32_t)NBD_REP_ERR_UNSUP);
	/* INFO of everything: export, name, description, block sizes. */
	ck_assert_uint_eq(ask(NBD_OPT_INFO, infos, sizeof(infos)),
			  NBD_REP_INFO);
	ck_assert_uint_eq(hear_option(NBD_OPT_INFO, data, &length),
			  NBD_REP_INFO);
	ck_assert_mem_eq(data, "\0\1disk", 6);
	ck_assert_uint_eq(hear_option(NBD_OPT_INFO, data, &length),
			  NBD_REP_INFO);
	ck_assert_mem_eq(data, "\0\2a disk", 8);
	ck_assert_uint_eq(hear_option(NBD_OPT_INFO, data, &length),
			  NBD_REP_INFO);
	ck_assert_mem_eq(data, "\0\3\0\0\0\1\0\0\x10\0\2\0\0\0", 14);
	ck_assert_uint_eq(hear_option(NBD_OPT_INFO, NULL, &length),
			  NBD_REP_ACK);
	/* And the end. */
	ck_assert_uint_eq(ask(NBD_OPT_ABORT, "", 0), NBD_REP_ACK);
	hear_end();
	ck_assert_int_eq(test_nbd_server_join(&server), 0);
}
END_TEST

/** Queries whose lengths lie: each must be refused, none may be read past. */
START_TEST(lying_lengths_are_refused)
{
	static const uint8_t lies[][16] = {
		/* a name longer than the option */
		{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 0, 0, 0, 4, 'b', 'a', 's'},
		{0, 0, 0, 13},
		/* more queries than there are */
		{0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0},
		/* a query longer than the option */
		{0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff},
		/* something left over */
		{0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 3, 'a', 'b', 'c', 'd'},
	};
	uint32_t option;
	unsigned i, n;

	test_nbd_server_start(&server, &scene, 0);
	say32(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
	send_words();
	skip_heard(NBD_GREETING_SIZE);
	ck_assert_uint_eq(ask(NBD_OPT_STRUCTURED_REPLY, "", 0), NBD_REP_ACK);
	for (i = 0; i < sizeof(lies) / sizeof(*lies); i++) {
		option = i % 2 ? NBD_OPT_SET_META_CONTEXT
			       : NBD_OPT_LIST_META_CONTEXT;
		ck_assert_uint_eq(ask(option, lies[i], sizeof(lies[i])),
				  (uint32_t)NBD_REP_ERR_INVALID);
	}
	for (n = 0; n < 6; n++)
		ck_assert_uint_eq(ask(NBD_OPT_INFO, "\0\0\0\0\0\1", n),
				  (uint32_t)NBD_REP_ERR_INVALID);
	ck_assert_int_eq(test_nbd_server_join(&server), -ECONNRESET);
}
END_TEST

/* Transmission ------------------------------------------------------------ */

START_TEST(read_in_golden_bytes)
{
	uint8_t golden[28 + 4096 + 32 + 28 + 4096], *to = golden;

	begin(true);
	/* Page 0 and page 3 have data, 1 and 2 have none. */
	say_write(0, 4096, 'a');
	say_write(3 * 4096, 4096, 'b');
	say_request(NBD_CMD_READ, 0, 0, 4 * 4096);
	send_words();
	ck_assert_uint_eq(hear_simple(), 0);
	ck_assert_uint_eq(hear_simple(), 0);
	to = nbd_put_chunk(to, 0, NBD_CHUNK_OFFSET_DATA, 0xc00c1e, 8 + 4096);
	to = nbd_put64(to, 0);
	to = (uint8_t *)memset(to, 'a', 4096) + 4096;
	to = nbd_put_chunk(to, 0, NBD_CHUNK_OFFSET_HOLE, 0xc00c1e, 12);
	to = nbd_put64(to, 4096);
	to = nbd_put32(to, 2 * 4096);
	to = nbd_put_chunk(to, NBD_CHUNK_DONE, NBD_CHUNK_OFFSET_DATA, 0xc00c1e,
			   8 + 4096);
	to = nbd_put64(to, 3 * 4096);
	memset(to, 'b', 4096);
	hear_just(golden, sizeof(golden));
	end();
}
END_TEST

/** Every way that data and holes can lie in a few pages comes back right. */
START_TEST(holes_and_data_in_any_order)
{
	uint8_t header[NBD_CHUNK_SIZE + 8], page[6 * 4096], back[6 * 4096];
	uint32_t length, at, got;
	uint16_t flags, type;
	unsigned i;

	for (i = 0; i < 6; i++) {
		memset(page + i * 4096, _i >> i & 1 ? 'A' + (int)i : 0, 4096);
		if (_i >> i & 1)
			ck_assert_int_eq(nbd_access_write(scene.device,
							  &scene.io, i * 4096,
							  4096,
							  page + i * 4096),
					 0);
	}
	begin(true);
	/* Not at a page's boundary: partial pages at both ends. */
	at = 1000 * (_i % 4);
	say_request(NBD_CMD_READ, 0, at, sizeof(page) - 2 * at);
	send_words();
	memset(back, 0xee, sizeof(back));
	for (got = 0, flags = 0; !(flags & NBD_CHUNK_DONE); got += length) {
		hear(header, sizeof(header));
		ck_assert_uint_eq(nbd_get32(header), NBD_CHUNK_MAGIC);
		flags = nbd_get16(header + 4);
		type = nbd_get16(header + 6);
		ck_assert_uint_eq(nbd_get64(header + NBD_CHUNK_SIZE), at + got);
		if (type == NBD_CHUNK_OFFSET_DATA) {
			length = nbd_get32(header + 16) - 8;
			hear(back + at + got, length);
		} else {
			ck_assert_uint_eq(type, NBD_CHUNK_OFFSET_HOLE);
			hear(header, 4);
			length = nbd_get32(header);
			memset(back + at + got, 0, length);
		}
	}
	ck_assert_uint_eq(got, sizeof(page) - 2 * at);
	ck_assert_mem_eq(back + at, page + at, got);
	end();
}
END_TEST

START_TEST(df_is_one_chunk)
{
	uint8_t header[NBD_CHUNK_SIZE + 8];

	begin(true);
	say_write(4096, 4096, 'x');
	say_request(NBD_CMD_READ, NBD_CMD_FLAG_DF, 0, 5 * 4096);
	send_words();
	ck_assert_uint_eq(hear_simple(), 0);
	hear(header, sizeof(header));
	ck_assert_uint_eq(nbd_get16(header + 4), NBD_CHUNK_DONE);
	ck_assert_uint_eq(nbd_get16(header + 6), NBD_CHUNK_OFFSET_DATA);
	ck_assert_uint_eq(nbd_get32(header + 16), 8 + 5 * 4096);
	skip_heard(5 * 4096);
	end();
}
END_TEST

START_TEST(simple_replies_to_those_who_want_no_others)
{
	uint8_t page[4096];

	begin(false);
	say_write(100, 4096, 'y');
	say_request(NBD_CMD_READ, 0, 100, 4096);
	say_request(NBD_CMD_READ, 0, SIZE, 1);
	say_request(NBD_CMD_BLOCK_STATUS, 0, 0, 4096);
	send_words();
	ck_assert_uint_eq(hear_simple(), 0);
	ck_assert_uint_eq(hear_simple(), 0);
	hear(page, sizeof(page));
	ck_assert_uint_eq(page[0], 'y');
	ck_assert_uint_eq(page[4095], 'y');
	ck_assert_uint_eq(hear_simple(), NBD_EINVAL);
	ck_assert_uint_eq(hear_simple(), NBD_EINVAL);
	end();
}
END_TEST

START_TEST(block_status_in_golden_bytes)
{
	uint8_t golden[NBD_CHUNK_SIZE + 4 + 3 * 8], *to = golden;

	begin(true);
	say_write(4096, 8192, 'z');
	say_request(NBD_CMD_BLOCK_STATUS, 0, 0, SIZE);
	say_request(NBD_CMD_BLOCK_STATUS, NBD_CMD_FLAG_REQ_ONE, 4096, 5000);
	send_words();
	ck_assert_uint_eq(hear_simple(), 0);
	to = nbd_put_chunk(to, NBD_CHUNK_DONE, NBD_CHUNK_BLOCK_STATUS, 0xc00c1e,
			   4 + 3 * 8);
	to = nbd_put32(to, NBD_CONTEXT_ALLOCATION_ID);
	to = nbd_put32(to, 4096);
	to = nbd_put32(to, NBD_STATE_HOLE | NBD_STATE_ZERO);
	to = nbd_put32(to, 8192);
	to = nbd_put32(to, 0);
	to = nbd_put32(to, SIZE - 3 * 4096);
	nbd_put32(to, NBD_STATE_HOLE | NBD_STATE_ZERO);
	hear_just(golden, sizeof(golden));
	to = nbd_put_chunk(golden, NBD_CHUNK_DONE, NBD_CHUNK_BLOCK_STATUS,
			   0xc00c1e, 4 + 8);
	to = nbd_put32(to, NBD_CONTEXT_ALLOCATION_ID);
	to = nbd_put32(to, 5000);
	nbd_put32(to, 0);
	hear_just(golden, NBD_CHUNK_SIZE + 4 + 8);
	end();
}
END_TEST

START_TEST(errors_reach_the_request_they_are_of)
{
	uint8_t wire[NBD_CHUNK_SIZE + 14];

	begin(true);
	say_write(4096, 4096, 'z');
	say_request(NBD_CMD_READ, 0, 1ull << 63, 4096);
	say_request(NBD_CMD_READ, 0, SIZE - 1, 2);
	say_write(SIZE - 1, 2, 'z');
	say_request(NBD_CMD_TRIM, 0, SIZE, 1);
	say_request(77, 0, 0, 0);
	say_request(NBD_CMD_READ, NBD_CMD_FLAG_FAST_ZERO, 0, 1);
	/* Cannot be faster than writing zeros. */
	say_request(NBD_CMD_WRITE_ZEROES,
		    NBD_CMD_FLAG_NO_HOLE | NBD_CMD_FLAG_FAST_ZERO, 0, 4096);
	send_words();
	ck_assert_uint_eq(hear_simple(), 0);
	ck_assert_uint_eq(hear_error(), NBD_EINVAL);
	ck_assert_uint_eq(hear_error(), NBD_EINVAL);
	ck_assert_uint_eq(hear_error(), NBD_ENOSPC);
	ck_assert_uint_eq(hear_error(), NBD_EINVAL);
	ck_assert_uint_eq(hear_error(), NBD_EINVAL);
	ck_assert_uint_eq(hear_error(), NBD_EINVAL);
	ck_assert_uint_eq(hear_simple(), NBD_ENOTSUP);
	/* A page that is lost: where it is. */
	test_array_pool_lose(scene.pool, 1);
	say_request(NBD_CMD_READ, 0, 0, 3 * 4096);
	send_words();
	hear(wire, sizeof(wire));
	ck_assert_uint_eq(nbd_get16(wire + 6), NBD_CHUNK_ERROR_OFFSET);
	ck_assert_uint_eq(nbd_get32(wire + 20), NBD_EIO);
	ck_assert_uint_eq(nbd_get64(wire + 26), 4096);
	/* No room: that request, and no other. */
	test_array_pool_refuse(scene.pool, 9, true);
	say_write(9 * 4096, 4096, 'n');
	say_write(10 * 4096, 4096, 'n');
	send_words();
	ck_assert_uint_eq(hear_simple(), NBD_ENOSPC);
	ck_assert_uint_eq(hear_simple(), 0);
	end();
}
END_TEST

START_TEST(read_only_device_is_not_written)
{
	scene.info.read_only = true;
	begin(true);
	say_write(0, 4096, 'r');
	say_request(NBD_CMD_TRIM, 0, 0, 4096);
	say_request(NBD_CMD_WRITE_ZEROES, 0, 0, 4096);
	say_request(NBD_CMD_FLUSH, 0, 0, 0);
	send_words();
	ck_assert_uint_eq(hear_error(), NBD_EPERM);
	ck_assert_uint_eq(hear_error(), NBD_EPERM);
	ck_assert_uint_eq(hear_error(), NBD_EPERM);
	ck_assert_uint_eq(hear_simple(), 0);
	ck_assert_uint_eq(test_array_pool_puts(scene.pool), 1); /* record */
	end();
}
END_TEST

/* Hostile clients --------------------------------------------------------- */

/** A payload that is too large is not believed, but its end is found. */
START_TEST(oversized_write_is_drained)
{
	uint32_t length = NBD_PAYLOAD_MAX + 1, sent, n;

	begin(true);
	say_request(NBD_CMD_WRITE, 0, 0, length);
	send_words();
	for (sent = 0; sent < length; sent += n) {
		n = length - sent < MIB ? length - sent : MIB;
		words.length = n;
		send_words();
	}
	say_request(NBD_CMD_FLUSH, 0, 0, 0);
	send_words();
	ck_assert_uint_eq(hear_error(), NBD_ENOSPC);
	ck_assert_uint_eq(hear_simple(), 0);
	end();
}
END_TEST

/** First words that no client of the protocol says. */
static const struct {
	const char *bytes;
	size_t length;
} garbage[] = {
	/* HTTP, oldstyle flags, unknown flags, no fixed newstyle */
	{"GET / HTTP/1.1\r\n\r\n", 18},
	{"\0\0\0\0", 4},
	{"\0\0\0\5", 4},
	{"\xff\xff\xff\xff", 4},
	/* an option with another magic */
	{"\0\0\0\3IHAVENOT\0\0\0\7\0\0\0\0", 20},
	/* an option of 64 KiB and a byte, and one of 4 GiB */
	{"\0\0\0\3IHAVEOPT\0\0\0\7\0\1\0\1", 20},
	{"\0\0\0\3IHAVEOPT\0\0\0\7\xff\xff\xff\xff", 20},
	/* an export that there is not, with no way to say so */
	{"\0\0\0\3IHAVEOPT\0\0\0\1\0\0\0\4none", 24},
};

START_TEST(garbage_is_dropped)
{
	test_nbd_server_start(&server, &scene, 0);
	say(garbage[_i].bytes, garbage[_i].length);
	send_words();
	skip_heard(NBD_GREETING_SIZE);
	hear_end();
	ck_assert_int_eq(test_nbd_server_join(&server), -EPROTO);
}
END_TEST

START_TEST(garbage_request_is_dropped)
{
	begin(true);
	words.length = 4096;
	memset(words.bytes, 0x5a, words.length);
	send_words();
	hear_end();
	ck_assert_int_eq(test_nbd_server_join(&server), -EPROTO);
}
END_TEST

START_TEST(endless_options_are_dropped)
{
	int i;

	test_nbd_server_start(&server, &scene, 0);
	say32(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
	for (i = 0; i < 1000; i++)
		say_option(NBD_OPT_LIST, "", 0);
	send_words();
	hear_out();
	ck_assert_int_eq(test_nbd_server_join(&server), -EPROTO);
}
END_TEST

START_TEST(slow_handshake_is_dropped)
{
	test_nbd_server_start(&server, &scene, 50);
	say32(NBD_FLAG_FIXED_NEWSTYLE);
	words.length--;
	send_words();
	skip_heard(NBD_GREETING_SIZE);
	hear_end();
	ck_assert_int_eq(test_nbd_server_join(&server), -ETIMEDOUT);
}
END_TEST

/** A client that vanishes after any number of bytes leaves a device as its
 * last whole request made it. */
START_TEST(vanishing_at_every_byte)
{
	size_t total, whole, n;
	uint8_t page[4096];
	uint64_t bad;

	say_hello();
	say_write(4096, 300, 'v');
	whole = words.length;
	say_request(NBD_CMD_READ, 0, 0, 3 * 4096);
	say_request(NBD_CMD_BLOCK_STATUS, 0, 0, SIZE);
	say_request(NBD_CMD_WRITE_ZEROES, 0, 4096, 4096);
	total = words.length;
	for (n = 0; n <= total; n++) {
		test_nbd_server_start(&server, &scene, 0);
		words.length = n;
		send_words();
		if (n % 2) {
			/* Only stops talking. */
			shutdown(server.client_fd, SHUT_WR);
			hear_out();
		}
		ck_assert_int_lt(test_nbd_server_join(&server), 0);
		ck_assert_int_eq(nbd_access_read(scene.device, &scene.io, 4096,
						 sizeof(page), page, &bad),
				 0);
		if (n % 2)
			ck_assert_uint_eq(page[0],
					  n >= whole && n < total ? 'v' : 0);
		ck_assert_int_eq(nbd_access_zero(scene.device, &scene.io, 0,
						 SIZE, NBD_ZERO_HOLE),
				 0);
	}
}
END_TEST

static void add(Suite *suite, const char *name, const TTest **tests,
		unsigned count)
{
	TCase *tc = tcase_create(name);
	unsigned i;

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, set_up, tear_down);
	for (i = 0; i < count; i++)
		tcase_add_test(tc, tests[i]);
	if (tests[0] == read_in_golden_bytes)
		tcase_add_loop_test(tc, holes_and_data_in_any_order, 0, 64);
	if (tests[0] == oversized_write_is_drained)
		tcase_add_loop_test(tc, garbage_is_dropped, 0,
				    sizeof(garbage) / sizeof(*garbage));
	suite_add_tcase(suite, tc);
}

int main(void)
{
	const TTest *handshake[] = {
		hello_is_answered_in_golden_bytes,
		export_name_with_and_without_zeroes,
		options_are_answered,
		lying_lengths_are_refused,
	};
	const TTest *transmission[] = {
		read_in_golden_bytes,
		df_is_one_chunk,
		simple_replies_to_those_who_want_no_others,
		block_status_in_golden_bytes,
		errors_reach_the_request_they_are_of,
		read_only_device_is_not_written,
	};
	const TTest *hostile[] = {
		oversized_write_is_drained,  garbage_request_is_dropped,
		endless_options_are_dropped, slow_handshake_is_dropped,
		vanishing_at_every_byte,
	};
	Suite *suite = suite_create("NBD connection");
	SRunner *runner;
	int failed;

	add(suite, "handshake", handshake, 4);
	add(suite, "transmission", transmission, 6);
	add(suite, "hostile clients", hostile, 5);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
