/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The commands attach and detach (attach.h). */
#include "attach.h"
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "child.h"
#include "log.h"
#include "swap.h"

#define RUN_DIRECTORY "/run/tmem"

/* Before disks, which have negative ones unless told otherwise. */
#define PRIORITY_DEFAULT 100

static const char attach_help[] =
	"Usage: tmem-nbd attach [OPTION]... [NAME]\n"
	"Have this host swap on the export NAME (default: nbd0) of a tmem-nbd that\n"
	"was started with --host-swap. Prints the device.\n"
	"\n"
	"  -d, --device=DEVICE      use this nbd device (default: a free one)\n"
	"      --fuse               use nbdfuse and a loop device, even where the\n"
	"                           kernel has nbd\n"
	"  -p, --priority=N         of the swap, 0 to 32767 (default: 100)\n"
	"      --no-swap            make the device, and leave the rest to you\n"
	"  -u, --socket=PATH        where it is served (default: /run/tmem/NAME.nbd)\n"
	"      --help               print this\n";

static const char detach_help[] =
	"Usage: tmem-nbd detach [OPTION]... [NAME]\n"
	"Undo what tmem-nbd attach did for the export NAME (default: nbd0), before\n"
	"its server is stopped.\n"
	"\n"
	"  -f, --force              try also where memory does not seem to suffice for\n"
	"                           what is in swap\n"
	"      --help               print this\n";

enum {
	OPT_FUSE = 256,
	OPT_NO_SWAP,
	OPT_HELP,
};

static const struct option attach_options[] = {
	{"device", required_argument, NULL, 'd'},
	{"fuse", no_argument, NULL, OPT_FUSE},
	{"priority", required_argument, NULL, 'p'},
	{"no-swap", no_argument, NULL, OPT_NO_SWAP},
	{"socket", required_argument, NULL, 'u'},
	{"help", no_argument, NULL, OPT_HELP},
	{NULL, 0, NULL, 0},
};

static const struct option detach_options[] = {
	{"force", no_argument, NULL, 'f'},
	{"help", no_argument, NULL, OPT_HELP},
	{NULL, 0, NULL, 0},
};

struct options {
	const char *device; /* "": any */
	const char *socket; /* NULL: the default */
	unsigned priority;
	bool fuse;
	bool no_swap;
	bool force;
};

/** An attachment and the file that remembers it, which is locked. */
struct record {
	struct nbd_attachment at;
	char *socket;
	char *path;
	int fd;
};

static int parse_priority(const char *text, unsigned *out)
{
	unsigned long value;
	char *end;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (errno || end == text || *end || *text == '-' ||
	    value > NBD_SWAP_PRIORITY_MAX) {
		tmem_log(LOG_ERR,
			 "--priority: '%s' is not a number from 0 to %u", text,
			 NBD_SWAP_PRIORITY_MAX);
		return -EINVAL;
	}
	*out = (unsigned)value;
	return 0;
}

static int parse_option(struct options *options, int option)
{
	switch (option) {
	case 'd':
		options->device = optarg;
		if (nbd_attach_is_nbd(optarg) && strlen(optarg) < 64)
			return 0;
		tmem_log(LOG_ERR, "--device: '%s' is no /dev/nbd0 or the like",
			 optarg);
		return -EINVAL;
	case OPT_FUSE:
		options->fuse = true;
		return 0;
	case 'p':
		return parse_priority(optarg, &options->priority);
	case OPT_NO_SWAP:
		options->no_swap = true;
		return 0;
	case 'u':
		options->socket = optarg;
		return 0;
	case 'f':
		options->force = true;
		return 0;
	default:
		/* getopt has said what is wrong. */
		return -EINVAL;
	}
}

/** Returns 0 with *name, 1 when help was printed, or -EINVAL. */
static int parse(int argc, char **argv, bool attach, struct options *options,
		 const char **name)
{
	int option, r = 0;

	*options = (struct options){.device = "", .priority = PRIORITY_DEFAULT};
	while (!r &&
	       (option = getopt_long(argc, argv, attach ? "d:p:u:" : "f",
				     attach ? attach_options : detach_options,
				     NULL)) != -1) {
		if (option == OPT_HELP) {
			fputs(attach ? attach_help : detach_help, stdout);
			return 1;
		}
		r = parse_option(options, option);
	}
	if (r < 0)
		return r;
	if (options->fuse && *options->device) {
		tmem_log(LOG_ERR,
			 "--fuse takes a loop device: leave --device out");
		return -EINVAL;
	}
	*name = optind < argc ? argv[optind++] : "nbd0";
	if (optind < argc || !**name || strchr(*name, '/') ||
	    strlen(*name) > 63) {
		tmem_log(LOG_ERR, "give one name of an export");
		return -EINVAL;
	}
	return 0;
}

/* What was made ------------------------------------------------------------ */

static void close_record(struct record *record)
{
	if (record->fd >= 0)
		close(record->fd);
	free(record->at.mount);
	free(record->path);
	free(record->socket);
}

static int read_record(struct record *record)
{
	char *device = record->at.device;
	ssize_t n = pread(record->fd, device, sizeof(record->at.device) - 1, 0);

	if (n < 0)
		return -errno;
	device[n] = '\0';
	device[strcspn(device, "\n")] = '\0';
	/* Nothing else was ever written there. */
	if (*device && strncmp(device, "/dev/", 5) != 0) {
		tmem_log(LOG_ERR, "%s names no device: remove it",
			 record->path);
		return -EINVAL;
	}
	return 0;
}

static int write_record(const struct record *record)
{
	if (ftruncate(record->fd, 0) ||
	    dprintf(record->fd, "%s\n", record->at.device) < 0 ||
	    fsync(record->fd)) {
		tmem_log(LOG_ERR, "writing %s failed: %s", record->path,
			 strerror(errno));
		return -EIO;
	}
	return 0;
}

static int open_record(struct record *record, const char *name,
		       const char *socket)
{
	*record = (struct record){.at.name = name, .fd = -1};
	if (socket)
		record->socket = realpath(socket, NULL);
	else if (asprintf(&record->socket, RUN_DIRECTORY "/%s.nbd", name) < 0)
		record->socket = NULL;
	record->at.socket = record->socket ? record->socket : socket;
	if (asprintf(&record->path, RUN_DIRECTORY "/%s.attached", name) < 0 ||
	    asprintf(&record->at.mount, RUN_DIRECTORY "/%s.mount", name) < 0)
		return -ENOMEM;
	if (geteuid()) {
		tmem_log(LOG_ERR, "devices and swap are root's: use sudo");
		return -EPERM;
	}
	(void)mkdir(RUN_DIRECTORY, 0755);
	record->fd = open(record->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (record->fd < 0) {
		tmem_log(LOG_ERR, "opening %s failed: %s", record->path,
			 strerror(errno));
		return -errno;
	}
	if (flock(record->fd, LOCK_EX | LOCK_NB)) {
		tmem_log(LOG_ERR, "%s is being attached or detached just now",
			 name);
		return -EBUSY;
	}
	return read_record(record);
}

/* Attach ------------------------------------------------------------------- */

/** Whether somebody serves there, who could be asked for the device. */
static int check_server(const struct nbd_attachment *at)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), r = 0;

	if (fd < 0)
		return -errno;
	if (strlen(at->socket) >= sizeof(address.sun_path))
		r = -ENAMETOOLONG;
	else
		strcpy(address.sun_path, at->socket);
	if (!r && connect(fd, (struct sockaddr *)&address, sizeof(address)))
		r = -errno;
	close(fd);
	if (r < 0)
		tmem_log(
			LOG_ERR,
			"nobody serves at %s (%s): start tmem-nbd --host-swap --name %s first, or give its --socket",
			at->socket, strerror(-r), at->name);
	return r;
}

static int make_device(struct nbd_attachment *at, const struct options *options)
{
	int r = -ENODEV;

	if (!options->fuse)
		r = nbd_attach_nbd(at, options->device);
	if (r != -ENODEV || *options->device)
		return r;
	if (!options->no_swap)
		tmem_log(
			LOG_WARNING,
			"swapping through nbdfuse and a loop device, whose memory is not locked: under pressure the host may come to a stop; load the kernel's nbd module for more than trying out");
	return nbd_attach_fuse(at);
}

/** Whether there is a device, though it may have been forgotten. */
static bool is_attached(struct nbd_attachment *at)
{
	if (nbd_attach_is_live(at))
		return true;
	return nbd_attach_find_rest(at) && *at->device;
}

static int attach(struct record *record, const struct options *options)
{
	struct nbd_attachment *at = &record->at;
	int r;

	if (is_attached(at)) {
		tmem_log(
			LOG_ERR,
			"%s is attached already, as %s: tmem-nbd detach %s first",
			at->name, at->device, at->name);
		return -EBUSY;
	}
	r = check_server(at);
	/* What one that was killed left. */
	if (!r)
		r = nbd_attach_undo(at);
	if (r < 0)
		return r;
	r = make_device(at, options);
	if (!r)
		r = write_record(record);
	if (!r && !options->no_swap)
		r = nbd_swap_on(at->device, options->priority);
	if (!r && nbd_child_interrupted())
		r = -EINTR;
	if (!r) {
		puts(at->device);
		return 0;
	}
	if (r == -EINTR)
		tmem_log(LOG_ERR, "interrupted: undoing");
	nbd_child_forget();
	return r;
}

/* Detach ------------------------------------------------------------------- */

static int end_swap(const char *device, bool force)
{
	struct nbd_swap swap;
	uint64_t room;
	int r = nbd_swap_find("", device, &swap);

	if (r == -ENOENT)
		return 0;
	if (!r && !force) {
		r = nbd_swap_room("", &swap, &room);
		if (!r && !nbd_swap_fits(&swap, room)) {
			tmem_log(
				LOG_ERR,
				"%s holds %" PRIu64
				" MiB of swap, and there is room for %" PRIu64
				" MiB elsewhere: end programs, add other swap, or try with --force",
				device, swap.used >> 20, room >> 20);
			return -ENOMEM;
		}
	}
	return r < 0 ? r : nbd_swap_off(device);
}

/** Whatever of it there is. */
static int detach(struct record *record, bool force)
{
	struct nbd_attachment *at = &record->at;
	int r = 0;

	if (nbd_attach_is_live(at))
		r = end_swap(at->device, force);
	if (!r)
		r = nbd_attach_undo(at);
	if (!r && unlink(record->path) && errno != ENOENT)
		r = -errno;
	return r;
}

static int finish(int r)
{
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

int nbd_attach_main(int argc, char **argv)
{
	struct options options;
	struct record record;
	const char *name;
	int r = parse(argc, argv, true, &options, &name);

	if (r)
		return finish(r);
	nbd_child_keep_signals();
	r = open_record(&record, name, options.socket);
	if (!r) {
		bool live = is_attached(&record.at);

		r = attach(&record, &options);
		if (r < 0 && !live)
			(void)detach(&record, true);
	}
	close_record(&record);
	return finish(r);
}

int nbd_detach_main(int argc, char **argv)
{
	struct options options;
	struct record record;
	const char *name;
	int r = parse(argc, argv, false, &options, &name);

	if (r)
		return finish(r);
	nbd_child_keep_signals();
	r = open_record(&record, name, NULL);
	if (!r && !*record.at.device && !nbd_attach_find_rest(&record.at)) {
		tmem_log(LOG_ERR, "%s is not attached", name);
		(void)unlink(record.path);
		r = -ENOENT;
	}
	if (!r)
		r = detach(&record, options.force);
	close_record(&record);
	return finish(r);
}
