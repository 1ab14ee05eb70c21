/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Every counter of the store, declared once. The enums, the tables of names,
 * tmem-admin's output, its JSON and the man page come from here.
 *
 * X(name, type, unit, description): type is counter (only grows) or gauge;
 * unit is pages, bytes or events.
 */
#ifndef TMEM_STATS_H
#define TMEM_STATS_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* clang-format off */
#define TMEM_HOST_STATS(X)                                                     \
X(budget, gauge, bytes, "most memory the store may use")                       \
X(used, gauge, bytes, "memory the store uses, everything counted")             \
X(peak_used, gauge, bytes, "most memory the store has used")                   \
X(slab_bytes, gauge, bytes, "memory in slabs")                                 \
X(spare_bytes, gauge, bytes, "of these, in empty slabs")                       \
X(payload_bytes, gauge, bytes, "bytes of contents held in slabs")              \
X(table_bytes, gauge, bytes, "memory in the arena's record tables")            \
X(private_bytes, gauge, bytes, "memory outside the arena: tables, codecs, rings") \
X(freeable, gauge, bytes, "memory that ephemeral pages use")                   \
X(pages, gauge, pages, "pages held, as clients see them")                      \
X(ephemeral_pages, gauge, pages, "of these, ephemeral")                        \
X(persistent_pages, gauge, pages, "of these, persistent")                      \
X(contents, gauge, pages, "distinct contents held")                            \
X(fill_pages, gauge, pages, "pages whose words are all equal")                 \
X(raw_contents, gauge, pages, "contents held uncompressed")                    \
X(young_contents, gauge, pages, "contents in the nursery")                      \
X(lz4_contents, gauge, pages, "contents held with lz4")                        \
X(lzo_contents, gauge, pages, "contents held with lzo")                        \
X(zstd_contents, gauge, pages, "contents held with zstd")                      \
X(puts, counter, events, "pages put")                                          \
X(puts_stored, counter, events, "puts that stored the page")                   \
X(puts_refused, counter, events, "puts refused")                               \
X(puts_dedup, counter, events, "puts that shared an equal content")            \
X(dedup_lookups, counter, events, "pages for which an equal content was looked for") \
X(dedup_mismatches, counter, events, "contents with an equal hash and other bytes") \
X(gets, counter, events, "pages asked for")                                    \
X(hits, counter, events, "gets that found the page")                           \
X(flushes, counter, events, "pages flushed that were held")                    \
X(evictions, counter, events, "ephemeral pages evicted")                       \
X(young_settled, counter, events, "young pages deduplicated and compressed")    \
X(young_died, counter, events, "young pages gone before that")                 \
X(puts_inline, counter, events, "puts that found no room in the nursery")       \
X(recompressed, counter, events, "contents compressed again, with zstd")        \
X(compactions, counter, events, "contents moved by compaction")                \
X(slabs_freed, counter, events, "slabs given back to the kernel")              \
X(refused_nomem, counter, events, "puts refused: no room in the budget")       \
X(refused_cap, counter, events, "puts refused: cap or maxmem")                 \
X(refused_frozen, counter, events, "puts refused: frozen")                     \
X(refused_fault, counter, events, "puts refused: internal failure")            \
X(decode_errors, counter, events, "contents that failed to decompress")

#define TMEM_CLIENT_STATS(X)                                                   \
X(charged, gauge, bytes, "memory charged: its contents, shared ones in equal parts") \
X(pages, gauge, pages, "pages held")                                           \
X(ephemeral_pages, gauge, pages, "of these, ephemeral")                        \
X(persistent_pages, gauge, pages, "of these, persistent")                      \
X(puts, counter, events, "pages put")                                          \
X(puts_stored, counter, events, "puts that stored the page")                   \
X(puts_refused, counter, events, "puts refused")                               \
X(puts_dedup, counter, events, "puts that shared an equal content")            \
X(gets, counter, events, "pages asked for")                                    \
X(hits, counter, events, "gets that found the page")                           \
X(flushes, counter, events, "pages flushed that were held")                    \
X(evictions, counter, events, "ephemeral pages evicted")

#define TMEM_POOL_STATS(X)                                                     \
X(pages, gauge, pages, "pages held")                                           \
X(peak_pages, gauge, pages, "most pages held")                                 \
X(objects, gauge, events, "objects that hold pages, once a shard they lie in")                           \
X(stored_bytes, gauge, bytes, "bytes of its pages' contents, unshared")        \
X(puts, counter, events, "pages put")                                          \
X(puts_stored, counter, events, "puts that stored the page")                   \
X(puts_refused, counter, events, "puts refused")                               \
X(puts_replaced, counter, events, "puts that replaced a page")                 \
X(puts_dedup, counter, events, "puts that shared an equal content")            \
X(dedup_lookups, counter, events, "pages for which an equal content was looked for") \
X(gets, counter, events, "pages asked for")                                    \
X(hits, counter, events, "gets that found the page")                           \
X(flushes, counter, events, "pages flushed that were held")                    \
X(object_flushes, counter, events, "objects flushed that were held")           \
X(evictions, counter, events, "ephemeral pages evicted")
/* clang-format on */

#define TMEM_STAT_ENUM_HOST(name, type, unit, text) TMEM_HOST_STAT_##name,
#define TMEM_STAT_ENUM_CLIENT(name, type, unit, text) TMEM_CLIENT_STAT_##name,
#define TMEM_STAT_ENUM_POOL(name, type, unit, text) TMEM_POOL_STAT_##name,
enum tmem_host_stat { TMEM_HOST_STATS(TMEM_STAT_ENUM_HOST) TMEM_HOST_STAT_COUNT };
enum tmem_client_stat { TMEM_CLIENT_STATS(TMEM_STAT_ENUM_CLIENT) TMEM_CLIENT_STAT_COUNT };
enum tmem_pool_stat { TMEM_POOL_STATS(TMEM_STAT_ENUM_POOL) TMEM_POOL_STAT_COUNT };

/** One row of a table of counters. */
struct tmem_stat_desc {
	const char *name;
	const char *type; /**< "counter" or "gauge" */
	const char *unit; /**< "pages", "bytes" or "events" */
	const char *text; /**< one line, for people */
};

/** The tables, as long as the enums' _COUNT. */
extern const struct tmem_stat_desc tmem_host_stat_desc[];
extern const struct tmem_stat_desc tmem_client_stat_desc[];
extern const struct tmem_stat_desc tmem_pool_stat_desc[];

#ifdef __cplusplus
}
#endif
#endif
