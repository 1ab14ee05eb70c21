/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A device by bytes: any offset and length. Each call locks the pages it
 * touches, so that on a page, and on the pages of one call, calls of all
 * connections happen one after the other. Requests of more than
 * NBD_ACCESS_MAX bytes are several calls.
 *
 * The caller has validated that the bytes lie within the device.
 */
#ifndef NBD_ACCESS_H
#define NBD_ACCESS_H

#include "device.h"

/** Most bytes of a read or write here. */
#define NBD_ACCESS_MAX (TMEM_RUN_MAX * TMEM_PAGE_SIZE)

/** What nbd_access_zero() is to do. */
enum nbd_zero {
	NBD_ZERO_TRIM,	   /**< drop whole pages, leave partial ones */
	NBD_ZERO_HOLE,	   /**< bytes read as zeros, pages become absent */
	NBD_ZERO_ALLOCATE, /**< bytes read as zeros, pages are present */
};

/** A part of a device, all of it absent or all of it present. */
struct nbd_extent {
	uint64_t length; /**< bytes */
	bool present;
};

/** The shortest way to read, 1 to NBD_ACCESS_MAX bytes: whole pages that the
 * store holds, all of them. False for anything else, which nbd_access_read()
 * does; to may have been written to then. */
bool nbd_access_get(struct nbd_device *device, uint64_t offset, uint32_t length,
		    uint8_t *to);

/** Read length bytes, 1 to NBD_ACCESS_MAX. Returns 0, or -EIO with *bad an
 * offset in the device that could not be read. */
int nbd_access_read(struct nbd_device *device, struct nbd_io *io,
		    uint64_t offset, uint32_t length, uint8_t *to,
		    uint64_t *bad);

/** Write length bytes, 1 to NBD_ACCESS_MAX. A page that is covered in part is
 * read, changed and written under its lock. Returns 0, -ENOSPC or -EIO. */
int nbd_access_write(struct nbd_device *device, struct nbd_io *io,
		     uint64_t offset, uint32_t length, const uint8_t *from);

/** What zeroing bytes does to whole pages: which, perhaps none. Returns whether
 * that is all there is to it. */
bool nbd_access_zero_range(const struct nbd_device *device, uint64_t offset,
			   uint64_t length, enum nbd_zero how,
			   struct nbd_range *range);

/** What pages are filled with. */
extern const uint8_t nbd_access_zeros[NBD_ACCESS_MAX];

/** Trim or zero any number of bytes. Returns 0, -ENOSPC or -EIO. */
int nbd_access_zero(struct nbd_device *device, struct nbd_io *io,
		    uint64_t offset, uint64_t length, enum nbd_zero how);

/** Whether zeroing takes less time than writing zeros. */
bool nbd_access_zero_is_fast(const struct nbd_device *device, uint64_t offset,
			     uint64_t length, enum nbd_zero how);

/** Bring what the overflow file got to stable storage. 0 or -errno. */
int nbd_access_sync(struct nbd_device *device, struct nbd_io *io);

/** Describe length bytes from offset by at most max extents (which may then
 * end sooner). Returns how many, at least 1. */
unsigned nbd_access_extents(const struct nbd_device *device, uint64_t offset,
			    uint64_t length, struct nbd_extent *extents,
			    unsigned max);

#endif
