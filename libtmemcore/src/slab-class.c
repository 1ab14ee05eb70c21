/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The size classes: how large slots are, and of how many pages their slabs.
 *
 * Chosen by measurement: the sizes that lz4, lzo and zstd make of the kernel's
 * source, of ELF files and of a compiler's anonymous memory, in equal parts;
 * all multiples of 16 as slots, all of 8 to 11 pages as slabs; and of these the
 * set (found by dynamic programming) that loses least in a store of 128 MiB:
 * the ends of slots, the ends of slabs, and half a slab a class that is not
 * full. More classes lose less in slots and more in slabs that are not full,
 * slabs of up to 16 pages a tenth of a percent less, and are less often the
 * right size when an empty one is used again. Classes below 192 bytes, of which
 * these sets have next to none, were added: a class that nothing falls into
 * costs nothing. Slots for raw pages, which puts take as fast as they copy, are
 * in a class for each lane.
 *
 * Simulated: memory over compressed bytes, of a store that was filled, after
 * every page was replaced twice and sparse slabs compacted, and after half was
 * deleted and compacted. The three sets in equal parts, lz4; zstd is within
 * 0.004.
 *
 *                              64 MiB         256 MiB        1 GiB
 *   16 pages, 111 classes   1.083  1.144   1.035  1.046   1.025  1.026
 *   16 pages, best 90       1.072  1.103   1.035  1.044   1.026  1.025
 *   8 to 16 pages, 125
 *     (for large stores)    1.074  1.127   1.028  1.038   1.018  1.018
 *   8 to 16 pages, 95       1.046  1.066   1.025  1.028   1.020  1.019
 *   4 to 8 pages, 108       1.040  1.055   1.027  1.028   1.023  1.021
 *   this table              1.051  1.081   1.027  1.031   1.021  1.020
 *
 * The table is part of the arena's format.
 */
#include <assert.h>
#include "slab-priv.h"

/* Bytes of a slot, pages of a slab. */
const struct slab_shape slab_shape[SLAB_CLASSES] = {
	/* clang-format off */
	{32, 8}, {48, 8}, {64, 8}, {80, 8}, {96, 8}, {112, 8}, {128, 8},
	{144, 8}, {160, 8}, {176, 8}, {224, 8}, {256, 8}, {288, 9}, {320, 8},
	{352, 8}, {368, 8}, {400, 9}, {432, 9}, {448, 8}, {464, 8}, {480, 8},
	{496, 8}, {512, 8}, {528, 8}, {544, 8}, {560, 10}, {576, 9}, {592, 9},
	{608, 11}, {624, 9}, {640, 10}, {656, 9}, {672, 11}, {704, 11},
	{720, 9}, {736, 9}, {752, 9}, {768, 9}, {784, 9}, {800, 9}, {816, 8},
	{832, 11}, {848, 11}, {864, 11}, {880, 8}, {896, 9}, {928, 10},
	{944, 9}, {960, 8}, {992, 8}, {1024, 8}, {1056, 8}, {1088, 8},
	{1104, 10}, {1136, 10}, {1168, 8}, {1184, 9}, {1216, 11}, {1248, 11},
	{1280, 10}, {1312, 9}, {1360, 8}, {1408, 11}, {1424, 8}, {1456, 10},
	{1488, 8}, {1536, 9}, {1568, 10}, {1600, 9}, {1632, 8}, {1664, 11},
	{1696, 10}, {1728, 11}, {1776, 10}, {1808, 8}, {1840, 9}, {1872, 11},
	{1920, 8}, {1952, 11}, {2048, 8}, {2144, 11}, {2176, 8}, {2240, 11},
	{2304, 9}, {2336, 8}, {2368, 11}, {2400, 10}, {2448, 9}, {2512, 8},
	{2560, 10}, {2624, 9}, {2720, 8}, {2816, 11}, {2912, 10}, {2976, 8},
	{3072, 9}, {3216, 11}, {3344, 9}, {3456, 11}, {3632, 8}, {3712, 10},
	{4096, 16}, {4096, 16}, {4096, 16}, {4096, 16},
	/* clang-format on */
};

/* By size in units, rounded up. Derived from the table above before anything
 * runs: looking it up there each time, by halves, is 80 instructions with
 * branches that cannot be foretold, up to three times a put. */
static uint8_t class_of_units[SLAB_PAGE / TMEM_SLAB_UNIT + 1];

__attribute__((constructor)) static void find_classes(void)
{
	unsigned class = 0;

	for (unsigned n = 0; n <= SLAB_PAGE / TMEM_SLAB_UNIT; n++) {
		while (slab_shape[class].slot < n * TMEM_SLAB_UNIT)
			class ++;
		class_of_units[n] = (uint8_t) class;
	}
}

unsigned slab_class_of(uint32_t size)
{
	unsigned class;

	assert(size >= 1 && size <= SLAB_PAGE);
	class = class_of_units[(size + TMEM_SLAB_UNIT - 1) / TMEM_SLAB_UNIT];
	return class == SLAB_RAW ? class + tmem_lane() : class;
}
