/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Buffers large enough for the largest request, of which most connections touch
 * little: they take memory by the page, as it is touched, which the kernel's
 * huge pages and a malloc that fills what it gives out would not. Behind each
 * lies a page that nobody may touch.
 *
 * Threading: none. Lifetime: the owner's.
 */
#ifndef TMEM_NBD_BUFFER_H
#define TMEM_NBD_BUFFER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

#define NBD_BUFFER_GUARD 4096u

/** Returns size bytes (of whole pages) of zeros, page-aligned, or NULL. */
static inline uint8_t *nbd_buffer_new(size_t size)
{
	uint8_t *buffer =
		mmap(NULL, size + NBD_BUFFER_GUARD, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (buffer == MAP_FAILED)
		return NULL;
	(void)madvise(buffer, size, MADV_NOHUGEPAGE);
	(void)mprotect(buffer + size, NBD_BUFFER_GUARD, PROT_NONE);
	return buffer;
}

/** NULL is fine. */
static inline void nbd_buffer_free(uint8_t *buffer, size_t size)
{
	if (buffer)
		munmap(buffer, size + NBD_BUFFER_GUARD);
}

#endif
