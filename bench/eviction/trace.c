/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "index.h"
#include "list.h"
#include "trace.h"

/* A request of more pages than this is one to the end of a file. */
#define MOST_PAGES (1u << 20)

/* (object, index) to number. */
struct map {
	struct slot {
		uint64_t object;
		uint32_t index;
		uint32_t number; /* 0: free */
	} * slot;
	uint32_t size; /* a power of two */
	uint32_t count;
};

static void *must(void *memory)
{
	if (!memory) {
		perror("eviction");
		exit(EXIT_FAILURE);
	}
	return memory;
}

/* As the store has it, but for the hash, which has a secret there. index counts
 * pages or leaves. */
static struct tmem_key key_of(uint64_t object, uint32_t index)
{
	uint64_t x = object * UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ x >> 32) * UINT64_C(0xa0761d6478bd642f);
	return (struct tmem_key){.block = index, .hash = x ^ x >> 32};
}

static struct slot *map_find(struct map *map, uint64_t object, uint32_t index)
{
	struct tmem_key key = key_of(object, index);
	uint32_t i = (uint32_t)tmem_index_name(&key) & (map->size - 1);

	while (map->slot[i].number &&
	       (map->slot[i].object != object || map->slot[i].index != index))
		i = (i + 1) & (map->size - 1);
	return &map->slot[i];
}

static void map_grow(struct map *map)
{
	struct map old = *map;

	map->size = old.size ? 2 * old.size : 1024;
	map->slot = must(calloc(map->size, sizeof(*map->slot)));
	for (uint32_t i = 0; i < old.size; i++)
		if (old.slot[i].number)
			*map_find(map, old.slot[i].object, old.slot[i].index) =
				old.slot[i];
	free(old.slot);
}

/* The number of (object, index), a new one unless it has one. */
static uint32_t map_number(struct map *map, uint64_t object, uint32_t index)
{
	struct slot *slot;

	if (2 * (map->count + 1) > map->size)
		map_grow(map);
	slot = map_find(map, object, index);
	if (!slot->number)
		*slot = (struct slot){object, index, ++map->count};
	return slot->number;
}

/* Tables that grow. */
struct loader {
	struct trace *trace;
	struct map pages, leaves;
	size_t events_room;
	uint32_t pages_room, leaves_room;
};

static void add_event(struct loader *l, struct event event)
{
	struct trace *t = l->trace;

	if (t->count == l->events_room) {
		l->events_room = 2 * l->events_room + 1024;
		t->events = must(reallocarray(t->events, l->events_room,
					      sizeof(*t->events)));
	}
	t->events[t->count++] = event;
}

static uint32_t leaf_of(struct loader *l, uint64_t object, uint32_t index)
{
	struct trace *t = l->trace;
	uint32_t leaf = map_number(&l->leaves, object, index / LEAF_PAGES);
	struct tmem_key key;

	if (leaf >= l->leaves_room) {
		l->leaves_room = 2 * leaf + 1024;
		t->leaves = must(reallocarray(t->leaves, l->leaves_room,
					      sizeof(*t->leaves)));
	}
	key = key_of(object, index / LEAF_PAGES);
	t->leaves[leaf] = (struct leaf){
		.shard = tmem_index_shard_of(&key),
		.name = tmem_index_name(&key),
	};
	return leaf;
}

static uint32_t page_of(struct loader *l, uint64_t object, uint32_t index)
{
	struct trace *t = l->trace;
	uint32_t page = map_number(&l->pages, object, index);

	if (page >= l->pages_room) {
		l->pages_room = 2 * page + 1024;
		t->pages = must(reallocarray(t->pages, l->pages_room,
					     sizeof(*t->pages)));
	}
	t->pages[page] = (struct page){
		.object = object,
		.index = index,
		.leaf = leaf_of(l, object, index),
	};
	return page;
}

/* What is gone matters only where it was read or written. */
static void flush_known(struct loader *l, uint64_t object, uint64_t first,
			uint64_t count)
{
	struct trace *t = l->trace;
	struct event event = {.kind = EVENT_FLUSH};

	if (!l->pages.size)
		return;
	if (count > MOST_PAGES) {
		for (uint32_t p = 1; p <= l->pages.count; p++) {
			event.page = p & 0x1fffffff;
			if (t->pages[p].object == object &&
			    t->pages[p].index >= first)
				add_event(l, event);
		}
		return;
	}
	for (uint64_t i = first; i < first + count; i++) {
		event.page = map_find(&l->pages, object, (uint32_t)i)->number &
			     0x1fffffff;
		if (event.page)
			add_event(l, event);
	}
}

static void load_line(struct loader *l, const char *path, const char *line)
{
	uint64_t object, first, count;
	char what;

	if (*line == '#' || *line == '\n')
		return;
	if (sscanf(line, "%c %" SCNx64 " %" SCNu64 " %" SCNu64, &what, &object,
		   &first, &count) != 4 ||
	    !strchr("rwf", what) ||
	    (what != 'f' && (first > UINT32_MAX || count > MOST_PAGES))) {
		fprintf(stderr, "eviction: %s: not a request: %s", path, line);
		exit(EXIT_FAILURE);
	}
	if (what == 'f') {
		flush_known(l, object, first, count);
		return;
	}
	for (uint64_t i = first; i < first + count; i++)
		add_event(l, (struct event){
				     .kind = what == 'r' ? EVENT_READ
							 : EVENT_FLUSH,
				     .wrote = what == 'w',
				     .page = page_of(l, object, (uint32_t)i) &
					     0x1fffffff,
			     });
}

void trace_load(struct trace *trace, const char *path)
{
	struct loader l = {.trace = trace};
	FILE *file = fopen(path, "re");
	char line[256];

	if (!file) {
		fprintf(stderr, "eviction: %s: %s\n", path, strerror(errno));
		exit(EXIT_FAILURE);
	}
	memset(trace, 0, sizeof(*trace));
	while (fgets(line, sizeof(line), file))
		load_line(&l, path, line);
	fclose(file);
	trace->page_end = l.pages.count + 1;
	trace->leaf_end = l.leaves.count + 1;
	free(l.pages.slot);
	free(l.leaves.slot);
}

void trace_free(struct trace *trace)
{
	free(trace->events);
	free(trace->pages);
	free(trace->leaves);
	memset(trace, 0, sizeof(*trace));
}

void trace_behind(const struct trace *trace, uint32_t guest_pages,
		  struct trace *out)
{
	struct loader l = {.trace = out};
	struct lists lists;
	struct list lru = {0};

	*out = *trace;
	out->events = NULL;
	out->count = 0;
	lists_init(&lists, trace->page_end);
	for (size_t i = 0; i < trace->count; i++) {
		struct event event = trace->events[i];
		bool held = lists_on(&lists, &lru, event.page);

		if (held)
			lists_remove(&lists, &lru, event.page);
		if (event.kind == EVENT_FLUSH || !held || !guest_pages)
			add_event(&l, event);
		if ((event.kind == EVENT_FLUSH && !event.wrote) || !guest_pages)
			continue;
		lists_push(&lists, &lru, event.page);
		if (lru.count > guest_pages) {
			event.page = lru.tail & 0x1fffffff;
			event.kind = EVENT_EVICT;
			lists_remove(&lists, &lru, lru.tail);
			add_event(&l, event);
		}
	}
	lists_deinit(&lists);
}
