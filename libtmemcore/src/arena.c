/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The arena's file (arena.h). Its first page is the header:
 *
 *      0  "tmemaren"
 *      8  version, state (1 being made, 2 ready)     2 x 32 bits
 *     16  generation                                 64 bits
 *     24  secret                                     64 bits
 *     32  capacity                                   64 bits
 *     40  offset and size of each part, in order     10 x 2 x 64 bits
 *    200  XXH3 of the 200 bytes before               64 bits
 *
 * all in the machine's byte order. The layout follows from the capacity alone,
 * so that a header whose parts are not what its capacity asks for is as wrong
 * as one whose checksum is. The header is written in single calls, which a
 * signal cannot cut: first as "being made", then, when the file has its
 * size, as "ready". A process that died between leaves a file that is
 * ours and empty; it is made again from the start.
 *
 * Each part has address space for the whole capacity, or for as many
 * records as the capacity could pay for; what is not in use is a hole.
 */
#include "arena.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>
#include "fault.h"

#define ARENA_VERSION 2u
#define PAGE	      4096u
#define PART_ALIGN    (64u << 10)
#define SLABS_ALIGN   (2u << 20) /* so that slabs may lie in huge pages */

enum { STATE_MAKING = 1, STATE_READY = 2 };

struct arena_header {
	char magic[8];
	uint32_t version;
	uint32_t state;
	uint64_t generation;
	uint64_t secret;
	uint64_t capacity;
	struct {
		uint64_t offset;
		uint64_t size;
	} part[TMEM_PART_COUNT];
	uint64_t checksum;
};
_Static_assert(sizeof(struct arena_header) == 208, "golden bytes");

static const char arena_magic[8] = {'t', 'm', 'e', 'm', 'a', 'r', 'e', 'n'};

static uint64_t round_up(uint64_t bytes, uint64_t unit)
{
	return (bytes + unit - 1) / unit * unit;
}

static uint64_t header_checksum(const struct arena_header *header)
{
	return XXH3_64bits(header, offsetof(struct arena_header, checksum));
}

/* Set all but generation, secret, state and checksum from capacity, a multiple
 * of PART_ALIGN. */
static void lay_out(struct arena_header *header, uint64_t capacity)
{
	/* Slabs fill at least half of their places; a content's place has room
	 * for so many. */
	const uint64_t slabs =
		capacity < TMEM_ARENA_MAX / 2 ? 2 * capacity : TMEM_ARENA_MAX;
	const uint64_t size[TMEM_PART_COUNT] = {
		[TMEM_PART_HEADER] = PAGE,
		[TMEM_PART_CLIENTS] =
			(uint64_t)TMEM_CLIENTS_MAX * TMEM_CLIENT_RECORD,
		[TMEM_PART_POOLS] = (uint64_t)TMEM_POOLS_MAX * TMEM_POOL_RECORD,
		[TMEM_PART_AUTHS] = (uint64_t)TMEM_AUTHS_MAX * TMEM_AUTH_RECORD,
		[TMEM_PART_SLABMAP] = round_up(slabs / PART_ALIGN, PAGE),
		[TMEM_PART_OBJECTS] = capacity,
		[TMEM_PART_LEAVES] = capacity,
		/* A content pays for both: 8 and 12 bytes. */
		[TMEM_PART_WORDS] = capacity / 2,
		[TMEM_PART_METAS] = capacity / 4 * 3,
		[TMEM_PART_SLABS] = slabs,
	};
	uint64_t end = 0;

	memset(header, 0, sizeof(*header));
	memcpy(header->magic, arena_magic, sizeof(header->magic));
	header->version = ARENA_VERSION;
	header->capacity = capacity;
	for (int i = 0; i < TMEM_PART_COUNT; i++) {
		end = round_up(end,
			       i == TMEM_PART_SLABS ? SLABS_ALIGN : PART_ALIGN);
		header->part[i].offset = end;
		header->part[i].size = size[i];
		end += size[i];
	}
}

static uint64_t file_size(const struct arena_header *header)
{
	return round_up(header->part[TMEM_PART_COUNT - 1].offset +
				header->part[TMEM_PART_COUNT - 1].size,
			PART_ALIGN);
}

static int write_header(int fd, struct arena_header *header, uint32_t state)
{
	ssize_t n;

	header->state = state;
	header->checksum = header_checksum(header);
	n = pwrite(fd, header, sizeof(*header), 0);
	if (n < 0)
		return -errno;
	return n == sizeof(*header) ? 0 : -ENOSPC;
}

/* Everything a file must be to be taken for an arena. */
static int validate_header(const struct arena_header *header, uint64_t size)
{
	struct arena_header want;

	if (memcmp(header->magic, arena_magic, sizeof(arena_magic)) != 0 ||
	    header->version != ARENA_VERSION ||
	    header->checksum != header_checksum(header))
		return -EBADMSG;
	if (header->capacity == 0 || header->capacity > TMEM_ARENA_MAX ||
	    header->capacity % PART_ALIGN != 0 || header->generation == 0)
		return -EBADMSG;
	if (header->state == STATE_MAKING)
		return 0;
	lay_out(&want, header->capacity);
	if (header->state != STATE_READY || size != file_size(&want) ||
	    memcmp(want.part, header->part, sizeof(want.part)) != 0)
		return -EBADMSG;
	return 0;
}

/* A signal interrupts the kernel's loop over pages: try again. */
static int allocate(int fd, uint64_t offset, uint64_t bytes)
{
	if (tmem_fault(TMEM_FAULT_FALLOCATE))
		return -ENOSPC;
	if (tmem_fault(TMEM_FAULT_IO))
		return -EIO;
	while (fallocate(fd, 0, (off_t)offset, (off_t)bytes) != 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}

static int punch(int fd, uint64_t offset, uint64_t bytes)
{
	if (tmem_fault(TMEM_FAULT_PUNCH))
		return -EIO;
	while (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			 (off_t)offset, (off_t)bytes) != 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}

/* Fill an empty file. */
static int make(int fd, uint64_t capacity, struct arena_header *header)
{
	uint64_t random[2] = {0};
	int r;

	lay_out(header, round_up(capacity, PART_ALIGN));
	while (random[0] == 0)
		/* Up to 256 bytes come whole. */
		if (getrandom(random, sizeof(random), 0) < 0 && errno != EINTR)
			return -errno;
	header->generation = random[0];
	header->secret = random[1];
	r = write_header(fd, header, STATE_MAKING);
	if (r == 0 && ftruncate(fd, (off_t)file_size(header)) != 0)
		r = -errno;
	if (r == 0)
		r = write_header(fd, header, STATE_READY);
	return r;
}

/* Read and judge the header of a file that is not empty. */
static int find(int fd, uint64_t size, struct arena_header *header)
{
	ssize_t n = pread(fd, header, sizeof(*header), 0);

	if (n < 0)
		return -errno;
	if (n != sizeof(*header))
		return -EBADMSG;
	return validate_header(header, size);
}

static int set_file_lock(int fd, short type)
{
	struct flock lock = {
		.l_type = type, .l_whence = SEEK_SET, .l_len = PAGE};

	if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
		return 0;
	return errno == EAGAIN || errno == EACCES ? -EBUSY : -errno;
}

static int map(struct tmem_arena *arena, int fd,
	       const struct arena_header *header, struct tmem_budget *budget)
{
	uint64_t size = file_size(header);
	void *base = mmap(NULL, size, PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_NORESERVE, fd, 0);

	if (base == MAP_FAILED)
		return -ENOMEM;
	/* Pages of clients have no business in a core dump. */
	(void)madvise(base, size, MADV_DONTDUMP);
	arena->fd = fd;
	arena->base = base;
	arena->size = size;
	for (int i = 0; i < TMEM_PART_COUNT; i++) {
		arena->part[i].offset = header->part[i].offset;
		arena->part[i].size = header->part[i].size;
	}
	arena->capacity = header->capacity;
	arena->generation = header->generation;
	arena->secret = header->secret;
	arena->budget = budget;
	return 0;
}

/* Map the arena found in a locked file. What it holds is charged whether or
 * not the budget has room: the store gets within it afterwards. */
static int reopen(struct tmem_arena *arena, int fd,
		  const struct arena_header *header, struct tmem_budget *budget)
{
	int r = map(arena, fd, header, budget);

	if (r < 0)
		return r;
	tmem_budget_charge(budget, PAGE);
	arena->reopened = true;
	return 0;
}

/* Make an arena in a locked file that is empty, and is again on failure. */
static int create(struct tmem_arena *arena, int fd, uint64_t capacity,
		  struct tmem_budget *budget)
{
	struct arena_header header = {0};
	int r;

	r = make(fd, capacity, &header);
	if (r == 0)
		r = map(arena, fd, &header, budget);
	if (r == 0 && !tmem_budget_try_charge(budget, PAGE)) {
		munmap(arena->base, arena->size);
		r = -ENOMEM;
	}
	if (r < 0 && ftruncate(fd, 0) != 0)
		return -errno;
	arena->reopened = false;
	return r;
}

static int open_locked(struct tmem_arena *arena, int fd, uint64_t capacity,
		       struct tmem_budget *budget)
{
	struct arena_header header;
	struct stat st;
	int r;

	if (fstat(fd, &st) != 0)
		return -errno;
	if (st.st_size == 0)
		return create(arena, fd, capacity, budget);
	r = find(fd, (uint64_t)st.st_size, &header);
	if (r < 0)
		return r;
	if (header.state == STATE_READY)
		return reopen(arena, fd, &header, budget);
	if (ftruncate(fd, 0) != 0)
		return -errno;
	return create(arena, fd, capacity, budget);
}

static bool is_usable(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	       (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDWR;
}

int tmem_arena_init(struct tmem_arena *arena, int fd, uint64_t capacity,
		    struct tmem_budget *budget)
{
	int own = -1, r;

	if (capacity == 0 || capacity > TMEM_ARENA_MAX)
		return -EINVAL;
	if (sysconf(_SC_PAGESIZE) != PAGE)
		return -EOPNOTSUPP;
	if (fd < 0) {
		fd = own = memfd_create("tmem-arena", MFD_CLOEXEC);
		if (fd < 0)
			return -errno;
	} else if (!is_usable(fd)) {
		return -EINVAL;
	}
	r = set_file_lock(fd, F_WRLCK);
	if (r == 0) {
		r = open_locked(arena, fd, capacity, budget);
		if (r < 0)
			(void)set_file_lock(fd, F_UNLCK);
	}
	if (r < 0 && own >= 0)
		close(own);
	return r;
}

void tmem_arena_deinit(struct tmem_arena *arena)
{
	munmap(arena->base, arena->size);
	/* Unlock: another descriptor of this opening may stay with the caller.
	 */
	(void)set_file_lock(arena->fd, F_UNLCK);
	close(arena->fd);
	arena->fd = -1;
}

static void assert_range(const struct tmem_arena *arena,
			 enum tmem_arena_part part, uint64_t offset,
			 uint64_t bytes)
{
	assert(part > TMEM_PART_HEADER && part < TMEM_PART_COUNT);
	assert(offset % PAGE == 0 && bytes % PAGE == 0 && bytes > 0);
	assert(offset <= arena->part[part].size &&
	       bytes <= arena->part[part].size - offset);
	(void)arena;
}

static _Thread_local bool may_wait;

void tmem_arena_may_wait(bool may)
{
	may_wait = may;
}

/* Relaxed: a thread that learns of it late takes one range more. */
bool tmem_arena_is_strict(const struct tmem_arena *arena)
{
	return atomic_load_explicit(&arena->strict, memory_order_relaxed);
}

int tmem_arena_take(struct tmem_arena *arena, enum tmem_arena_part part,
		    uint64_t offset, uint64_t bytes)
{
	int r;

	assert_range(arena, part, offset, bytes);
	if (tmem_arena_is_strict(arena) && !may_wait)
		return -ENOMEM;
	if (!tmem_budget_try_charge(arena->budget, bytes))
		return -ENOMEM;
	r = allocate(arena->fd, arena->part[part].offset + offset, bytes);
	if (r < 0)
		tmem_budget_uncharge(arena->budget, bytes);
	else if (tmem_arena_is_strict(arena))
		tmem_arena_populate(arena, part, offset, bytes);
	return r;
}

/* What was written to, also where the kernel has swapped it. Of what was only
 * allocated the kernel does not tell. */
static int touch_written(struct tmem_arena *arena)
{
	off_t data = 0, hole;

	while ((data = lseek(arena->fd, data, SEEK_DATA)) >= 0) {
		hole = lseek(arena->fd, data, SEEK_HOLE);
		if (hole < 0)
			return -errno;
		if (madvise(arena->base + data, (size_t)(hole - data),
			    MADV_POPULATE_WRITE) < 0)
			return errno == EINVAL ? -EOPNOTSUPP : -ENOMEM;
		data = hole;
	}
	return 0;
}

int tmem_arena_make_strict(struct tmem_arena *arena)
{
	/* First, so that nothing is taken untouched meanwhile. */
	atomic_store_explicit(&arena->strict, true, memory_order_seq_cst);
	return touch_written(arena);
}

void tmem_arena_end_strict(struct tmem_arena *arena)
{
	atomic_store_explicit(&arena->strict, false, memory_order_relaxed);
}

int tmem_arena_give_sparse(struct tmem_arena *arena, enum tmem_arena_part part,
			   uint64_t offset, uint64_t bytes, uint64_t taken)
{
	int r;

	assert_range(arena, part, offset, bytes);
	r = punch(arena->fd, arena->part[part].offset + offset, bytes);
	if (r == 0)
		tmem_budget_uncharge(arena->budget, taken);
	return r;
}

int tmem_arena_give(struct tmem_arena *arena, enum tmem_arena_part part,
		    uint64_t offset, uint64_t bytes)
{
	return tmem_arena_give_sparse(arena, part, offset, bytes, bytes);
}

void tmem_arena_populate(struct tmem_arena *arena, enum tmem_arena_part part,
			 uint64_t offset, uint64_t bytes)
{
	assert_range(arena, part, offset, bytes);
	(void)madvise((uint8_t *)tmem_arena_part(arena, part) + offset, bytes,
		      MADV_POPULATE_WRITE);
}

int tmem_arena_adopt(struct tmem_arena *arena, enum tmem_arena_part part,
		     uint64_t offset, uint64_t bytes)
{
	assert_range(arena, part, offset, bytes);
	if (allocate(arena->fd, arena->part[part].offset + offset, bytes) < 0)
		return -ENOSPC;
	tmem_budget_charge(arena->budget, bytes);
	return 0;
}

void tmem_arena_scrub(struct tmem_arena *arena, enum tmem_arena_part part,
		      uint64_t offset, uint64_t bytes)
{
	assert_range(arena, part, offset, bytes);
	(void)punch(arena->fd, arena->part[part].offset + offset, bytes);
}

int tmem_arena_next_extent(const struct tmem_arena *arena,
			   enum tmem_arena_part part, uint64_t offset,
			   uint64_t *start, uint64_t *end)
{
	uint64_t first = arena->part[part].offset;
	uint64_t limit = first + arena->part[part].size;
	off_t data, hole;

	if (first + offset >= limit)
		return -ENXIO;
	data = lseek(arena->fd, (off_t)(first + offset), SEEK_DATA);
	if (data < 0 || (uint64_t)data >= limit)
		return -ENXIO;
	hole = lseek(arena->fd, data, SEEK_HOLE);
	if (hole < 0 || (uint64_t)hole > limit)
		hole = (off_t)limit;
	*start = (uint64_t)data - first;
	*end = (uint64_t)hole - first;
	return 0;
}
