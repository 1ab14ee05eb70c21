/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "nbd-client.h"
#include <check.h>
#include <stdlib.h>
#include <sys/socket.h>

struct test_nbd_scene client_scene;
struct test_nbd_server client_server;
struct client_words client_words;

void client_set_up(void)
{
	test_nbd_scene_init(&client_scene, CLIENT_SIZE, -1);
	client_words.length = 0;
}

void client_tear_down(void)
{
	test_nbd_scene_deinit(&client_scene);
}

void client_say(const void *bytes, size_t length)
{
	memcpy(client_words.bytes + client_words.length, bytes, length);
	client_words.length += length;
}

void client_say32(uint32_t value)
{
	nbd_put32(client_words.bytes + client_words.length, value);
	client_words.length += 4;
}

void client_say_option(uint32_t option, const void *data, uint32_t length)
{
	nbd_put64(client_words.bytes + client_words.length, NBD_OPTION_MAGIC);
	client_words.length += 8;
	client_say32(option);
	client_say32(length);
	client_say(data, length);
}

void client_say_request(uint16_t type, uint16_t flags, uint64_t offset,
			uint32_t length)
{
	uint8_t *to = client_words.bytes + client_words.length;

	to = nbd_put32(to, NBD_REQUEST_MAGIC);
	to = nbd_put16(to, flags);
	to = nbd_put16(to, type);
	to = nbd_put64(to, 0xc00c1e);
	to = nbd_put64(to, offset);
	nbd_put32(to, length);
	client_words.length += NBD_REQUEST_SIZE;
}

void client_say_write(uint64_t offset, uint32_t length, uint8_t byte)
{
	client_say_request(NBD_CMD_WRITE, 0, offset, length);
	memset(client_words.bytes + client_words.length, byte, length);
	client_words.length += length;
}

void client_say_hello(void)
{
	static const uint8_t contexts[] = {
		0,   0,	  0,   4,   'd', 'i', 's', 'k', /* export */
		0,   0,	  0,   1,			/* queries */
		0,   0,	  0,   15,  'b', 'a', 's', 'e', ':', 'a',
		'l', 'l', 'o', 'c', 'a', 't', 'i', 'o', 'n',
	};

	client_say32(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
	client_say_option(NBD_OPT_STRUCTURED_REPLY, "", 0);
	client_say_option(NBD_OPT_SET_META_CONTEXT, contexts, sizeof(contexts));
	client_say_option(NBD_OPT_GO, "\0\0\0\0\0\0", 6);
}

void client_send(void)
{
	size_t done = 0;
	ssize_t n;

	while (done < client_words.length) {
		n = send(client_server.client_fd, client_words.bytes + done,
			 client_words.length - done, MSG_NOSIGNAL);
		if (n < 0)
			break; /* the server has hung up, as tests want it */
		done += (size_t)n;
	}
	client_words.length = 0;
}

void client_hear(void *to, size_t length)
{
	ssize_t n = 0;

	if (length)
		n = recv(client_server.client_fd, to, length, MSG_WAITALL);
	ck_assert_msg(n == (ssize_t)length, "heard %zd bytes, wanted %zu", n,
		      length);
}

void client_hear_just(const void *golden, size_t length)
{
	uint8_t *bytes = malloc(length);

	client_hear(bytes, length);
	ck_assert_mem_eq(bytes, golden, length);
	free(bytes);
}

void client_skip(size_t length)
{
	uint8_t *bytes = malloc(length);

	client_hear(bytes, length);
	free(bytes);
}

void client_hear_end(void)
{
	uint8_t byte;

	ck_assert_int_le(recv(client_server.client_fd, &byte, 1, 0), 0);
}

void client_hear_out(void)
{
	uint8_t bytes[4096];

	while (recv(client_server.client_fd, bytes, sizeof(bytes), 0) > 0)
		;
}

uint32_t client_hear_option(uint32_t option, uint8_t *data, uint32_t *length)
{
	uint8_t header[NBD_OPTION_REPLY_SIZE], rest[4096];

	client_hear(header, sizeof(header));
	ck_assert_uint_eq(nbd_get64(header), NBD_OPTION_REPLY_MAGIC);
	ck_assert_uint_eq(nbd_get32(header + 8), option);
	*length = nbd_get32(header + 16);
	ck_assert_uint_le(*length, sizeof(rest));
	client_hear(data ? data : rest, *length);
	return nbd_get32(header + 12);
}

uint32_t client_ask(uint32_t option, const void *data, uint32_t size)
{
	uint32_t length;

	client_say_option(option, data, size);
	client_send();
	return client_hear_option(option, NULL, &length);
}

uint32_t client_hear_simple(void)
{
	uint8_t wire[NBD_SIMPLE_REPLY_SIZE];

	client_hear(wire, sizeof(wire));
	ck_assert_uint_eq(nbd_get32(wire), NBD_SIMPLE_REPLY_MAGIC);
	ck_assert_uint_eq(nbd_get64(wire + 8), 0xc00c1e);
	return nbd_get32(wire + 4);
}

uint32_t client_hear_error(void)
{
	uint8_t wire[NBD_CHUNK_SIZE + 6];

	client_hear(wire, sizeof(wire));
	ck_assert_uint_eq(nbd_get32(wire), NBD_CHUNK_MAGIC);
	ck_assert_uint_eq(nbd_get16(wire + 4), NBD_CHUNK_DONE);
	ck_assert_uint_eq(nbd_get16(wire + 6), NBD_CHUNK_ERROR);
	return nbd_get32(wire + NBD_CHUNK_SIZE);
}

void client_begin(bool structured)
{
	test_nbd_server_start(&client_server, &client_scene, 0);
	if (structured) {
		client_say_hello();
		client_send();
		client_skip(CLIENT_HELLO_ANSWER);
		return;
	}
	client_say32(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
	client_say_option(NBD_OPT_EXPORT_NAME, "disk", 4);
	client_send();
	client_skip(NBD_GREETING_SIZE + NBD_EXPORT_NAME_SIZE);
}

void client_end(void)
{
	client_say_request(NBD_CMD_DISC, 0, 0, 0);
	client_send();
	client_hear_end();
	ck_assert_int_eq(test_nbd_server_join(&client_server), 0);
}
