/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Injected failures. In test builds (TMEM_TESTING) a test arms a site so that
 * its Nth coming call fails; elsewhere everything here is nothing.
 */
#ifndef TMEM_FAULT_H
#define TMEM_FAULT_H

#include <stdbool.h>

enum tmem_fault_site {
	TMEM_FAULT_MALLOC,    /* private memory */
	TMEM_FAULT_FALLOCATE, /* arena: taking a range, no space */
	TMEM_FAULT_IO,	      /* the same, another error */
	TMEM_FAULT_PUNCH,     /* arena: giving one back */
	TMEM_FAULT_TABLE,     /* a record */
	TMEM_FAULT_SLAB,      /* a slot */
	TMEM_FAULT_COMPRESS,  /* a codec (then: held raw) */
	TMEM_FAULT_THREAD,    /* a background thread */
	TMEM_FAULT_SITES,
};

#ifdef TMEM_TESTING
/** Let call number nth (1: the next) at site fail, and every one after it
 * when sticky; nth 0 disarms. */
void tmem_fault_arm(enum tmem_fault_site site, unsigned nth, bool sticky);
/** How often a site has failed on purpose. */
unsigned tmem_fault_fired(enum tmem_fault_site site);
bool tmem_fault(enum tmem_fault_site site);
#else
static inline bool tmem_fault(enum tmem_fault_site site)
{
	(void)site;
	return false;
}
#endif

#endif
