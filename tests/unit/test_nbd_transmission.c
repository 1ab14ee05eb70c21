/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests and replies over a socket: byte by byte with clients that keep to
 * the protocol, and with those that lie, or vanish at any byte. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include "access.h"
#include "array-pool.h"
#include "nbd-client.h"

START_TEST(read_in_golden_bytes)
{
	uint8_t golden[28 + 4096 + 32 + 28 + 4096], *to = golden;

	client_begin(true);
	/* Page 0 and page 3 have data, 1 and 2 have none. */
	client_say_write(0, 4096, 'a');
	client_say_write(3 * 4096, 4096, 'b');
	client_say_request(NBD_CMD_READ, 0, 0, 4 * 4096);
	client_send();
	ck_assert_uint_eq(client_hear_simple(), 0);
	ck_assert_uint_eq(client_hear_simple(), 0);
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
	client_hear_just(golden, sizeof(golden));
	client_end();
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
			ck_assert_int_eq(nbd_access_write(client_scene.device,
							  &client_scene.io,
							  i * 4096, 4096,
							  page + i * 4096),
					 0);
	}
	client_begin(true);
	/* Not at a page's boundary: partial pages at both ends. */
	at = 1000 * (_i % 4);
	client_say_request(NBD_CMD_READ, 0, at, sizeof(page) - 2 * at);
	client_send();
	memset(back, 0xee, sizeof(back));
	for (got = 0, flags = 0; !(flags & NBD_CHUNK_DONE); got += length) {
		client_hear(header, sizeof(header));
		ck_assert_uint_eq(nbd_get32(header), NBD_CHUNK_MAGIC);
		flags = nbd_get16(header + 4);
		type = nbd_get16(header + 6);
		ck_assert_uint_eq(nbd_get64(header + NBD_CHUNK_SIZE), at + got);
		if (type == NBD_CHUNK_OFFSET_DATA) {
			length = nbd_get32(header + 16) - 8;
			client_hear(back + at + got, length);
		} else {
			ck_assert_uint_eq(type, NBD_CHUNK_OFFSET_HOLE);
			client_hear(header, 4);
			length = nbd_get32(header);
			memset(back + at + got, 0, length);
		}
	}
	ck_assert_uint_eq(got, sizeof(page) - 2 * at);
	ck_assert_mem_eq(back + at, page + at, got);
	client_end();
}
END_TEST

START_TEST(df_is_one_chunk)
{
	uint8_t header[NBD_CHUNK_SIZE + 8];

	client_begin(true);
	client_say_write(4096, 4096, 'x');
	client_say_request(NBD_CMD_READ, NBD_CMD_FLAG_DF, 0, 5 * 4096);
	client_send();
	ck_assert_uint_eq(client_hear_simple(), 0);
	client_hear(header, sizeof(header));
	ck_assert_uint_eq(nbd_get16(header + 4), NBD_CHUNK_DONE);
	ck_assert_uint_eq(nbd_get16(header + 6), NBD_CHUNK_OFFSET_DATA);
	ck_assert_uint_eq(nbd_get32(header + 16), 8 + 5 * 4096);
	client_skip(5 * 4096);
	client_end();
}
END_TEST

START_TEST(simple_replies_to_those_who_want_no_others)
{
	uint8_t page[4096];

	client_begin(false);
	client_say_write(100, 4096, 'y');
	client_say_request(NBD_CMD_READ, 0, 100, 4096);
	client_say_request(NBD_CMD_READ, 0, CLIENT_SIZE, 1);
	client_say_request(NBD_CMD_BLOCK_STATUS, 0, 0, 4096);
	client_send();
	ck_assert_uint_eq(client_hear_simple(), 0);
	ck_assert_uint_eq(client_hear_simple(), 0);
	client_hear(page, sizeof(page));
	ck_assert_uint_eq(page[0], 'y');
	ck_assert_uint_eq(page[4095], 'y');
	ck_assert_uint_eq(client_hear_simple(), NBD_EINVAL);
	ck_assert_uint_eq(client_hear_simple(), NBD_EINVAL);
	client_end();
}
END_TEST

START_TEST(block_status_in_golden_bytes)
{
	uint8_t golden[NBD_CHUNK_SIZE + 4 + 3 * 8], *to = golden;

	client_begin(true);
	client_say_write(4096, 8192, 'z');
	client_say_request(NBD_CMD_BLOCK_STATUS, 0, 0, CLIENT_SIZE);
	client_say_request(NBD_CMD_BLOCK_STATUS, NBD_CMD_FLAG_REQ_ONE, 4096,
			   5000);
	client_send();
	ck_assert_uint_eq(client_hear_simple(), 0);
	to = nbd_put_chunk(to, NBD_CHUNK_DONE, NBD_CHUNK_BLOCK_STATUS, 0xc00c1e,
			   4 + 3 * 8);
	to = nbd_put32(to, NBD_CONTEXT_ALLOCATION_ID);
	to = nbd_put32(to, 4096);
	to = nbd_put32(to, NBD_STATE_HOLE | NBD_STATE_ZERO);
	to = nbd_put32(to, 8192);
	to = nbd_put32(to, 0);
	to = nbd_put32(to, CLIENT_SIZE - 3 * 4096);
	nbd_put32(to, NBD_STATE_HOLE | NBD_STATE_ZERO);
	client_hear_just(golden, sizeof(golden));
	to = nbd_put_chunk(golden, NBD_CHUNK_DONE, NBD_CHUNK_BLOCK_STATUS,
			   0xc00c1e, 4 + 8);
	to = nbd_put32(to, NBD_CONTEXT_ALLOCATION_ID);
	to = nbd_put32(to, 5000);
	nbd_put32(to, 0);
	client_hear_just(golden, NBD_CHUNK_SIZE + 4 + 8);
	client_end();
}
END_TEST

START_TEST(errors_reach_the_request_they_are_of)
{
	uint8_t wire[NBD_CHUNK_SIZE + 14];

	client_begin(true);
	client_say_write(4096, 4096, 'z');
	client_say_request(NBD_CMD_READ, 0, 1ull << 63, 4096);
	client_say_request(NBD_CMD_READ, 0, CLIENT_SIZE - 1, 2);
	client_say_write(CLIENT_SIZE - 1, 2, 'z');
	client_say_request(NBD_CMD_TRIM, 0, CLIENT_SIZE, 1);
	client_say_request(77, 0, 0, 0);
	client_say_request(NBD_CMD_READ, NBD_CMD_FLAG_FAST_ZERO, 0, 1);
	/* Cannot be faster than writing zeros. */
	client_say_request(NBD_CMD_WRITE_ZEROES,
			   NBD_CMD_FLAG_NO_HOLE | NBD_CMD_FLAG_FAST_ZERO, 0,
			   4096);
	client_send();
	ck_assert_uint_eq(client_hear_simple(), 0);
	ck_assert_uint_eq(client_hear_error(), NBD_EINVAL);
	ck_assert_uint_eq(client_hear_error(), NBD_EINVAL);
	ck_assert_uint_eq(client_hear_error(), NBD_ENOSPC);
	ck_assert_uint_eq(client_hear_error(), NBD_EINVAL);
	ck_assert_uint_eq(client_hear_error(), NBD_EINVAL);
	ck_assert_uint_eq(client_hear_error(), NBD_EINVAL);
	ck_assert_uint_eq(client_hear_simple(), NBD_ENOTSUP);
	/* A page that is lost: where it is. */
	test_array_pool_lose(client_scene.pool, 1);
	client_say_request(NBD_CMD_READ, 0, 0, 3 * 4096);
	client_send();
	client_hear(wire, sizeof(wire));
	ck_assert_uint_eq(nbd_get16(wire + 6), NBD_CHUNK_ERROR_OFFSET);
	ck_assert_uint_eq(nbd_get32(wire + 20), NBD_EIO);
	ck_assert_uint_eq(nbd_get64(wire + 26), 4096);
	/* No room: that request, and no other. */
	test_array_pool_refuse(client_scene.pool, 9, true);
	client_say_write(9 * 4096, 4096, 'n');
	client_say_write(10 * 4096, 4096, 'n');
	client_send();
	ck_assert_uint_eq(client_hear_simple(), NBD_ENOSPC);
	ck_assert_uint_eq(client_hear_simple(), 0);
	client_end();
}
END_TEST

/* What is looked at ahead of time is answered in its turn. */
START_TEST(requests_that_arrive_together)
{
	uint8_t page[TMEM_PAGE_SIZE], golden[TMEM_PAGE_SIZE];

	client_begin(false);
	for (unsigned i = 0; i < 100; i++) {
		client_say_write(i % 50 * 4096, 4096, (uint8_t)i);
		if (i % 7 == 0)
			client_say_request(NBD_CMD_READ, 0, i % 50 * 4096,
					   4096);
		if (i % 31 == 0)
			client_say_write(CLIENT_SIZE, 4096, 'x');
	}
	client_send();
	for (unsigned i = 0; i < 100; i++) {
		ck_assert_uint_eq(client_hear_simple(), 0);
		if (i % 7 == 0) {
			ck_assert_uint_eq(client_hear_simple(), 0);
			client_hear(page, sizeof(page));
			memset(golden, (int)i, sizeof(golden));
			ck_assert_mem_eq(page, golden, sizeof(page));
		}
		if (i % 31 == 0)
			ck_assert_uint_eq(client_hear_simple(), NBD_ENOSPC);
	}
	client_end();
}
END_TEST

START_TEST(read_only_device_is_not_written)
{
	client_scene.info.read_only = true;
	client_begin(true);
	client_say_write(0, 4096, 'r');
	client_say_request(NBD_CMD_TRIM, 0, 0, 4096);
	client_say_request(NBD_CMD_WRITE_ZEROES, 0, 0, 4096);
	client_say_request(NBD_CMD_FLUSH, 0, 0, 0);
	client_send();
	ck_assert_uint_eq(client_hear_error(), NBD_EPERM);
	ck_assert_uint_eq(client_hear_error(), NBD_EPERM);
	ck_assert_uint_eq(client_hear_error(), NBD_EPERM);
	ck_assert_uint_eq(client_hear_simple(), 0);
	ck_assert_uint_eq(test_array_pool_puts(client_scene.pool),
			  1); /* record */
	client_end();
}
END_TEST

/* Hostile clients --------------------------------------------------------- */

/** A payload that is too large is not believed, but its end is found. */
START_TEST(oversized_write_is_drained)
{
	uint32_t length = NBD_PAYLOAD_MAX + 1, sent, n;

	client_begin(true);
	client_say_request(NBD_CMD_WRITE, 0, 0, length);
	client_send();
	for (sent = 0; sent < length; sent += n) {
		n = length - sent < MIB ? length - sent : MIB;
		client_words.length = n;
		client_send();
	}
	client_say_request(NBD_CMD_FLUSH, 0, 0, 0);
	client_send();
	ck_assert_uint_eq(client_hear_error(), NBD_ENOSPC);
	ck_assert_uint_eq(client_hear_simple(), 0);
	client_end();
}
END_TEST

START_TEST(garbage_request_is_dropped)
{
	client_begin(true);
	client_words.length = 4096;
	memset(client_words.bytes, 0x5a, client_words.length);
	client_send();
	client_hear_end();
	ck_assert_int_eq(test_nbd_server_join(&client_server), -EPROTO);
}
END_TEST

/** Wait until the server has received all that was sent. */
static void wait_received(void)
{
	const struct timespec pause = {.tv_nsec = 1000000};
	int left = 1;

	while (left) {
		ck_assert_int_eq(
			ioctl(client_server.server_fd, FIONREAD, &left), 0);
		nanosleep(&pause, NULL);
	}
}

/** A client in the middle of a payload, and one that takes no answers, hold no
 * lock, and no part of a payload is written. */
START_TEST(stalled_clients_hold_up_nobody)
{
	uint8_t page[4096];
	uint64_t bad;
	unsigned i;

	memset(page, 'o', sizeof(page));
	client_begin(true);
	client_say_write(0, 8192, 's');
	client_words.length--;
	client_send();
	wait_received();
	ck_assert_int_eq(nbd_access_write(client_scene.device, &client_scene.io,
					  0, sizeof(page), page),
			 0);
	ck_assert_int_eq(test_nbd_server_join(&client_server), -ECONNRESET);
	ck_assert_int_eq(nbd_access_read(client_scene.device, &client_scene.io,
					 0, sizeof(page), page, &bad),
			 0);
	ck_assert_uint_eq(page[0], 'o');
	ck_assert_uint_eq(page[4095], 'o');
	client_begin(false);
	for (i = 0; i < 64; i++)
		client_say_request(NBD_CMD_READ, 0, 0, CLIENT_SIZE);
	client_send();
	wait_received();
	ck_assert_int_eq(nbd_access_write(client_scene.device, &client_scene.io,
					  0, sizeof(page), page),
			 0);
	ck_assert_int_eq(test_nbd_server_join(&client_server), -ECONNRESET);
}
END_TEST

/** A client that vanishes after any number of bytes leaves a device as its
 * last whole request made it. */
START_TEST(vanishing_at_every_byte)
{
	size_t total, whole, n;
	uint8_t page[4096];
	uint64_t bad;

	client_say_hello();
	client_say_write(4096, 300, 'v');
	whole = client_words.length;
	client_say_request(NBD_CMD_READ, 0, 0, 3 * 4096);
	client_say_request(NBD_CMD_BLOCK_STATUS, 0, 0, CLIENT_SIZE);
	client_say_request(NBD_CMD_WRITE_ZEROES, 0, 4096, 4096);
	total = client_words.length;
	for (n = 0; n <= total; n++) {
		test_nbd_server_start(&client_server, &client_scene, 0);
		client_words.length = n;
		client_send();
		if (n % 2) {
			/* Only stops talking. */
			shutdown(client_server.client_fd, SHUT_WR);
			client_hear_out();
		}
		ck_assert_int_lt(test_nbd_server_join(&client_server), 0);
		ck_assert_int_eq(nbd_access_read(client_scene.device,
						 &client_scene.io, 4096,
						 sizeof(page), page, &bad),
				 0);
		if (n % 2)
			ck_assert_uint_eq(page[0],
					  n >= whole && n < total ? 'v' : 0);
		ck_assert_int_eq(nbd_access_zero(client_scene.device,
						 &client_scene.io, 0,
						 CLIENT_SIZE, NBD_ZERO_HOLE),
				 0);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("NBD transmission");
	TCase *replies = tcase_create("replies");
	TCase *hostile = tcase_create("hostile clients");
	SRunner *runner;
	int failed;

	tcase_set_timeout(replies, 60);
	tcase_add_checked_fixture(replies, client_set_up, client_tear_down);
	tcase_add_test(replies, read_in_golden_bytes);
	tcase_add_loop_test(replies, holes_and_data_in_any_order, 0, 64);
	tcase_add_test(replies, df_is_one_chunk);
	tcase_add_test(replies, simple_replies_to_those_who_want_no_others);
	tcase_add_test(replies, block_status_in_golden_bytes);
	tcase_add_test(replies, errors_reach_the_request_they_are_of);
	tcase_add_test(replies, requests_that_arrive_together);
	tcase_add_test(replies, read_only_device_is_not_written);
	suite_add_tcase(suite, replies);
	tcase_set_timeout(hostile, 60);
	tcase_add_checked_fixture(hostile, client_set_up, client_tear_down);
	tcase_add_test(hostile, oversized_write_is_drained);
	tcase_add_test(hostile, garbage_request_is_dropped);
	tcase_add_test(hostile, stalled_clients_hold_up_nobody);
	tcase_add_test(hostile, vanishing_at_every_byte);
	suite_add_tcase(suite, hostile);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
