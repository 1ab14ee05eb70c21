/* SPDX-License-Identifier: GPL-2.0-or-later */
/* When a connection's thread spins, and when it no longer does. */
#include <check.h>
#include <stdlib.h>
#include "spin.h"

/** Spin for input that never comes. */
static void spin_in_vain(struct nbd_spin *spin)
{
	while (nbd_spin_again(spin))
		;
}

START_TEST(spinning_ends_by_itself)
{
	struct nbd_spin spin = {0};

	ck_assert(nbd_spin_begin(&spin));
	spin_in_vain(&spin);
	ck_assert(!nbd_spin_begin(&spin));
}
END_TEST

START_TEST(who_spins_in_vain_spins_ever_more_seldom)
{
	struct nbd_spin spin = {0};
	unsigned slept, rest;

	for (rest = 1; rest <= NBD_SPIN_REST; rest *= 2) {
		ck_assert(nbd_spin_begin(&spin));
		spin_in_vain(&spin);
		for (slept = 0; slept < rest; slept++)
			ck_assert(!nbd_spin_begin(&spin));
	}
	/* No more seldom than that. */
	ck_assert(nbd_spin_begin(&spin));
	spin_in_vain(&spin);
	for (slept = 0; slept < NBD_SPIN_REST; slept++)
		ck_assert(!nbd_spin_begin(&spin));
	ck_assert(nbd_spin_begin(&spin));
}
END_TEST

START_TEST(who_finds_something_spins_each_time)
{
	struct nbd_spin spin = {0};
	unsigned i;

	for (i = 0; i < 4; i++) {
		while (!nbd_spin_begin(&spin))
			;
		spin_in_vain(&spin);
	}
	while (!nbd_spin_begin(&spin))
		;
	nbd_spin_found(&spin);
	for (i = 0; i < 4; i++) {
		ck_assert(nbd_spin_begin(&spin));
		nbd_spin_found(&spin);
	}
	/* And what it failed at before is forgotten. */
	ck_assert(nbd_spin_begin(&spin));
	spin_in_vain(&spin);
	ck_assert(!nbd_spin_begin(&spin));
	ck_assert(nbd_spin_begin(&spin));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("NBD spinning");
	TCase *tc = tcase_create("spin");
	SRunner *runner;
	int failed;

	tcase_add_test(tc, spinning_ends_by_itself);
	tcase_add_test(tc, who_spins_in_vain_spins_ever_more_seldom);
	tcase_add_test(tc, who_finds_something_spins_each_time);
	tcase_set_timeout(tc, 60);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
