/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Traces of what is asked of a file system, page by page. A line a request:
 *
 *   r OBJECT FIRST COUNT     COUNT pages from page FIRST on are read
 *   w OBJECT FIRST COUNT     ... are written
 *   f OBJECT FIRST COUNT     ... are gone (truncated, punched)
 *
 * OBJECT is a file's number, in hexadecimal; the others are decimal. '#' begins
 * a comment. In memory, every page that is ever read has a number from 1 on,
 * and so has every leaf (8 neighbouring pages), so that policies need no hash
 * tables.
 *
 * Threading: a loaded trace is constant.
 */
#ifndef EVICTION_TRACE_H
#define EVICTION_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LEAF_PAGES 8u
#define SHARDS	   32u

enum event_kind { EVENT_READ, EVENT_FLUSH, EVENT_EVICT };

/** One page's event. EVENT_EVICT: the guest gave up a clean page. */
struct event {
	uint32_t kind : 2;
	uint32_t wrote : 1; /* EVENT_FLUSH: and the guest has the new page */
	uint32_t page : 29;
};

struct page {
	uint64_t object;
	uint32_t index;
	uint32_t leaf;
};

struct leaf {
	uint64_t name; /* a hash */
	uint32_t shard;
};

struct trace {
	struct event *events;
	size_t count;
	struct page *pages; /* by number; pages[0] is not used */
	uint32_t page_end;
	struct leaf *leaves; /* likewise */
	uint32_t leaf_end;
};

/** Load a trace. Ends the program with a message when it cannot. */
void trace_load(struct trace *trace, const char *path);
void trace_free(struct trace *trace);

/** What comes out below a guest with an LRU cache of so many pages: reads that
 * missed, flushes, and the clean pages it gave up. The pages' and leaves'
 * tables are those of trace. 0 pages: every access, and nothing is given up. */
void trace_behind(const struct trace *trace, uint32_t guest_pages,
		  struct trace *out);

#endif
