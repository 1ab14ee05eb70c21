/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Lists of numbers from 1 up: each is on one list of a family at most.
 *
 * Threading: one thread's.
 */
#ifndef EVICTION_LIST_H
#define EVICTION_LIST_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

/** All zero: empty. */
struct list {
	uint32_t head, tail, count;
};

/** The members of a family of lists. */
struct lists {
	struct link {
		const struct list *on; /* NULL: none */
		uint32_t next, prev;   /* towards the tail, the head */
	} * link;
};

/** For numbers below end. Ends the program without memory. */
static inline void lists_init(struct lists *lists, uint32_t end)
{
	lists->link = calloc(end, sizeof(*lists->link));
	if (!lists->link)
		abort();
}

static inline void lists_deinit(struct lists *lists)
{
	free(lists->link);
}

static inline bool lists_on(const struct lists *lists, const struct list *list,
			    uint32_t n)
{
	return lists->link[n].on == list;
}

/** Onto the head. */
static inline void lists_push(struct lists *lists, struct list *list,
			      uint32_t n)
{
	lists->link[n] = (struct link){list, list->head, 0};
	if (list->head)
		lists->link[list->head].prev = n;
	else
		list->tail = n;
	list->head = n;
	list->count++;
}

/** Before another one, or at the tail (0). */
static inline void lists_insert(struct lists *lists, struct list *list,
				uint32_t n, uint32_t before)
{
	uint32_t prev = before ? lists->link[before].prev : list->tail;

	lists->link[n] = (struct link){list, before, prev};
	*(prev ? &lists->link[prev].next : &list->head) = n;
	*(before ? &lists->link[before].prev : &list->tail) = n;
	list->count++;
}

static inline void lists_remove(struct lists *lists, struct list *list,
				uint32_t n)
{
	struct link *link = &lists->link[n];

	if (link->prev)
		lists->link[link->prev].next = link->next;
	else
		list->head = link->next;
	if (link->next)
		lists->link[link->next].prev = link->prev;
	else
		list->tail = link->prev;
	link->on = NULL;
	list->count--;
}

#endif
