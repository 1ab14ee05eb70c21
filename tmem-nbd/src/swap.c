/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Swap on and off (swap.h). */
#include "swap.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/swap.h>
#include <unistd.h>
#include "child.h"
#include "log.h"

/* Left to others when swap ends. */
#define ROOM_LEFT (UINT64_C(32) << 20)

/* Where swap's signature is, in its first page. */
#define SIGNATURE	 "SWAPSPACE2"
#define SIGNATURE_OFFSET 4086

/* What file systems and partition tables begin with is in here. */
#define LOOK_BYTES (128 << 10)

static FILE *open_under(const char *root, const char *path)
{
	char whole[PATH_MAX];

	snprintf(whole, sizeof(whole), "%s%s", root, path);
	return fopen(whole, "re");
}

int nbd_swap_find(const char *root, const char *device, struct nbd_swap *out)
{
	FILE *file = open_under(root, "/proc/swaps");
	char line[PATH_MAX + 128], name[PATH_MAX];
	uint64_t size, used;
	int r = -ENOENT;

	if (!file)
		return errno == ENOENT ? -ENOENT : -errno;
	while (r && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%4095s %*s %" SCNu64 " %" SCNu64, name, &size,
			   &used) == 3 &&
		    !strcmp(name, device)) {
			*out = (struct nbd_swap){.size = size << 10,
						 .used = used << 10};
			r = 0;
		}
	}
	fclose(file);
	return r;
}

int nbd_swap_room(const char *root, const struct nbd_swap *swap,
		  uint64_t *bytes)
{
	FILE *file = open_under(root, "/proc/meminfo");
	uint64_t available = 0, free = 0, own = swap->size - swap->used;
	unsigned found = 0;
	char line[256];

	if (!file)
		return -errno;
	while (fgets(line, sizeof(line), file)) {
		found +=
			sscanf(line, "MemAvailable: %" SCNu64, &available) == 1;
		found += sscanf(line, "SwapFree: %" SCNu64, &free) == 1;
	}
	fclose(file);
	if (found != 2)
		return -EPROTO;
	free <<= 10;
	*bytes = (available << 10) + (free > own ? free - own : 0);
	return 0;
}

bool nbd_swap_fits(const struct nbd_swap *swap, uint64_t room)
{
	return swap->used + ROOM_LEFT <= room || !swap->used;
}

/** Whether there is nothing in a device that anybody may want again. */
static int check_empty(const char *device)
{
	static char bytes[LOOK_BYTES];
	int fd = open(device, O_RDONLY | O_CLOEXEC | O_EXCL);
	ssize_t n, i = 0;

	if (fd < 0)
		return -errno;
	n = pread(fd, bytes, sizeof(bytes), 0);
	close(fd);
	if (n < 0)
		return -errno;
	if (n >= SIGNATURE_OFFSET + 10 &&
	    !memcmp(bytes + SIGNATURE_OFFSET, SIGNATURE, 10))
		return 0;
	while (i < n && !bytes[i])
		i++;
	return i == n ? 0 : -EEXIST;
}

int nbd_swap_on(const char *device, unsigned priority)
{
	const char *const mkswap[] = {"mkswap", device, NULL};
	int r = check_empty(device);

	if (r == -EEXIST)
		tmem_log(
			LOG_ERR,
			"the device holds data that is not swap: attach it with --no-swap, or serve another with tmem-nbd --reset");
	else if (r < 0)
		tmem_log(LOG_ERR, "reading %s failed: %s", device,
			 strerror(-r));
	if (!r)
		r = nbd_child_run(mkswap);
	if (r < 0)
		return r;
	if (!swapon(device, SWAP_FLAG_DISCARD | SWAP_FLAG_PREFER |
				    (int)(priority & SWAP_FLAG_PRIO_MASK)))
		return 0;
	r = -errno;
	tmem_log(LOG_ERR, "swap on %s failed: %s", device, strerror(-r));
	return r;
}

static void wake_up(int signal)
{
	(void)signal;
}

int nbd_swap_off(const char *device)
{
	const struct sigaction action = {.sa_handler = wake_up};
	sigset_t none, before;
	int r;

	/* It takes as long as there is to read, and a signal interrupts it. */
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, &before);
	r = swapoff(device) ? -errno : 0;
	sigprocmask(SIG_SETMASK, &before, NULL);
	if (r == -ENOMEM)
		tmem_log(
			LOG_ERR,
			"there is not enough memory for what is in swap on %s: it stays on; end programs, or add other swap",
			device);
	else if (r == -EINTR)
		tmem_log(LOG_ERR, "interrupted: swap on %s stays on", device);
	else if (r < 0)
		tmem_log(LOG_ERR, "ending swap on %s failed: %s", device,
			 strerror(-r));
	return r;
}
