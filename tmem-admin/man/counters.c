/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writes tmem-counters(7) from the tables that declare the counters. */
#include <stdio.h>
#include <tmem/stats.h>
#include "export.h"

static void section(const char *title, const char *key,
		    const struct tmem_stat_desc *desc, size_t count)
{
	printf(".Sh %s\nIn the section\n.Cm %s :\n.Bl -tag -width indent\n",
	       title, key);
	for (size_t i = 0; i < count; i++)
		printf(".It Li %s Pq %s , %s\n%s\n", desc[i].name, desc[i].unit,
		       desc[i].type, desc[i].text);
	puts(".El");
}

int main(void)
{
	puts(".\\\" SPDX-License-Identifier: GPL-2.0-or-later\n"
	     ".Dd November 23, 2026\n"
	     ".Dt TMEM-COUNTERS 7\n"
	     ".Os tmem\n"
	     ".Sh NAME\n"
	     ".Nm tmem-counters\n"
	     ".Nd what tmem counts\n"
	     ".Sh DESCRIPTION\n"
	     "The counters that\n"
	     ".Xr tmem-admin 8\n"
	     ".Cm stats\n"
	     "shows, and that are in\n"
	     ".Xr tmemd-protocol 7\n"
	     "replies under these names.\n"
	     "A counter only grows, until the client or pool ends or the store is opened\n"
	     "again; a gauge says how it is now.");
	section("THE HOST", "host", tmem_host_stat_desc, TMEM_HOST_STAT_COUNT);
	section("CLIENTS", "clients", tmem_client_stat_desc,
		TMEM_CLIENT_STAT_COUNT);
	section("POOLS", "pools", tmem_pool_stat_desc, TMEM_POOL_STAT_COUNT);
	section("EXPORTS", "exports", tmem_nbd_stat_desc, TMEM_NBD_STAT_COUNT);
	puts(".Sh SEE ALSO\n"
	     ".Xr tmem_store_stats 3 ,\n"
	     ".Xr tmemd-protocol 7 ,\n"
	     ".Xr tmem-admin 8");
	return ferror(stdout) ? 1 : 0;
}
