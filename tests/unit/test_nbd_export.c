/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An export and its clients: those that are cut off at every byte of what they
 * say and of what they hear, crowds, the limits, the end. Whoever has left
 * leaves no descriptor and no memory behind. */
#include <check.h>
#include <dirent.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include "export.h"
#include "log.h"
#include "nbd-client.h"

#define CROWD 256u
#define SIZE  (CROWD * 4ull * TMEM_PAGE_SIZE)

static struct tmem_store *store;
static struct tmem_nbd_export *nbd;
static struct sockaddr_un address;
static uint64_t connected;

static void start(unsigned max_connections, unsigned handshake_ms)
{
	struct tmem_nbd_export_config config = {
		.name = "disk",
		.description = "a disk",
		.size = SIZE,
		.overflow_fd = -1,
		.store = store,
		.max_connections = max_connections,
		.handshake_ms = handshake_ms,
	};
	socklen_t length = sizeof(address);
	char why[512];

	config.listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	/* With a name that the kernel chooses, and no file. */
	address.sun_family = AF_UNIX;
	ck_assert_int_eq(bind(config.listen_fd, (struct sockaddr *)&address,
			      sizeof(sa_family_t)),
			 0);
	ck_assert_int_eq(getsockname(config.listen_fd,
				     (struct sockaddr *)&address, &length),
			 0);
	ck_assert_int_eq(listen(config.listen_fd, SOMAXCONN), 0);
	ck_assert_msg(!tmem_nbd_export_start(&config, &nbd, why, sizeof(why)),
		      "%s", why);
}

static void set_up(void)
{
	struct tmem_store_config config;

	/* Clients that are dropped are no news here. */
	tmem_log_set_level(LOG_CRIT);
	tmem_store_config_init(&config);
	config.budget = 32u << 20;
	ck_assert_int_eq(tmem_store_open(&config, &store), 0);
	memset(&address, 0, sizeof(address));
	client_words.length = 0;
}

static void tear_down(void)
{
	nbd = tmem_nbd_export_stop(nbd, false);
	store = tmem_store_close(store);
}

static int connect_to(void)
{
	const struct timeval patience = {.tv_sec = 60};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience,
				    sizeof(patience)),
			 0);
	/* The name ends where its address does. */
	ck_assert_int_eq(
		connect(fd, (struct sockaddr *)&address,
			(socklen_t)(offsetof(struct sockaddr_un, sun_path) +
				    6)),
		0);
	connected++;
	return fd;
}

static uint64_t stat_of(int stat)
{
	uint64_t values[TMEM_NBD_STAT_COUNT];

	tmem_nbd_export_stats(nbd, values);
	return values[stat];
}

static uint64_t open_descriptors(int unused)
{
	DIR *directory = opendir("/proc/self/fd");
	uint64_t count = 0;

	(void)unused;
	while (readdir(directory))
		count++;
	closedir(directory);
	return count;
}

/** Wait until a number is what it must come to. */
static void wait_for(uint64_t (*number)(int), int argument, uint64_t value)
{
	const struct timespec pause = {.tv_nsec = 1000000};
	unsigned i;

	for (i = 0; i < 60000 && number(argument) != value; i++)
		nanosleep(&pause, NULL);
	ck_assert_uint_eq(number(argument), value);
}

static size_t memory_in_use(void)
{
	struct mallinfo2 info = mallinfo2();

	return info.uordblks + info.hblkhd;
}

/** All that connected were accepted, and the last of them is gone. */
static void everybody_has_left(uint64_t descriptors)
{
	wait_for(stat_of, TMEM_NBD_STAT_accepted, connected);
	wait_for(stat_of, TMEM_NBD_STAT_connections, 0);
	wait_for(open_descriptors, 0, descriptors);
}

/** Everything there is to say, once: what it answers comes to some 2 KiB. */
static void say_all(void)
{
	static const uint8_t infos[] = {0, 0, 0, 0, 0, 4, 0,
					0, 0, 1, 0, 2, 0, 3};

	client_say32(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
	client_say_option(NBD_OPT_LIST, "", 0);
	client_say_option(NBD_OPT_INFO, infos, sizeof(infos));
	client_say_option(77, "what?", 5);
	client_say_option(NBD_OPT_STRUCTURED_REPLY, "", 0);
	client_say_option(NBD_OPT_LIST_META_CONTEXT, "\0\0\0\0\0\0\0\0", 8);
	client_say_option(NBD_OPT_SET_META_CONTEXT,
			  "\0\0\0\4disk\0\0\0\1\0\0\0\17base:allocation", 31);
	client_say_option(NBD_OPT_GO, infos, sizeof(infos));
	client_say_write(4096, 300, 'e');
	client_say_request(NBD_CMD_READ, 0, 3600, 1100);
	client_say_request(NBD_CMD_READ, NBD_CMD_FLAG_DF, 4000, 200);
	client_say_request(NBD_CMD_READ, 0, SIZE, 1);
	client_say_request(NBD_CMD_BLOCK_STATUS, 0, 0, 65536);
	client_say_request(NBD_CMD_CACHE, 0, 0, 4096);
	client_say_request(NBD_CMD_FLUSH, 0, 0, 0);
	client_say_request(NBD_CMD_WRITE_ZEROES, NBD_CMD_FLAG_FAST_ZERO, 0,
			   9000);
	client_say_request(NBD_CMD_TRIM, NBD_CMD_FLAG_FUA, 0, 65536);
	client_say_request(NBD_CMD_DISC, 0, 0, 0);
}

/** A client that says no more than said bytes of it, hears no more than heard
 * bytes of the answers, and leaves; or first stops talking, and waits for the
 * server to hang up. Returns how many bytes it heard. */
static size_t converse(size_t said, size_t heard, bool half)
{
	int fd = connect_to();
	uint8_t bytes[4096];
	size_t done, total;
	ssize_t n = 1;

	for (done = 0; done < said; done += (size_t)n) {
		n = send(fd, client_words.bytes + done, said - done,
			 MSG_NOSIGNAL);
		ck_assert_int_gt(n, 0);
	}
	if (half)
		ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
	for (total = 0, n = 1; n > 0 && total < heard; total += (size_t)n) {
		n = recv(fd, bytes,
			 heard - total < sizeof(bytes) ? heard - total
						       : sizeof(bytes),
			 0);
		/* The server has left words of ours unread. */
		if (n < 0)
			break;
	}
	close(fd);
	return total;
}

START_TEST(cut_off_at_every_byte)
{
	size_t all, n, before;
	uint64_t descriptors;

	start(0, 0);
	descriptors = open_descriptors(0);
	say_all();
	all = converse(client_words.length, SIZE_MAX, false);
	ck_assert_uint_gt(all, 1000);
	everybody_has_left(descriptors);
	before = memory_in_use();
	for (n = 0; n < client_words.length; n++) {
		/* Gone without hearing anything, or what there was to hear. */
		converse(n, 0, false);
		converse(n, SIZE_MAX, true);
	}
	for (n = 0; n < all; n++)
		converse(client_words.length, n, false);
	/* The whole is still answered as it was, but for the device that holds
	 * the byte of a write or does not. */
	ck_assert_uint_eq(converse(client_words.length, SIZE_MAX, false), all);
	everybody_has_left(descriptors);
	ck_assert_uint_lt(memory_in_use(), before + NBD_STREAM_MAX);
	ck_assert_uint_eq(stat_of(TMEM_NBD_STAT_dropped), 0);
}
END_TEST

/** Clients that vanish while the server sends them more than their socket
 * takes. */
START_TEST(cut_off_in_the_middle_of_an_answer)
{
	size_t whole, n;
	uint64_t at;

	start(0, 0);
	client_say_hello();
	for (at = 0; at < SIZE / 4; at += 65536)
		client_say_write(at, 65536, 'm');
	client_say_request(NBD_CMD_DISC, 0, 0, 0);
	converse(client_words.length, SIZE_MAX, false);
	client_words.length = 0;
	client_say_hello();
	client_say_request(NBD_CMD_READ, 0, 0, SIZE / 4);
	client_say_request(NBD_CMD_DISC, 0, 0, 0);
	whole = converse(client_words.length, SIZE_MAX, false);
	ck_assert_uint_gt(whole, SIZE / 4);
	for (n = 1; n < whole; n += 7919)
		converse(client_words.length, n, false);
	ck_assert_uint_eq(converse(client_words.length, SIZE_MAX, false),
			  whole);
	wait_for(stat_of, TMEM_NBD_STAT_connections, 0);
}
END_TEST

/* Crowds ------------------------------------------------------------------ */

/** A client of the crowd writes its pages, and reads those of its neighbour,
 * which wrote them before. */
struct member {
	int fd;
	unsigned number;
};

static void use(const struct member *member)
{
	client_server.client_fd = member->fd;
}

static void member_writes(const struct member *member, uint8_t byte)
{
	use(member);
	client_say_write(member->number * 4ull * TMEM_PAGE_SIZE,
			 4 * TMEM_PAGE_SIZE, byte);
	client_send();
}

static void member_reads(const struct member *member, uint8_t byte)
{
	uint64_t offset = (member->number + 1) % CROWD * 4ull * TMEM_PAGE_SIZE;
	uint8_t bytes[4 * TMEM_PAGE_SIZE];

	use(member);
	client_say_request(NBD_CMD_READ, NBD_CMD_FLAG_DF, offset,
			   sizeof(bytes));
	client_send();
	client_skip(NBD_CHUNK_SIZE + 8);
	client_hear(bytes, sizeof(bytes));
	ck_assert_uint_eq(bytes[0], byte);
	ck_assert_mem_eq(bytes, bytes + 1, sizeof(bytes) - 1);
}

START_TEST(crowd_is_served_and_sees_one_device)
{
	static struct member crowd[CROWD];
	uint64_t descriptors;
	unsigned i, round;

	start(CROWD, 0);
	descriptors = open_descriptors(0);
	for (i = 0; i < CROWD; i++) {
		crowd[i] = (struct member){connect_to(), i};
		use(&crowd[i]);
		client_say_hello();
		client_send();
	}
	for (i = 0; i < CROWD; i++) {
		use(&crowd[i]);
		client_skip(CLIENT_HELLO_ANSWER);
	}
	wait_for(stat_of, TMEM_NBD_STAT_connections, CROWD);
	/* One more is not. */
	client_server.client_fd = connect_to();
	client_hear_end();
	close(client_server.client_fd);
	connected--;
	wait_for(stat_of, TMEM_NBD_STAT_turned_away, 1);
	for (round = 1; round <= 3; round++) {
		for (i = 0; i < CROWD; i++)
			member_writes(&crowd[i], (uint8_t)(i % 50 + round));
		for (i = 0; i < CROWD; i++) {
			use(&crowd[i]);
			ck_assert_uint_eq(client_hear_simple(), 0);
		}
		for (i = 0; i < CROWD; i++)
			member_reads(&crowd[i],
				     (uint8_t)((i + 1) % CROWD % 50 + round));
	}
	for (i = 0; i < CROWD; i++)
		close(crowd[i].fd);
	everybody_has_left(descriptors);
	/* There is room again. */
	client_server.client_fd = connect_to();
	client_skip(NBD_GREETING_SIZE);
	close(client_server.client_fd);
}
END_TEST

/** Those that never begin are dropped after their time, and others are not. */
START_TEST(slow_handshakes_make_room)
{
	int slow[4], i;

	start(5, 200);
	client_server.client_fd = connect_to();
	client_say_hello();
	client_send();
	client_skip(CLIENT_HELLO_ANSWER);
	for (i = 0; i < 4; i++)
		slow[i] = connect_to();
	wait_for(stat_of, TMEM_NBD_STAT_dropped, 4);
	wait_for(stat_of, TMEM_NBD_STAT_connections, 1);
	client_say_request(NBD_CMD_FLUSH, 0, 0, 0);
	client_send();
	ck_assert_uint_eq(client_hear_simple(), 0);
	for (i = 0; i < 4; i++)
		close(slow[i]);
	close(client_server.client_fd);
}
END_TEST

/** What has arrived when the export stops is answered. */
START_TEST(requests_that_have_arrived_are_answered)
{
	unsigned i;

	start(0, 0);
	client_server.client_fd = connect_to();
	client_say_hello();
	client_send();
	client_skip(CLIENT_HELLO_ANSWER);
	for (i = 0; i < 100; i++)
		client_say_write(i * 4096, 4096, 's');
	client_send();
	nbd = tmem_nbd_export_stop(nbd, false);
	for (i = 0; i < 100; i++)
		ck_assert_uint_eq(client_hear_simple(), 0);
	client_hear_end();
	close(client_server.client_fd);
}
END_TEST

/** An export whose socket is a client's serves that one, and shuts the socket
 * down when it has left. */
START_TEST(only_client_is_served)
{
	struct tmem_nbd_export_config config = {.name = "disk",
						.size = SIZE,
						.overflow_fd = -1,
						.store = store};
	uint8_t byte;
	char why[512];
	int fds[2], copy;

	ck_assert_int_eq(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	config.listen_fd = fds[1];
	copy = dup(fds[1]);
	ck_assert_int_eq(tmem_nbd_export_start(&config, &nbd, why, sizeof(why)),
			 0);
	client_server.client_fd = fds[0];
	client_say_hello();
	client_say_request(NBD_CMD_DISC, 0, 0, 0);
	client_send();
	client_skip(CLIENT_HELLO_ANSWER);
	client_hear_end();
	ck_assert_int_eq(recv(copy, &byte, 1, 0), 0);
	close(copy);
	close(fds[0]);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("NBD export");
	TCase *cut = tcase_create("clients that are cut off");
	TCase *crowds = tcase_create("crowds, limits, the end");
	SRunner *runner;
	int failed;

	/* Of one arena, mallinfo2() tells all. */
	mallopt(M_ARENA_MAX, 1);
	tcase_add_checked_fixture(cut, set_up, tear_down);
	tcase_add_test(cut, cut_off_at_every_byte);
	tcase_add_test(cut, cut_off_in_the_middle_of_an_answer);
	suite_add_tcase(suite, cut);
	tcase_add_checked_fixture(crowds, set_up, tear_down);
	tcase_add_test(crowds, crowd_is_served_and_sees_one_device);
	tcase_add_test(crowds, slow_handshakes_make_room);
	tcase_add_test(crowds, requests_that_have_arrived_are_answered);
	tcase_add_test(crowds, only_client_is_served);
	suite_add_tcase(suite, crowds);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
