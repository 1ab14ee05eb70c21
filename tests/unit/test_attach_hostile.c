/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Attached clients beside others that are killed at work, overwrite their
 * rings, or send nonsense: nothing of it is seen by those who behave.
 */
#include <check.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include "attach-scene.h"
#include "message.h"
#include "pages.h"
#include "random.h"
#include "ring.h"

/* In a child: attach and use a pool until killed. */
static pid_t start_victim(void)
{
	static struct user users[3];
	int ready[2];
	char byte;
	pid_t pid;

	ck_assert_int_eq(pipe(ready), 0);
	pid = fork();
	if (pid > 0) {
		close(ready[1]);
		ck_assert_int_eq(read(ready[0], &byte, 1), 1);
		close(ready[0]);
		return pid;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	start_users(users, 3, open_pool(attach("two"), "e", 0), false,
		    UINT32_MAX);
	wait_for_hits(users, 3);
	if (write(ready[1], "x", 1) != 1)
		_exit(1);
	join_users(users, 3);
	_exit(0);
}

START_TEST(killed_clients_leave_others_alone)
{
	static struct user users[2];
	struct tmem_client *client = attach("one");
	struct tmem_pool *keep = open_pool(client, "p", TMEM_POOL_PERSISTENT);
	unsigned i;
	pid_t pid;

	for (i = 0; i < 10; i++) {
		/* Attaches at once under the name of the one just killed. */
		pid = start_victim();
		start_users(users, 2, keep, true, 100);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		join_users(users, 2);
		ck_assert(!users[0].disconnected && !users[1].disconnected);
		tmem_flush_object(keep, &users[0].oid);
		tmem_flush_object(keep, &users[1].oid);
	}
	tmem_pool_free(keep);
	tmem_client_free(client);
}
END_TEST

/* Attach without the library. Returns the connection; *ring is mapped. */
static int attach_raw(struct tmem_ring **ring)
{
	json_t *request = tmem_message_request("attach");
	struct tmem_message reply;
	int conn = tmem_message_connect(server.path, PATIENCE);

	ck_assert_int_ge(conn, 0);
	json_object_set_new(request, "name", json_string("two"));
	ck_assert_int_eq(
		tmem_message_call(conn, request, NULL, 0, &reply, PATIENCE), 0);
	*ring = mmap(NULL, sizeof(**ring), PROT_READ | PROT_WRITE, MAP_SHARED,
		     reply.fd[0], 0);
	ck_assert_ptr_ne(*ring, MAP_FAILED);
	tmem_message_deinit(&reply);
	json_decref(request);
	return conn;
}

/* Write nonsense, likely nonsense, and requests that are nearly right, all
 * over a ring, and look for bytes that are not this client's. */
static bool attack(struct tmem_ring *ring, uint64_t seed, unsigned rounds)
{
	volatile uint64_t *word = (volatile uint64_t *)ring;
	struct test_random random;
	uint64_t r, at;
	unsigned slot;
	bool leaked = false;

	test_random_init(&random, seed);
	while (rounds--) {
		r = test_random_next(&random);
		slot = (unsigned)(r >> 32) % TMEM_RING_SLOTS;
		if (r & 1) {
			at = test_random_next(&random) %
			     (r & 2 ? 12288 / 8 : sizeof(*ring) / 8);
			word[at] = test_random_next(&random);
			continue;
		}
		ring->slot[slot].request = (struct tmem_ring_request){
			.op = (uint32_t)(r >> 40) % 6,
			.pool = (uint32_t)(r >> 44) % 4,
			.oid = {{1000, (r >> 48) % 3, 0}},
			.index = (uint32_t)(r >> 52) % 300,
			.count = (r >> 20) % (r & 4 ? 260 : 3),
		};
		atomic_store(&ring->slot[slot].state,
			     r & 8 ? TMEM_RING_REQUEST : TMEM_RING_SLEEPING);
		atomic_fetch_or(&ring->header.bell, 1u << slot);
		tmem_ring_wake(&ring->header.bell, 1);
		/* An honest client's pages have their seed in front. */
		at = test_page_seed(ring->buffer[slot]);
		leaked |= at >= 1000000 && at < 4000000;
	}
	return leaked;
}

static void attack_child(uint64_t seed)
{
	struct tmem_message reply;
	struct tmem_ring *ring;
	json_t *open = tmem_message_request("pool-open");
	int conn = attach_raw(&ring);
	bool leaked;

	json_object_set_new(open, "flags", json_integer(0));
	json_object_set_new(open, "name", json_string("e"));
	ck_assert_int_eq(
		tmem_message_call(conn, open, NULL, 0, &reply, PATIENCE), 0);
	tmem_message_deinit(&reply);
	json_object_set_new(open, "name", json_string("p"));
	json_object_set_new(open, "flags", json_integer(TMEM_POOL_PERSISTENT));
	ck_assert_int_eq(
		tmem_message_call(conn, open, NULL, 0, &reply, PATIENCE), 0);
	leaked = attack(ring, seed, 300000);
	_exit(leaked ? 2 : 0);
}

START_TEST(attacking_client_harms_only_itself)
{
	static struct user users[3];
	struct tmem_client *client = attach("one");
	struct tmem_pool *keep = open_pool(client, "p", TMEM_POOL_PERSISTENT);
	uint64_t seed = test_seed();
	unsigned i;
	int status;
	pid_t pid;

	for (i = 0; i < 3; i++) {
		pid = fork();
		if (pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			attack_child(seed + i);
		}
		do {
			start_users(users, 3, keep, true, 50);
			join_users(users, 3);
			ck_assert(!users[0].disconnected);
			verify_users(users, 3, keep);
			tmem_flush_object(keep, &users[0].oid);
			tmem_flush_object(keep, &users[1].oid);
			tmem_flush_object(keep, &users[2].oid);
		} while (waitpid(pid, &status, WNOHANG) == 0);
		ck_assert_int_eq(status, 0);
	}
	tmem_pool_free(keep);
	tmem_client_free(client);
}
END_TEST

static const char *const bad_messages[] = {
	"garbage\n",
	"{}\n",
	"{\"tmem\":2,\"op\":\"pool-open\"}\n",
	"{\"tmem\":1,\"op\":\"attach\",\"name\":\"again\"}\n",
	"{\"tmem\":1,\"op\":\"set\",\"budget\":1}\n",
	"{\"tmem\":1,\"op\":\"pool-open\"}\n",
	"{\"tmem\":1,\"op\":\"pool-open\",\"name\":\"/\",\"flags\":0}\n",
	"{\"tmem\":1,\"op\":\"pool-open\",\"name\":\"x\",\"flags\":-1}\n",
	"{\"tmem\":1,\"op\":\"pool-open\",\"name\":\"x\",\"flags\":4294967296}\n",
	"{\"tmem\":1,\"op\":\"pool-open\",\"name\":\"x\",\"flags\":0,\"codec\":99}\n",
	"{\"tmem\":1,\"op\":\"pool-open\",\"name\":\"x\",\"flags\":0,\"dedup\":-1}\n",
	"{\"tmem\":1,\"op\":\"pool-open\",\"name\":\"x\",\"flags\":2,\"uuid\":\"1\"}\n",
	"{\"tmem\":1,\"op\":\"pool-close\"}\n",
	"{\"tmem\":1,\"op\":\"pool-close\",\"pool\":0}\n",
	"{\"tmem\":1,\"op\":\"pool-destroy\",\"pool\":-1}\n",
	"{\"tmem\":1,\"op\":\"pool-stats\",\"pool\":64}\n",
	"{\"tmem\":1,\"op\":\"pool-stats\",\"pool\":18446744073709551616}\n",
};

START_TEST(bad_message_is_an_error_for_its_sender)
{
	struct tmem_client *client = attach("one");
	struct tmem_pool *keep = open_pool(client, "p", TMEM_POOL_PERSISTENT);
	const char *text = bad_messages[_i];
	struct tmem_message reply = TMEM_MESSAGE_INIT;
	struct tmem_ring *ring;
	int conn = attach_raw(&ring);

	put(keep, 1, 1);
	ck_assert_int_eq(write(conn, text, strlen(text)), strlen(text));
	/* Refused, or hung up on. */
	if (tmem_message_receive(conn, &reply, PATIENCE) == 0)
		ck_assert(json_is_false(json_object_get(reply.json, "ok")));
	tmem_message_deinit(&reply);
	munmap(ring, sizeof(*ring));
	close(conn);
	expect(keep, 1, 1);
	tmem_pool_free(keep);
	tmem_client_free(client);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("attach-hostile");
	TCase *tests = tcase_create("attach-hostile");
	SRunner *runner = srunner_create(suite);
	int failed;

	suite_add_tcase(suite, tests);
	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_set_timeout(tests, 0); /* meson has one */
	tcase_add_test(tests, killed_clients_leave_others_alone);
	tcase_add_test(tests, attacking_client_harms_only_itself);
	tcase_add_loop_test(tests, bad_message_is_an_error_for_its_sender, 0,
			    sizeof(bad_messages) / sizeof(bad_messages[0]));
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
