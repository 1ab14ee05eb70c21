/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The overflow file: its header byte by byte, foreign files, holes, and disks
 * that are full or lose what they had. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>
#include "nbd-scene.h"
#include "pages.h"

#define PAGES 1000u
#define SIZE  ((uint64_t)PAGES * TMEM_PAGE_SIZE)

static const struct nbd_overflow_header header = {
	.size = SIZE - 512,
	.generation = TEST_NBD_GENERATION,
	.device = {{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}},
};

static uint8_t *memory;
static struct nbd_overflow overflow;
static struct nbd_overflow_io io;
static int fd;

static void set_up(bool use_ring)
{
	test_pages_init();
	memory = aligned_alloc(TMEM_PAGE_SIZE,
			       (size_t)TMEM_RUN_MAX * TMEM_PAGE_SIZE);
	fd = test_nbd_file();
	ck_assert_int_eq(nbd_overflow_format(fd, &header), 0);
	nbd_overflow_init(&overflow, fd, header.size);
	nbd_overflow_io_init(&io, use_ring);
}

static void set_up_ring(void)
{
	set_up(true);
}

static void set_up_plain(void)
{
	set_up(false);
}

static void tear_down(void)
{
	nbd_overflow_io_deinit(&io);
	close(fd);
	free(memory);
}

/* The header -------------------------------------------------------------- */

START_TEST(header_to_golden_bytes)
{
	static const uint8_t golden[] = {
		't',  'm',  'e',  'm',	'-',  'o',  'v',  'f',	/* magic */
		0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, /* version */
		0x00, 0x7e, 0x3e, 0x00, 0x00, 0x00, 0x00, 0x00, /* size */
		0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, /* generation */
		0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, /* device */
		0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f,
	};
	/* XXH3_64bits of the above, as another program computed it. */
	static const uint8_t hash[] = {0xe1, 0x8f, 0xa9, 0x8a,
				       0xa0, 0x78, 0x48, 0x54};
	_Alignas(TMEM_PAGE_SIZE) uint8_t page[TMEM_PAGE_SIZE];
	unsigned i;

	ck_assert_int_eq(lseek(fd, 0, SEEK_END), SIZE + TMEM_PAGE_SIZE);
	ck_assert_int_eq(pread(fd, page, sizeof(page), SIZE), sizeof(page));
	ck_assert_mem_eq(page, golden, sizeof(golden));
	ck_assert_mem_eq(page + sizeof(golden), hash, sizeof(hash));
	for (i = sizeof(golden) + sizeof(hash); i < sizeof(page); i++)
		ck_assert_uint_eq(page[i], 0);
}
END_TEST

START_TEST(header_is_found_again)
{
	struct nbd_overflow_header found;

	ck_assert_int_eq(nbd_overflow_probe(fd, &found), 0);
	ck_assert_uint_eq(found.size, header.size);
	ck_assert_uint_eq(found.generation, header.generation);
	ck_assert_mem_eq(&found.device, &header.device, sizeof(header.device));
}
END_TEST

START_TEST(any_byte_of_the_header_counts)
{
	_Alignas(TMEM_PAGE_SIZE) uint8_t page[TMEM_PAGE_SIZE];
	struct nbd_overflow_header found;
	unsigned i;

	ck_assert_int_eq(pread(fd, page, sizeof(page), SIZE), sizeof(page));
	for (i = 0; i < 56; i++) {
		page[i] ^= 1;
		ck_assert_int_eq(pwrite(fd, page, sizeof(page), SIZE),
				 sizeof(page));
		ck_assert_int_eq(nbd_overflow_probe(fd, &found), -EMEDIUMTYPE);
		page[i] ^= 1;
	}
}
END_TEST

START_TEST(other_files_are_left_alone)
{
	struct nbd_overflow_header found;
	int other = test_nbd_file(), null = open("/dev/null", O_RDWR);

	ck_assert_int_eq(nbd_overflow_probe(other, &found), -ENODATA);
	ck_assert_int_eq(pwrite(other, "precious", 8, 0), 8);
	ck_assert_int_eq(nbd_overflow_probe(other, &found), -EMEDIUMTYPE);
	ck_assert_int_eq(ftruncate(other, 1 << 20), 0);
	ck_assert_int_eq(nbd_overflow_probe(other, &found), -EMEDIUMTYPE);
	ck_assert_int_eq(nbd_overflow_probe(null, &found), -EOPNOTSUPP);
	/* Ours, but longer: of another device, or damaged. */
	ck_assert_int_eq(ftruncate(fd, SIZE + 2 * TMEM_PAGE_SIZE), 0);
	ck_assert_int_eq(nbd_overflow_probe(fd, &found), -EMEDIUMTYPE);
	close(null);
	close(other);
}
END_TEST

START_TEST(two_servers_do_not_share_a_file)
{
	struct nbd_overflow_header found;
	char path[64];
	int again;

	ck_assert_int_eq(nbd_overflow_probe(fd, &found), 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, O_RDWR | O_CLOEXEC);
	ck_assert_int_ge(again, 0);
	ck_assert_int_eq(nbd_overflow_probe(again, &found), -EBUSY);
	/* What a keeper hands over twice is one open file. */
	ck_assert_int_eq(nbd_overflow_probe(fd, &found), 0);
	close(again);
}
END_TEST

static void *let_go(void *arg)
{
	poll(NULL, 0, 50);
	close(*(int *)arg);
	return NULL;
}

/** The kernel closes what a process that was killed is still writing to. */
START_TEST(file_of_a_killed_server_is_waited_for)
{
	struct nbd_overflow_header found;
	pthread_t thread;
	char path[64];
	int again;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, O_RDWR | O_CLOEXEC);
	ck_assert_int_ge(again, 0);
	ck_assert_int_eq(nbd_overflow_probe(again, &found), 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, let_go, &again), 0);
	ck_assert_int_eq(nbd_overflow_probe(fd, &found), 0);
	pthread_join(thread, NULL);
}
END_TEST

/** A disk that fails before the header is written. */
START_TEST(file_without_a_header_is_left_empty)
{
	int file = memfd_create("overflow", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct nbd_overflow_header found;

	ck_assert_int_eq(fcntl(file, F_ADD_SEALS, F_SEAL_WRITE), 0);
	ck_assert_int_eq(nbd_overflow_format(file, &header), -EPERM);
	ck_assert_int_eq(nbd_overflow_probe(file, &found), -ENODATA);
	close(file);
}
END_TEST

/* Slots ------------------------------------------------------------------- */

static struct nbd_segment segment_of(uint64_t page, uint32_t count,
				     uint32_t place)
{
	return (struct nbd_segment){
		.page = page,
		.count = count,
		.memory = memory + (size_t)place * TMEM_PAGE_SIZE,
	};
}

/** Every second page of the first 2n, as n segments, more than a ring holds. */
static unsigned scattered(struct nbd_segment *segments)
{
	unsigned i;

	for (i = 0; i < TMEM_RUN_MAX; i++)
		segments[i] = segment_of(2 * i, 1, i);
	return i;
}

START_TEST(scattered_slots_come_back)
{
	struct nbd_segment segments[TMEM_RUN_MAX];
	unsigned i, count = scattered(segments);

	for (i = 0; i < count; i++)
		test_page(segments[i].memory, i + 1);
	nbd_overflow_write(&overflow, &io, segments, count);
	memset(memory, 0, (size_t)count * TMEM_PAGE_SIZE);
	nbd_overflow_read(&overflow, &io, segments, count);
	for (i = 0; i < count; i++) {
		ck_assert_int_eq(segments[i].error, 0);
		ck_assert(test_page_is(segments[i].memory, i + 1));
	}
}
END_TEST

START_TEST(scan_finds_slots_and_no_holes)
{
	struct nbd_segment segments[] = {segment_of(0, 1, 0),
					 segment_of(100, 30, 1),
					 segment_of(PAGES - 1, 1, 40)};
	struct nbd_segment hole = segment_of(110, 10, 0);
	struct nbd_page_map map;
	unsigned left = 0;
	uint64_t page;

	memset(memory, 7, (size_t)TMEM_RUN_MAX * TMEM_PAGE_SIZE);
	nbd_overflow_write(&overflow, &io, segments, 3);
	ck_assert_int_eq(nbd_overflow_sync(&overflow, &io), 1);
	ck_assert_int_eq(nbd_overflow_sync(&overflow, &io), 0);
	ck_assert(overflow.can_punch);
	nbd_overflow_begin(&overflow, &io, NBD_PUNCH, &hole, 1, &left);
	while (left)
		nbd_overflow_reap(&overflow, &io, true);
	ck_assert_int_eq(hole.error, 0);
	ck_assert_int_eq(nbd_page_map_init(&map, PAGES, false), 0);
	ck_assert_int_eq(nbd_overflow_scan(&overflow, &map), 0);
	for (page = 0; page < PAGES; page++)
		ck_assert_msg(nbd_page_map_test(&map, page) ==
				      (page == 0 || page == PAGES - 1 ||
				       (page >= 100 && page < 110) ||
				       (page >= 120 && page < 130)),
			      "page %u", (unsigned)page);
	nbd_page_map_deinit(&map);
}
END_TEST

START_TEST(full_disk_is_an_error_of_its_segments)
{
	const struct rlimit limit = {500 * TMEM_PAGE_SIZE, RLIM_INFINITY};
	struct nbd_segment segments[] = {segment_of(10, 4, 0),
					 segment_of(600, 4, 10)};

	signal(SIGXFSZ, SIG_IGN);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	nbd_overflow_write(&overflow, &io, segments, 2);
	ck_assert_int_eq(segments[0].error, 0);
	ck_assert_int_eq(nbd_error_from_errno(segments[1].error), NBD_ENOSPC);
}
END_TEST

/** Slots that a truncation took must not come back as zeros when a write makes
 * the file longer again. */
START_TEST(truncated_file_is_an_error_for_good)
{
	struct nbd_segment segments[] = {segment_of(10, 4, 0),
					 segment_of(700, 4, 10)};

	nbd_overflow_write(&overflow, &io, segments, 2);
	ck_assert_int_eq(segments[0].error, 0);
	ck_assert_int_eq(ftruncate(fd, 5 * TMEM_PAGE_SIZE), 0);
	nbd_overflow_write(&overflow, &io, &segments[1], 1);
	ck_assert_int_eq(segments[1].error, -ESTALE);
	nbd_overflow_read(&overflow, &io, segments, 2);
	ck_assert_int_eq(segments[0].error, -ESTALE);
	ck_assert_int_eq(segments[1].error, -ESTALE);
}
END_TEST

START_TEST(failing_file_is_an_error_of_all_segments)
{
	struct nbd_segment segments[TMEM_RUN_MAX];
	unsigned i, count = scattered(segments);
	char path[64];
	int reader;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	reader = open(path, O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(dup2(reader, fd), fd);
	close(reader);
	nbd_overflow_write(&overflow, &io, segments, count);
	for (i = 0; i < count; i++)
		ck_assert_int_eq(segments[i].error, -EBADF);
}
END_TEST

static TCase *add_case(Suite *suite, const char *name, void (*setup)(void))
{
	TCase *tc = tcase_create(name);

	tcase_add_checked_fixture(tc, setup, tear_down);
	suite_add_tcase(suite, tc);
	tcase_add_test(tc, scattered_slots_come_back);
	tcase_add_test(tc, scan_finds_slots_and_no_holes);
	tcase_add_test(tc, full_disk_is_an_error_of_its_segments);
	tcase_add_test(tc, truncated_file_is_an_error_for_good);
	tcase_add_test(tc, failing_file_is_an_error_of_all_segments);
	return tc;
}

int main(void)
{
	Suite *suite = suite_create("NBD overflow file");
	SRunner *runner;
	TCase *tc;
	int failed;

	tc = add_case(suite, "with io_uring", set_up_ring);
	tcase_add_test(tc, header_to_golden_bytes);
	tcase_add_test(tc, header_is_found_again);
	tcase_add_test(tc, any_byte_of_the_header_counts);
	tcase_add_test(tc, other_files_are_left_alone);
	tcase_add_test(tc, two_servers_do_not_share_a_file);
	tcase_add_test(tc, file_of_a_killed_server_is_waited_for);
	tcase_add_test(tc, file_without_a_header_is_left_empty);
	add_case(suite, "without io_uring", set_up_plain);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
