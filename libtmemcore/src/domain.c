/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Dedup domains (domain.h). store->domain[number] is in use while it has
 * users; number 0 shares nothing and the common one is always 1.
 */
#include "domain.h"
#include <errno.h>

static int make_room(struct tmem_store *store, uint32_t domains)
{
	uint32_t want = store->domains ? store->domains : 8;
	struct tmem_domain *domain;

	while (want < domains)
		want *= 2;
	if (want == store->domains)
		return 0;
	domain = tmem_budget_alloc_always(&store->budget,
					  want * sizeof(*domain));
	if (!domain)
		return -ENOMEM;
	if (store->domains)
		memcpy(domain, store->domain, store->domains * sizeof(*domain));
	tmem_budget_free(&store->budget, store->domain,
			 store->domains * sizeof(*domain));
	store->domain = domain;
	store->domains = want;
	return 0;
}

static uint32_t find(const struct tmem_store *store, const char *name)
{
	for (uint32_t i = TMEM_DOMAIN_COMMON + 1; i < store->domains; i++)
		if (store->domain[i].users &&
		    !strcmp(store->domain[i].name, name))
			return i;
	return 0;
}

int tmem_domain_join(struct tmem_store *store, const char *name,
		     uint16_t *domain)
{
	uint32_t i;
	int r;

	if (name && !strcmp(name, "none")) {
		*domain = TMEM_DOMAIN_NONE;
		return 0;
	}
	r = make_room(store, 0);
	if (r < 0)
		return r;
	if (!name || !name[0]) {
		i = TMEM_DOMAIN_COMMON;
	} else {
		i = find(store, name);
		if (!i) {
			for (i = TMEM_DOMAIN_COMMON + 1; i < store->domains;
			     i++)
				if (!store->domain[i].users)
					break;
			if (i == TMEM_DOMAINS_MAX)
				return -ENOSPC;
			r = make_room(store, i + 1);
			if (r < 0)
				return r;
			strcpy(store->domain[i].name, name);
		}
	}
	store->domain[i].users++;
	*domain = (uint16_t)i;
	return 0;
}

void tmem_domain_ref(struct tmem_store *store, uint32_t domain)
{
	if (domain != TMEM_DOMAIN_NONE)
		store->domain[domain].users++;
}

void tmem_domain_unref(struct tmem_store *store, uint32_t domain)
{
	if (domain != TMEM_DOMAIN_NONE)
		store->domain[domain].users--;
}

int tmem_domain_found(struct tmem_store *store, const char *name,
		      uint32_t domain)
{
	bool none = !strcmp(name, "none"), common = !name[0];
	uint32_t other;
	int r;

	if (domain >= TMEM_DOMAINS_MAX ||
	    none != (domain == TMEM_DOMAIN_NONE) ||
	    common != (domain == TMEM_DOMAIN_COMMON))
		return -EBADMSG;
	if (none)
		return 0;
	r = make_room(store, domain + 1);
	if (r < 0)
		return r;
	other = common ? 0 : find(store, name);
	if (other && other != domain)
		return -EBADMSG;
	if (store->domain[domain].users &&
	    strcmp(store->domain[domain].name, name) != 0)
		return -EBADMSG;
	strcpy(store->domain[domain].name, name);
	store->domain[domain].users++;
	return 0;
}

void tmem_domains_deinit(struct tmem_store *store)
{
	tmem_budget_free(&store->budget, store->domain,
			 store->domains * sizeof(*store->domain));
	store->domain = NULL;
	store->domains = 0;
}
