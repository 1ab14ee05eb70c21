/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The overflow file: where a device's pages go that the store refuses.
 *
 *   0                            device's size, rounded up to a page
 *   | slot of page 0 | slot of page 1 | ... | header, one page |
 *
 * The file's slot is the device offset, so there is no map to keep or to lose;
 * the file is sparse, and what was never written or was punched is a hole. A
 * slot counts only while the store does not hold the page: it may be older.
 *
 * The header tells which device the slots belong to. Without that device's
 * pool they mean nothing, since some of its newest pages were in the pool:
 *
 *   0   8  "tmem-ovf"
 *   8   4  version, 1           (numbers are little-endian)
 *   12  4  0
 *   16  8  device, bytes
 *   24  8  generation of the arena that the device's pool is in
 *   32  16 device's random number
 *   48  8  XXH3 of the 48 bytes before
 *
 * The file is written with O_DIRECT where its file system allows: a page that
 * the host had no memory for must not take some in its page cache. Reads and
 * writes go through io_uring, so that the pieces of a request are under way
 * together, and whose request it is need not wait; where the host forbids
 * io_uring, one after the other.
 *
 * For a host's own swap it may be a disk instead, whose header is in its last
 * page, and on which all slots are zeroed at the start. No file system is in
 * the way then, and neither is io_uring: a transfer is cut into pieces so small
 * that the kernel has all that they take on its stack.
 *
 * Threading: any thread, each with an nbd_overflow_io of its own. Who reads or
 * writes a slot holds its page's range lock.
 */
#ifndef NBD_OVERFLOW_H
#define NBD_OVERFLOW_H

#include <liburing.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <tmem/types.h>
#include "page-map.h"

struct nbd_overflow_header {
	uint64_t size;	     /**< device, bytes */
	uint64_t generation; /**< arena */
	struct tmem_uuid device;
};

struct nbd_overflow {
	int fd;	      /**< -1: there is none */
	uint64_t end; /**< where slots end and the header is */
	bool can_punch;
	bool disk;
	/** Counts writes and punches, as they begin and as they end, and how
	 * many of these counts a sync that has ended began after: the file is
	 * clean where both are the same. */
	_Atomic(uint64_t) changes;
	_Atomic(uint64_t) synced;
};

/** A thread's means to read and write overflow files. */
struct nbd_overflow_io {
	struct io_uring ring;
	bool has_ring;
};

/** What is done with slots. SYNC is of all of them. */
enum nbd_transfer_kind { NBD_READ, NBD_WRITE, NBD_PUNCH, NBD_SYNC };

/** Neighbouring slots. */
struct nbd_segment {
	uint64_t page;
	uint8_t *memory; /**< page-aligned; PUNCH: NULL */
	uint32_t count;	 /**< pages */
	uint32_t done;	 /**< bytes, as transfer goes on */
	int error;	 /**< result: 0, or -errno of the page at done */
	/* While it is under way. */
	enum nbd_transfer_kind kind;
	bool narrow;	/* something failed: now page by page, to learn where */
	unsigned *left; /* of those it was begun with */
};

/**
 * Look at a file before it is used: lock it against other servers and read its
 * header. Returns 0; -ENODATA when it is empty (of a disk: where something
 * would begin or its header be); -EMEDIUMTYPE when it is something else than an
 * overflow file; -EOPNOTSUPP when it is neither a regular file nor a disk;
 * -ENOSPC for a disk that is too small for any device; -EBUSY when another
 * server has it; any of read(2)'s.
 */
int nbd_overflow_probe(int fd, struct nbd_overflow_header *out);

bool nbd_overflow_is_disk(int fd);

/** Make the file an empty overflow file. Returns 0 or -errno. */
int nbd_overflow_format(int fd, const struct nbd_overflow_header *header);

/**
 * Make room for a device that grows to size bytes, from the known ones. A
 * process that was killed in this may have left a header of another size
 * between: then it is done once more. The header's new place is written first,
 * so that the file is always that device's. Returns 0 or -errno.
 */
int nbd_overflow_grow(int fd, struct nbd_overflow_header *header,
		      uint64_t known, uint64_t size);

/** Use the file of a device of size bytes, or none (fd -1). fd stays the
 * caller's. Waits for what a server that was killed is still writing. */
void nbd_overflow_init(struct nbd_overflow *overflow, int fd, uint64_t size);

/** Set the bits of all slots that are no holes. Returns 0 or -errno. */
int nbd_overflow_scan(const struct nbd_overflow *overflow,
		      struct nbd_page_map *map);

/** Give up what the file holds: it is empty then, and of no device. */
int nbd_overflow_erase(int fd);

/** use_ring false: never io_uring. */
void nbd_overflow_io_init(struct nbd_overflow_io *io, bool use_ring);
void nbd_overflow_io_deinit(struct nbd_overflow_io *io);

/**
 * Begin to read, write or punch segments, which is under way when this returns.
 * Who called it waits until nbd_overflow_reap() has brought *left, to which it
 * adds their number, down again; each segment tells its own error, as below.
 * PUNCH, which makes holes, only where can_punch.
 */
void nbd_overflow_begin(struct nbd_overflow *overflow,
			struct nbd_overflow_io *io, enum nbd_transfer_kind kind,
			struct nbd_segment *segments, unsigned count,
			unsigned *left);

/** The same for a sync, unless there is nothing to be brought to stable
 * storage. segment is the caller's to keep; its error is the result. */
void nbd_overflow_begin_sync(struct nbd_overflow *overflow,
			     struct nbd_overflow_io *io,
			     struct nbd_segment *segment, unsigned *left);

/** Take note of what has ended, and go on with what came back short. wait:
 * something is under way, and this waits until some of it has ended. */
void nbd_overflow_reap(struct nbd_overflow *overflow,
		       struct nbd_overflow_io *io, bool wait);

/** Becomes readable when there is something to reap; -1: never. */
int nbd_overflow_io_fd(const struct nbd_overflow_io *io);

/** Read or write all segments; each tells its own error: -ESTALE when somebody
 * has truncated the file, or any of read(2)'s and write(2)'s. */
void nbd_overflow_read(struct nbd_overflow *overflow,
		       struct nbd_overflow_io *io, struct nbd_segment *segments,
		       unsigned count);
void nbd_overflow_write(struct nbd_overflow *overflow,
			struct nbd_overflow_io *io,
			struct nbd_segment *segments, unsigned count);

/** Whether something was written that is not on stable storage yet. */
bool nbd_overflow_is_dirty(const struct nbd_overflow *overflow);

/** Bring all that was written to stable storage. Returns 1 when there was
 * something, 0 when not, or -errno. */
int nbd_overflow_sync(struct nbd_overflow *overflow,
		      struct nbd_overflow_io *io);

#endif
