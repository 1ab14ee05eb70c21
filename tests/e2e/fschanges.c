/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Changes files in every way and reads them back through a mount:
 *
 *	fschanges LOWER MOUNT MODE ROUNDS SEED
 *
 * LOWER is the directory that MOUNT shows, MODE the mount's coherency. Every
 * page carries a stamp. Each writer owns some files, knows what each page of
 * them must hold, changes one of them beneath the mount or through it, and
 * then reads it through the mount in the ways for which MODE promises that the
 * change is seen. Meanwhile other threads read the same files all the time, so
 * that the store is filled at the worst moments. Any page that is not as it
 * must be ends the test with a message.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE	   4096
#define MOST_PAGES 512
#define FILES	   8 /* a writer's */
#define WRITERS	   2
#define READERS	   2
#define WORDS	   (PAGE / 8)

enum mode { STRICT, OPEN, EXCLUSIVE };

/* Ways to change a file. The last two make another file of that name. */
enum kind {
	WRITE_PAGES,
	WRITE_ALL, /* one large write: its change time is older than its bytes
		    */
	WRITE_TIME_BACK, /* and set the time of modification back */
	MAP_AND_SYNC,
	APPEND,
	TRUNCATE,
	EXTEND,
	PUNCH,
	IN_PLACE, /* kinds before are */
	RENAME_OVER = IN_PLACE,
	UNLINK_CREATE,
	KINDS,
};

static const char *const kind_names[] = {
	"write of some pages",
	"write of all pages",
	"write with the time set back",
	"store in a mapping, synced",
	"append",
	"truncation",
	"extension",
	"punched hole",
	"rename over",
	"unlink and create",
};

struct file {
	char name[32];
	uint64_t stamp[MOST_PAGES]; /* 0: a hole's zeros */
	unsigned pages;
	int held;     /* open on the mount all the time, O_DIRECT; or -1 */
	int buffered; /* the same, buffered */
};

struct writer {
	pthread_t thread;
	unsigned id, seed;
	struct file file[FILES];
	unsigned long changes[KINDS];
};

static const char *lower, *mount;
static enum mode mode;
static unsigned rounds;
static _Atomic(bool) done;
static struct writer writers[WRITERS];

static void die(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fprintf(stderr, "fschanges: ");
	vfprintf(stderr, format, args);
	fprintf(stderr, "\n");
	exit(1);
}

static long need(long rc, const char *what, const struct file *file)
{
	if (rc < 0)
		die("%s %s: %s", what, file->name, strerror(errno));
	return rc;
}

static unsigned pick(unsigned *seed, unsigned below)
{
	*seed = *seed * 1103515245u + 12345u;
	return (*seed >> 8) % below;
}

static void path_of(char path[static 4096], const char *dir,
		    const struct file *file, const char *suffix)
{
	snprintf(path, 4096, "%s/%s%s", dir, file->name, suffix);
}

static int open_file(const char *dir, const struct file *file, int flags)
{
	char path[4096];

	path_of(path, dir, file, "");
	return (int)need(open(path, flags | O_CLOEXEC, 0644), "open", file);
}

/* Stamps are never used twice; they are the truth that a page must show. */
static uint64_t new_stamp(void)
{
	static _Atomic(uint64_t) last;

	return ++last;
}

static void stamp_page(void *page, uint64_t stamp)
{
	for (unsigned i = 0; i < WORDS; i++)
		((uint64_t *)page)[i] = stamp;
}

static unsigned char *page_room(void)
{
	unsigned char *room = aligned_alloc(PAGE, MOST_PAGES * PAGE);

	if (!room)
		die("no memory");
	return room;
}

/* Reading ------------------------------------------------------------------*/

static void check(const struct file *file, const unsigned char *room, long n,
		  const char *change, const char *how)
{
	if (n != (long)file->pages * PAGE)
		die("%s after %s, %s: %ld bytes instead of %u", file->name,
		    change, how, n, file->pages * PAGE);
	for (unsigned i = 0; i < file->pages; i++)
		for (unsigned w = 0; w < WORDS; w++) {
			uint64_t got = ((const uint64_t *)(room + i * PAGE))[w];

			if (got != file->stamp[i])
				die("%s after %s, %s: page %u word %u holds %llu instead of %llu",
				    file->name, change, how, i, w,
				    (unsigned long long)got,
				    (unsigned long long)file->stamp[i]);
		}
}

static void read_and_check(const struct file *file, int fd, unsigned char *room,
			   const char *change, const char *how)
{
	check(file, room,
	      need(pread(fd, room, MOST_PAGES * PAGE, 0), "read", file), change,
	      how);
}

/* All reads for which the mode promises that a change is seen. In open mode,
 * who holds the file open buffered is promised nothing, and sees a new size
 * only once somebody opens the file, so what is held open is read last. */
static void verify(struct file *file, unsigned char *room, enum kind kind)
{
	const char *change = kind_names[kind];
	int fd;

	if (mode != OPEN && file->held >= 0)
		read_and_check(file, file->buffered, room, change, "read");
	fd = open_file(mount, file, O_RDONLY);
	read_and_check(file, fd, room, change, "opened and read");
	close(fd);
	fd = open_file(mount, file, O_RDONLY | O_DIRECT);
	read_and_check(file, fd, room, change, "opened and read directly");
	close(fd);
	if (file->held >= 0)
		read_and_check(file, file->held, room, change, "read directly");
}

/* Changing -----------------------------------------------------------------*/

static void write_range(struct file *file, int fd, unsigned char *room,
			unsigned first, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		file->stamp[first + i] = new_stamp();
		stamp_page(room + i * PAGE, file->stamp[first + i]);
	}
	if (need(pwrite(fd, room, count * PAGE, first * PAGE), "write", file) !=
	    (long)count * PAGE)
		die("write %s: not all was written", file->name);
	if (first + count > file->pages)
		file->pages = first + count;
}

static void map_and_sync(struct file *file, int fd, unsigned page)
{
	unsigned char *map = mmap(NULL, file->pages * PAGE,
				  PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (map == MAP_FAILED)
		need(-1, "mmap", file);
	file->stamp[page] = new_stamp();
	stamp_page(map + page * PAGE, file->stamp[page]);
	need(msync(map, file->pages * PAGE, MS_SYNC), "msync", file);
	munmap(map, file->pages * PAGE);
}

static void set_pages(struct file *file, int fd, unsigned pages)
{
	need(ftruncate(fd, pages * PAGE), "truncate", file);
	for (unsigned i = file->pages; i < pages; i++)
		file->stamp[i] = 0;
	file->pages = pages;
}

static void write_time_back(struct file *file, int fd, unsigned char *room,
			    unsigned first)
{
	struct timespec times[2];
	struct stat st;

	need(fstat(fd, &st), "stat", file);
	write_range(file, fd, room, first, 1);
	times[0] = st.st_atim;
	times[1] = st.st_mtim;
	need(futimens(fd, times), "set the times of", file);
}

/* Another file under the same name. */
static void replace(struct file *file, const char *dir, unsigned char *room,
		    enum kind kind)
{
	char path[4096], new[4096];
	int fd;

	path_of(path, dir, file, "");
	path_of(new, dir, file, kind == RENAME_OVER ? ".new" : "");
	if (kind == UNLINK_CREATE)
		need(unlink(path), "unlink", file);
	fd = (int)need(open(new, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644),
		       "create", file);
	write_range(file, fd, room, 0, file->pages);
	close(fd);
	if (kind == RENAME_OVER)
		need(rename(new, path), "rename over", file);
}

static void change(struct writer *writer, struct file *file, const char *dir,
		   unsigned char *room, enum kind kind)
{
	unsigned first = pick(&writer->seed, file->pages);
	unsigned count = 1 + pick(&writer->seed, file->pages - first);
	int fd;

	if (kind >= IN_PLACE) {
		replace(file, dir, room, kind);
		return;
	}
	fd = open_file(dir, file, O_RDWR);
	switch (kind) {
	case WRITE_PAGES:
		write_range(file, fd, room, first, count);
		break;
	case WRITE_ALL:
		write_range(file, fd, room, 0, file->pages);
		break;
	case WRITE_TIME_BACK:
		write_time_back(file, fd, room, first);
		break;
	case MAP_AND_SYNC:
		map_and_sync(file, fd, first);
		break;
	case APPEND:
		if (file->pages < MOST_PAGES)
			write_range(file, fd, room, file->pages, 1);
		break;
	case TRUNCATE:
		set_pages(file, fd, 1 + first);
		break;
	case EXTEND:
		set_pages(file, fd,
			  file->pages + pick(&writer->seed,
					     MOST_PAGES - file->pages + 1));
		break;
	default: /* PUNCH */
		need(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			       first * PAGE, count * PAGE),
		     "punch", file);
		memset(&file->stamp[first], 0, count * sizeof(uint64_t));
	}
	close(fd);
}

/* Files with even numbers stay the same file, and are held open. */
static void set_up(struct writer *writer, unsigned char *room)
{
	for (unsigned i = 0; i < FILES; i++) {
		struct file *file = &writer->file[i];
		int fd;

		snprintf(file->name, sizeof(file->name), "changes-%u-%u",
			 writer->id, i);
		file->pages = 0;
		fd = open_file(lower, file, O_RDWR | O_CREAT | O_TRUNC);
		write_range(file, fd, room, 0, i < 2 ? MOST_PAGES : 1 + 8 * i);
		close(fd);
		file->held = file->buffered = -1;
		if (i % 2 == 0) {
			file->held =
				open_file(mount, file, O_RDONLY | O_DIRECT);
			file->buffered = open_file(mount, file, O_RDONLY);
		}
	}
}

static void *write_files(void *arg)
{
	struct writer *writer = arg;
	unsigned char *room = page_room();

	for (unsigned i = 0; i < rounds; i++) {
		struct file *file = &writer->file[pick(&writer->seed, FILES)];
		enum kind kind =
			pick(&writer->seed, file->held >= 0 ? IN_PLACE : KINDS);
		bool through = mode == EXCLUSIVE || pick(&writer->seed, 2);

		/* So that something is held, not all reads being of what has
		 * just changed. */
		if (pick(&writer->seed, 4) == 0)
			usleep(30000);
		change(writer, file, through ? mount : lower, room, kind);
		writer->changes[kind]++;
		verify(file, room, kind);
	}
	free(room);
	return NULL;
}

/* Read anything, in any way, and believe nothing. */
static void *read_files(void *arg)
{
	unsigned seed = *(unsigned *)arg;
	unsigned char *room = page_room();

	while (!done) {
		struct writer *writer = &writers[pick(&seed, WRITERS)];
		struct file *file = &writer->file[pick(&seed, FILES)];
		char path[4096];
		int fd;

		path_of(path, mount, file, "");
		/* The name may be missing just now. */
		fd = open(path, O_RDONLY | (pick(&seed, 2) ? O_DIRECT : 0));
		if (fd < 0)
			continue;
		for (unsigned i = 0; i < 4; i++) {
			unsigned first = pick(&seed, MOST_PAGES);

			if (pread(fd, room,
				  (1 + pick(&seed, MOST_PAGES - first)) * PAGE,
				  first * PAGE) < 0)
				die("read %s: %s", path, strerror(errno));
		}
		close(fd);
	}
	free(room);
	return NULL;
}

static enum mode parse_mode(const char *text)
{
	if (!strcmp(text, "strict"))
		return STRICT;
	if (!strcmp(text, "open"))
		return OPEN;
	if (!strcmp(text, "exclusive"))
		return EXCLUSIVE;
	die("no mode: %s", text);
	exit(2);
}

int main(int argc, char **argv)
{
	unsigned char *room = page_room();
	pthread_t reader[READERS];
	unsigned seeds[READERS], seed;

	if (argc != 6)
		die("usage: fschanges LOWER MOUNT MODE ROUNDS SEED");
	lower = argv[1];
	mount = argv[2];
	mode = parse_mode(argv[3]);
	rounds = (unsigned)strtoul(argv[4], NULL, 10);
	seed = (unsigned)strtoul(argv[5], NULL, 10);
	printf("seed %u\n", seed);
	for (unsigned i = 0; i < WRITERS; i++) {
		writers[i].id = i;
		writers[i].seed = seed * 31 + i;
		set_up(&writers[i], room);
	}
	for (unsigned i = 0; i < READERS; i++) {
		seeds[i] = seed * 37 + i;
		pthread_create(&reader[i], NULL, read_files, &seeds[i]);
	}
	for (unsigned i = 0; i < WRITERS; i++)
		pthread_create(&writers[i].thread, NULL, write_files,
			       &writers[i]);
	for (unsigned i = 0; i < WRITERS; i++)
		pthread_join(writers[i].thread, NULL);
	done = true;
	for (unsigned i = 0; i < READERS; i++)
		pthread_join(reader[i], NULL);
	for (unsigned k = 0; k < KINDS; k++)
		printf("%lu times: %s\n",
		       writers[0].changes[k] + writers[1].changes[k],
		       kind_names[k]);
	free(room);
	return 0;
}
