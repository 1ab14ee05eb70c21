/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Put, get and flush on a local store: operations of client-ops.h, which see.
 */
#ifndef TMEM_OP_H
#define TMEM_OP_H

#include "client-ops.h"

int tmem_op_put_run(struct tmem_pool *pool, const struct tmem_oid *oid,
		    uint32_t index, uint32_t count, const void *pages,
		    uint8_t *outcome);
int tmem_op_replace_run(struct tmem_pool *pool, const struct tmem_oid *oid,
			uint32_t index, uint32_t count, const void *pages,
			uint8_t *outcome);
int tmem_op_get_run(struct tmem_pool *pool, const struct tmem_oid *oid,
		    uint32_t index, uint32_t count, void *pages,
		    uint8_t *outcome);
int tmem_op_flush_run(struct tmem_pool *pool, const struct tmem_oid *oid,
		      uint32_t index, uint64_t count);
int tmem_op_flush_object(struct tmem_pool *pool, const struct tmem_oid *oid);
void tmem_op_ahead(struct tmem_pool *pool, const struct tmem_oid *oid,
		   const uint32_t *indexes, unsigned count, bool put);

#endif
