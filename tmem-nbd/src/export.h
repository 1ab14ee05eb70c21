/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One export: a block device whose pages are in a store, served over the NBD
 * protocol on a listening unix socket. tmem-nbd embeds it, tmemd hosts it.
 *
 * Threading: start and stop an export from one thread at a time; statistics
 * may be read from any thread while it runs. The export has threads of its
 * own: one that accepts, and one a connection.
 *
 * Lifetime: the store outlives its exports. The export is a client of its own
 * of the store, (uid, name), with one private persistent pool. What it cannot
 * tell its clients it logs with tmem_log(), at a limited rate.
 */
#ifndef TMEM_NBD_EXPORT_H
#define TMEM_NBD_EXPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <tmem/stats.h>
#include <tmem/store.h>
#include <tmem/types.h>

/* clang-format off */
#define TMEM_NBD_STATS(X)                                                      \
X(connections, gauge, events, "clients connected")                             \
X(accepted, counter, events, "connections accepted")                           \
X(turned_away, counter, events, "connections closed at the connection limit")  \
X(dropped, counter, events, "connections closed for breaking the protocol or a timeout") \
X(requests, counter, events, "requests answered")                              \
X(errors, counter, events, "requests answered with an error")                  \
X(read_bytes, counter, bytes, "bytes read by clients")                         \
X(written_bytes, counter, bytes, "bytes written by clients")                   \
X(trimmed_bytes, counter, bytes, "bytes trimmed or zeroed by clients")         \
X(partial_writes, counter, pages, "pages read, modified and written")          \
X(refused, counter, pages, "pages that the store refused")                     \
X(lost, counter, pages, "pages that the store no longer held")                 \
X(overflow_reads, counter, pages, "pages read from the overflow file")         \
X(read_ahead, counter, pages, "pages read from the overflow file beside others") \
X(taken_back, counter, pages, "pages that came back from the overflow file")   \
X(overflow_writes, counter, pages, "pages written to the overflow file")       \
X(written_out, counter, pages, "pages moved to the overflow file in the background") \
X(overflow_errors, counter, pages, "pages that the overflow file failed to read or write") \
X(overflow_syncs, counter, events, "flushes of the overflow file")             \
X(overflow_pages, gauge, pages, "pages the overflow file may hold")            \
X(map_bytes, gauge, bytes, "memory for the maps of held pages")
/* clang-format on */

#define TMEM_NBD_STAT_ENUM(name, type, unit, text) TMEM_NBD_STAT_##name,
enum tmem_nbd_stat { TMEM_NBD_STATS(TMEM_NBD_STAT_ENUM) TMEM_NBD_STAT_COUNT };

/** The table, TMEM_NBD_STAT_COUNT rows. */
extern const struct tmem_stat_desc tmem_nbd_stat_desc[];

/** Smallest and largest device, bytes; a size is a multiple of 512. */
#define TMEM_NBD_SIZE_MIN 512ull
#define TMEM_NBD_SIZE_MAX (16ull << 40)

static inline bool tmem_nbd_size_is_valid(uint64_t size)
{
	return size >= TMEM_NBD_SIZE_MIN && size <= TMEM_NBD_SIZE_MAX &&
	       size % 512 == 0;
}

struct tmem_nbd_export_config {
	/** Export's and client's name: rules as tmem_client_config.name. */
	const char *name;
	/** For LIST and INFO; NULL: none. */
	const char *description;
	/** Owner, for the client's record. */
	uid_t uid;
	/** Device, bytes. 0: that of the kept pool of this name. */
	uint64_t size;
	bool read_only;
	/** The host that serves it swaps on it: refused where that cannot be
	 * made safe (host-swap.h). */
	bool host_swap;
	/** Flush what a kept pool or the overflow file holds: an empty
	 * device. Otherwise the two must belong together. */
	bool reset;
	/** The device that must be there: after a restart, what
	 * tmem_nbd_export_device() said before it. All zero: any. */
	struct tmem_uuid device;
	/** Listening unix stream socket, or a connected one whose client is
	 * the only one then; taken over on success. */
	int listen_fd;
	/** File open for reading and writing, or -1; taken over on
	 * success. Its format: tmem-nbd(8), OVERFLOW FILE. */
	int overflow_fd;
	struct tmem_store *store;
	/** The pool's; TMEM_CODEC_NONE: the store's default. */
	enum tmem_codec codec;
	/** Most connections at a time; 0: 64. */
	unsigned max_connections;
	/** Time for a client's handshake, milliseconds; 0: 10,000. */
	unsigned handshake_ms;
};

struct tmem_nbd_export;

/**
 * Serve an export from now on. On failure *why (why_size bytes, never NULL)
 * is one line that names the cause and the remedy, the descriptors stay the
 * caller's, and a kept pool and the overflow file are as they were.
 * Returns 0; -EINVAL for bad values; -EPERM where host_swap needs more rights;
 * -EBUSY when a client of that name is connected; -ESTALE when overflow file,
 * kept pool and config->device are not of one device; -EMEDIUMTYPE or
 * -EOPNOTSUPP when the file is no overflow file; -ENOSPC when the store
 * refuses; -ENOMEM; any of open(2)'s.
 */
int tmem_nbd_export_start(const struct tmem_nbd_export_config *config,
			  struct tmem_nbd_export **out, char *why,
			  size_t why_size);

/**
 * Stop serving: accept no more, answer the requests that clients have sent
 * (for up to 5 s, then cut them off), end all threads. With keep the pool stays
 * in the store and the overflow file as it is, to be started again under the
 * same name; without, the pool is destroyed and the file emptied.
 * NULL is fine. Always returns NULL.
 */
struct tmem_nbd_export *tmem_nbd_export_stop(struct tmem_nbd_export *nbd,
					     bool keep);

/** Bytes of the device. */
uint64_t tmem_nbd_export_size(const struct tmem_nbd_export *nbd);

/** Random number made with the device; see config.device. */
struct tmem_uuid tmem_nbd_export_device(const struct tmem_nbd_export *nbd);

/** Counters, TMEM_NBD_STAT_COUNT of them. */
void tmem_nbd_export_stats(struct tmem_nbd_export *nbd, uint64_t *values);

#endif
