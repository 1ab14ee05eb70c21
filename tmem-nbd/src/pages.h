/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whole pages of a device. The caller has locked the range: shared to read,
 * exclusive to write or drop.
 */
#ifndef NBD_PAGES_H
#define NBD_PAGES_H

#include "device.h"

/** Read pages (at most TMEM_RUN_MAX) if the pool holds all of them; else false,
 * and some of *to may have been written. One page may be read without a lock.
 */
bool nbd_pages_get(struct nbd_device *device, const struct nbd_range *range,
		   uint8_t *to);

/** Pages are about to be read, or put: have the store begin to fetch what it
 * knows of them. */
void nbd_pages_ahead(struct nbd_device *device, const uint32_t *pages,
		     unsigned count, bool put);

/*
 * Reading, writing and dropping in two steps: begin does all that needs no
 * file, and leaves what does under way; end, once transfer->left is 0, the
 * rest. The range stays locked in between. nbd_pages_read(), _write() and
 * _drop() are both steps, and wait in between.
 */

/** to may be where transfer->memory has these pages: nbd_transfer_place(). It
 * must last until the end. */
void nbd_pages_begin_read(struct nbd_device *device, struct nbd_io *io,
			  struct nbd_transfer *transfer, uint64_t first,
			  unsigned count, uint8_t *to);
int nbd_pages_end_read(struct nbd_device *device, struct nbd_io *io,
		       struct nbd_transfer *transfer, uint64_t first,
		       uint8_t *to, uint64_t *bad);

/** from need not last. */
int nbd_pages_begin_write(struct nbd_device *device, struct nbd_io *io,
			  struct nbd_transfer *transfer, uint64_t first,
			  unsigned count, const uint8_t *from, bool allocate);
int nbd_pages_end_write(struct nbd_device *device, struct nbd_io *io,
			struct nbd_transfer *transfer);

void nbd_pages_begin_drop(struct nbd_device *device, struct nbd_io *io,
			  struct nbd_transfer *transfer, uint64_t first,
			  uint64_t count);
int nbd_pages_end_drop(struct nbd_device *device, struct nbd_io *io,
		       const struct nbd_transfer *transfer, uint64_t first,
		       uint64_t count);

/** Where a transfer that begins at page first has it. */
static inline uint8_t *nbd_transfer_place(const struct nbd_transfer *transfer,
					  uint64_t first)
{
	return transfer->memory + first % NBD_READ_AHEAD * TMEM_PAGE_SIZE;
}

/** Read count pages (at most TMEM_RUN_MAX); absent ones are zeros. Returns 0,
 * or -EIO with *bad the first page that cannot be read. */
int nbd_pages_read(struct nbd_device *device, struct nbd_io *io, uint64_t first,
		   unsigned count, uint8_t *to, uint64_t *bad);

/**
 * Write count pages (at most TMEM_RUN_MAX). Zeros written to an absent page
 * leave it absent, unless allocate. Returns 0, or the error of the first page
 * that was not written: -ENOSPC, -EIO. That page is as it was before, but
 * for a slot that its disk failed to write.
 */
int nbd_pages_write(struct nbd_device *device, struct nbd_io *io,
		    uint64_t first, unsigned count, const uint8_t *from,
		    bool allocate);

/** Most pages that are dropped at a time; other requests get in between. The
 * store looks up so many one by one; for more it walks the whole object. */
#define NBD_DROP_MAX 8192u

/** Make count pages (at most NBD_DROP_MAX) absent. Returns 0 or -errno. */
int nbd_pages_drop(struct nbd_device *device, struct nbd_io *io, uint64_t first,
		   uint64_t count);

/** Whether pool or overflow file may hold a page. */
bool nbd_pages_present(const struct nbd_device *device, uint64_t page);

/** First page in [first, end) whose being present is value, else end. */
uint64_t nbd_pages_find(const struct nbd_device *device, uint64_t first,
			uint64_t end, bool value);

/** Whether length bytes are all zero. */
bool nbd_is_zero(const uint8_t *bytes, size_t length);

#endif
