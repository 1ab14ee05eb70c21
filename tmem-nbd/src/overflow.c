/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The overflow file, or disk: its header and holes. Transfers are in
 * overflow-io.c. */
#include "overflow.h"
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#define VERSION 1u

/* How long a file may be locked before it is somebody else's; milliseconds. */
#define LOCK_TIME 2000
#define LOCK_STEP 20

/* What file systems and partition tables begin with is in here. */
#define DISK_LOOK_BYTES (128u << 10)

static const char magic[8] = "tmem-ovf";

/** The header on disk; numbers little-endian. */
struct header {
	char magic[8];
	uint32_t version;
	uint32_t zero;
	uint64_t size;
	uint64_t generation;
	uint8_t device[16];
	uint64_t hash;
};
static_assert(sizeof(struct header) == 56, "the header's format is fixed");

union header_page {
	struct header header;
	uint8_t bytes[TMEM_PAGE_SIZE];
};

static uint64_t round_up(uint64_t bytes)
{
	return (bytes + TMEM_PAGE_SIZE - 1) & ~(uint64_t)(TMEM_PAGE_SIZE - 1);
}

static uint64_t hash_of(const struct header *header)
{
	return htole64(XXH3_64bits(header, offsetof(struct header, hash)));
}

/** A file or disk, and where it ends. */
struct extent {
	bool disk;
	uint64_t end;
};

static int measure(int fd, struct extent *out)
{
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	out->disk = S_ISBLK(st.st_mode);
	out->end = (uint64_t)st.st_size;
	if (!out->disk)
		return S_ISREG(st.st_mode) ? 0 : -EOPNOTSUPP;
	if (ioctl(fd, BLKGETSIZE64, &out->end))
		return -errno;
	out->end -= out->end % TMEM_PAGE_SIZE;
	return out->end > DISK_LOOK_BYTES ? 0 : -ENOSPC;
}

bool nbd_overflow_is_disk(int fd)
{
	struct stat st;

	return !fstat(fd, &st) && S_ISBLK(st.st_mode);
}

/** Where the header of a device of size bytes is: of a file, behind the slots,
 * and of a disk, at the end. Returns 0, or -ENOSPC where it does not fit. */
static int find_header(int fd, uint64_t size, uint64_t *out)
{
	struct extent extent = {0};
	int r = measure(fd, &extent);

	if (r < 0)
		return r;
	*out = round_up(size);
	if (!extent.disk)
		return 0;
	if (*out > extent.end - TMEM_PAGE_SIZE)
		return -ENOSPC;
	*out = extent.end - TMEM_PAGE_SIZE;
	return 0;
}

static int zero_disk(int fd, uint64_t from, uint64_t to)
{
	uint64_t range[2] = {from, to - from};

	return from < to && ioctl(fd, BLKZEROOUT, range) ? -errno : 0;
}

static bool is_zero(const union header_page *page)
{
	return !page->bytes[0] &&
	       !memcmp(page->bytes, page->bytes + 1, sizeof(*page) - 1);
}

/** Whether a disk has nothing that anybody may want again where that would be.
 * Returns -ENODATA then, or else -EMEDIUMTYPE or another -errno. */
static int check_blank(int fd)
{
	_Alignas(TMEM_PAGE_SIZE) union header_page page;
	ssize_t n;
	off_t at;

	for (at = 0; at < DISK_LOOK_BYTES; at += TMEM_PAGE_SIZE) {
		n = pread(fd, &page, sizeof(page), at);
		if (n != sizeof(page))
			return n < 0 ? -errno : -EIO;
		if (!is_zero(&page))
			return -EMEDIUMTYPE;
	}
	return -ENODATA;
}

static int lock_file(int fd)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	int left = LOCK_TIME;

	/* Of the open file, not of the process: a keeper goes on holding it
	 * while tmemd restarts. One that was killed holds it as long as what it
	 * had begun to write takes. */
	while (fcntl(fd, F_OFD_SETLK, &lock)) {
		if (errno != EAGAIN && errno != EACCES)
			return -errno;
		if (left <= 0)
			return -EBUSY;
		poll(NULL, 0, LOCK_STEP);
		left -= LOCK_STEP;
	}
	return 0;
}

int nbd_overflow_probe(int fd, struct nbd_overflow_header *out)
{
	_Alignas(TMEM_PAGE_SIZE) union header_page page;
	const struct header *header = &page.header;
	struct extent extent = {0};
	ssize_t n;
	int r;

	r = measure(fd, &extent);
	if (!r)
		r = lock_file(fd);
	if (r < 0)
		return r;
	if (!extent.end)
		return -ENODATA;
	if (extent.end % TMEM_PAGE_SIZE)
		return -EMEDIUMTYPE;
	extent.end -= TMEM_PAGE_SIZE;
	n = pread(fd, &page, sizeof(page), (off_t)extent.end);
	if (n < 0)
		return -errno;
	if (extent.disk && n == sizeof(page) && is_zero(&page))
		return check_blank(fd);
	if (n != sizeof(page) ||
	    memcmp(header->magic, magic, sizeof(magic)) != 0 ||
	    header->version != htole32(VERSION) ||
	    header->hash != hash_of(header) ||
	    (extent.disk ? round_up(le64toh(header->size)) > extent.end
			 : round_up(le64toh(header->size)) != extent.end))
		return -EMEDIUMTYPE;
	out->size = le64toh(header->size);
	out->generation = le64toh(header->generation);
	memcpy(&out->device, header->device, sizeof(out->device));
	return 0;
}

/** Write a page. Returns 0 or -errno. */
static int put_page(int fd, const union header_page *page, uint64_t offset)
{
	ssize_t n = pwrite(fd, page, sizeof(*page), (off_t)offset);

	if (n == sizeof(*page))
		return 0;
	return n < 0 ? -errno : -ENOSPC;
}

/** Write the header to its place. Returns 0 or -errno. */
static int put_header(int fd, const struct nbd_overflow_header *header)
{
	_Alignas(TMEM_PAGE_SIZE) union header_page page = {0};
	uint64_t place;
	int r = find_header(fd, header->size, &place);

	if (r < 0)
		return r;

	memcpy(page.header.magic, magic, sizeof(magic));
	page.header.version = htole32(VERSION);
	page.header.size = htole64(header->size);
	page.header.generation = htole64(header->generation);
	memcpy(page.header.device, &header->device, sizeof(header->device));
	page.header.hash = hash_of(&page.header);
	return put_page(fd, &page, place);
}

int nbd_overflow_format(int fd, const struct nbd_overflow_header *header)
{
	uint64_t end = round_up(header->size), place;
	int r;

	r = find_header(fd, header->size, &place);
	if (r < 0)
		return r;
	/* A disk has no holes: it holds what somebody left there. */
	if (nbd_overflow_is_disk(fd))
		r = zero_disk(fd, 0, end);
	else if (ftruncate(fd, 0) ||
		 ftruncate(fd, (off_t)(end + TMEM_PAGE_SIZE)))
		r = -errno;
	if (r < 0)
		return r;
	r = put_header(fd, header);
	if (!r && fsync(fd))
		r = -errno;
	/* Without a header it would be taken for somebody's file. */
	if (r < 0)
		(void)nbd_overflow_erase(fd);
	return r;
}

int nbd_overflow_grow(int fd, struct nbd_overflow_header *header,
		      uint64_t known, uint64_t size)
{
	static const _Alignas(TMEM_PAGE_SIZE) union header_page zeros;
	const uint64_t ends[] = {round_up(known), round_up(header->size)};
	struct nbd_overflow_header grown = *header;
	unsigned i;
	int r;

	grown.size = size;
	r = put_header(fd, &grown);
	if (nbd_overflow_is_disk(fd)) {
		if (!r)
			r = zero_disk(fd, ends[0], round_up(size));
		if (!r)
			*header = grown;
		return r;
	}
	if (r < 0) {
		(void)ftruncate(fd, (off_t)(ends[1] + TMEM_PAGE_SIZE));
		return r;
	}
	/* Where headers were there are slots now, which were never written. */
	for (i = 0; i < 2 && !r; i++)
		if (ends[i] < round_up(size))
			r = put_page(fd, &zeros, ends[i]);
	if (!r)
		*header = grown;
	return r;
}

void nbd_overflow_init(struct nbd_overflow *overflow, int fd, uint64_t size)
{
	int flags;

	*overflow = (struct nbd_overflow){.fd = fd, .end = round_up(size)};
	if (fd < 0)
		return;
	/* tmpfs before Linux 6.6 has no O_DIRECT: then through the cache. */
	flags = fcntl(fd, F_GETFL);
	if (flags >= 0)
		(void)fcntl(fd, F_SETFL, flags | O_DIRECT);
	/* No ring serves it, see below, and it has no holes. */
	overflow->disk = nbd_overflow_is_disk(fd);
	if (overflow->disk)
		return;
	/* Writes that a killed tmemd had given to its ring outlive it, on the
	 * open file that its keeper brings again: one that came after ours
	 * would bring an old page back. To allocate the header's page, which
	 * is there, changes nothing, and waits for direct I/O under way. */
	(void)fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)overflow->end,
			TMEM_PAGE_SIZE);
	/* Behind the header there is nothing to lose. */
	overflow->can_punch = !fallocate(
		fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		(off_t)(overflow->end + TMEM_PAGE_SIZE), TMEM_PAGE_SIZE);
}

int nbd_overflow_scan(const struct nbd_overflow *overflow,
		      struct nbd_page_map *map)
{
	off_t end = (off_t)overflow->end, data = 0, hole;
	uint64_t first, last;

	/* Nobody knows what was written: all of it was, if only by zeros. */
	if (overflow->disk) {
		nbd_page_map_set(map, 0, overflow->end / TMEM_PAGE_SIZE);
		return 0;
	}
	for (;;) {
		data = lseek(overflow->fd, data, SEEK_DATA);
		if (data < 0)
			return errno == ENXIO ? 0 : -errno;
		if (data >= end)
			return 0;
		hole = lseek(overflow->fd, data, SEEK_HOLE);
		if (hole < 0)
			return -errno;
		first = (uint64_t)data / TMEM_PAGE_SIZE;
		last = ((uint64_t)(hole < end ? hole : end) - 1) /
		       TMEM_PAGE_SIZE;
		nbd_page_map_set(map, first, last - first + 1);
		data = hole;
	}
}

int nbd_overflow_erase(int fd)
{
	struct extent extent = {0};
	int r = measure(fd, &extent);

	if (r < 0)
		return r;
	if (extent.disk) {
		r = zero_disk(fd, extent.end - TMEM_PAGE_SIZE, extent.end);
		return r < 0 ? r : zero_disk(fd, 0, DISK_LOOK_BYTES);
	}
	return ftruncate(fd, 0) ? -errno : 0;
}
