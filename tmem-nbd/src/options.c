/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Parsing tmem-nbd's command line. */
#include "options.h"
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <tmem/store.h>
#include <unistd.h>
#include "codec.h"
#include "log.h"
#include "message.h"
#include "size.h"

static const char help[] =
	"Usage: tmem-nbd --size SIZE [OPTION]...\n"
	"       tmem-nbd attach|detach [OPTION]... [NAME]\n"
	"Serve a block device from memory on a unix socket, over the NBD protocol.\n"
	"\n"
	"  -s, --size=SIZE          size of the device (512 to 16T)\n"
	"  -o, --overflow=FILE      put pages there that memory has no room for\n"
	"  -u, --socket=PATH        listen there (default: /run/tmem/NAME.nbd, or\n"
	"                           $XDG_RUNTIME_DIR/tmem/NAME.nbd); -: stdin is\n"
	"                           the socket\n"
	"      --socket-mode=MODE   permissions of the socket (default: 600)\n"
	"  -n, --name=NAME          name of the export (default: nbd0)\n"
	"      --description=TEXT   description of the export\n"
	"  -r, --read-only          refuse writes\n"
	"  -f, --foreground         do not become a daemon\n"
	"      --pidfile=FILE       write the process id there when ready\n"
	"      --max-connections=N  most clients at a time (default: 64)\n"
	"      --host-swap          this host is to swap on it: do not wait for memory\n"
	"      --reset              begin with an empty device, whatever is kept\n"
	"  -v, --verbose            say more\n"
	"\n"
	"Where the pages are: in tmemd if one runs, else in this process.\n"
	"      --tmemd=SOCKET       in the tmemd that listens there\n"
	"      --keep               in tmemd: keep them when this process ends\n"
	"  -e, --embedded           in this process\n"
	"  -b, --budget=SIZE        in this process, and use at most SIZE of memory\n"
	"      --arena=FILE         in this process, in FILE on a tmpfs, and keep them\n"
	"      --nursery=SIZE       in this process, and compress pages later as long as\n"
	"                           there is room in SIZE of it (default: an eighth,\n"
	"                           or half of what is free)\n"
	"      --codec=CODEC        compress with lz4, lzo or zstd, or not at all (raw)\n"
	"\n"
	"Commands (tmem-nbd COMMAND --help says more):\n"
	"  attach                   make a device, and swap, of an export\n"
	"  detach                   undo that\n"
	"\n"
	"      --help               print this\n"
	"      --version            print the version\n";

enum {
	OPT_SOCKET_MODE = 256,
	OPT_DESCRIPTION,
	OPT_PIDFILE,
	OPT_MAX_CONNECTIONS,
	OPT_RESET,
	OPT_HOST_SWAP,
	OPT_TMEMD,
	OPT_KEEP,
	OPT_ARENA,
	OPT_NURSERY,
	OPT_CODEC,
	OPT_HELP,
	OPT_VERSION,
};

static const struct option long_options[] = {
	{"size", required_argument, NULL, 's'},
	{"overflow", required_argument, NULL, 'o'},
	{"socket", required_argument, NULL, 'u'},
	{"socket-mode", required_argument, NULL, OPT_SOCKET_MODE},
	{"name", required_argument, NULL, 'n'},
	{"description", required_argument, NULL, OPT_DESCRIPTION},
	{"read-only", no_argument, NULL, 'r'},
	{"foreground", no_argument, NULL, 'f'},
	{"pidfile", required_argument, NULL, OPT_PIDFILE},
	{"max-connections", required_argument, NULL, OPT_MAX_CONNECTIONS},
	{"host-swap", no_argument, NULL, OPT_HOST_SWAP},
	{"reset", no_argument, NULL, OPT_RESET},
	{"verbose", no_argument, NULL, 'v'},
	{"tmemd", required_argument, NULL, OPT_TMEMD},
	{"keep", no_argument, NULL, OPT_KEEP},
	{"embedded", no_argument, NULL, 'e'},
	{"budget", required_argument, NULL, 'b'},
	{"arena", required_argument, NULL, OPT_ARENA},
	{"nursery", required_argument, NULL, OPT_NURSERY},
	{"codec", required_argument, NULL, OPT_CODEC},
	{"help", no_argument, NULL, OPT_HELP},
	{"version", no_argument, NULL, OPT_VERSION},
	{NULL, 0, NULL, 0},
};

static int parse_size(const char *option, const char *text, uint64_t *out)
{
	int r = tmem_size_parse(text, out);

	if (r < 0)
		tmem_log(LOG_ERR, "--%s: '%s' is no size: write 512M or 1G",
			 option, text);
	return r;
}

static int parse_number(const char *option, const char *text, int base,
			unsigned long max, unsigned *out)
{
	unsigned long value;
	char *end;

	errno = 0;
	value = strtoul(text, &end, base);
	if (errno || end == text || *end || *text == '-' || !value ||
	    value > max) {
		tmem_log(
			LOG_ERR,
			base == 8
				? "--%s: '%s' is not a number from 1 to %lo, in octal"
				: "--%s: '%s' is not a number from 1 to %lu",
			option, text, max);
		return -EINVAL;
	}
	*out = (unsigned)value;
	return 0;
}

static int parse_codec(struct nbd_options *options, const char *text)
{
	enum tmem_codec codec;

	for (codec = TMEM_CODEC_RAW; codec < TMEM_CODEC_COUNT; codec++) {
		if (!strcmp(text, tmem_codec_name(codec))) {
			options->codec = codec;
			return 0;
		}
	}
	tmem_log(LOG_ERR, "--codec: '%s' is none of lz4, lzo, zstd, raw", text);
	return -EINVAL;
}

/** Where the store shall be; two options may not contradict each other. */
static int choose(struct nbd_options *options, enum nbd_where where)
{
	if (options->where != NBD_WHERE_EITHER && options->where != where) {
		tmem_log(
			LOG_ERR,
			"--tmemd and --keep contradict --embedded, --budget, --nursery and --arena: leave one side out");
		return -EINVAL;
	}
	options->where = where;
	return 0;
}

/** Options of this process's own store, or of tmemd's. */
static int parse_where(struct nbd_options *o, int option)
{
	int r;

	switch (option) {
	case 'e':
		return choose(o, NBD_WHERE_EMBEDDED);
	case 'b':
		r = parse_size("budget", optarg, &o->budget);
		return r < 0 ? r : choose(o, NBD_WHERE_EMBEDDED);
	case OPT_ARENA:
		o->arena = optarg;
		return choose(o, NBD_WHERE_EMBEDDED);
	case OPT_NURSERY:
		r = parse_size("nursery", optarg, &o->nursery);
		return r < 0 ? r : choose(o, NBD_WHERE_EMBEDDED);
	case OPT_TMEMD:
		free(o->tmemd);
		o->tmemd = strdup(optarg);
		return o->tmemd ? choose(o, NBD_WHERE_HOSTED) : -ENOMEM;
	case OPT_KEEP:
		o->keep = true;
		return choose(o, NBD_WHERE_HOSTED);
	case OPT_CODEC:
		return parse_codec(o, optarg);
	default:
		/* getopt has said what is wrong. */
		return -EINVAL;
	}
}

static int parse_option(struct nbd_options *o, int option)
{
	unsigned mode;
	int r;

	switch (option) {
	case 's':
		return parse_size("size", optarg, &o->size);
	case 'o':
		o->overflow = optarg;
		return 0;
	case 'u':
		free(o->socket);
		o->socket = strdup(optarg);
		return o->socket ? 0 : -ENOMEM;
	case OPT_SOCKET_MODE:
		r = parse_number("socket-mode", optarg, 8, 0777, &mode);
		o->socket_mode = r ? o->socket_mode : (mode_t)mode;
		return r;
	case 'n':
		o->name = optarg;
		return 0;
	case OPT_DESCRIPTION:
		o->description = optarg;
		return 0;
	case 'r':
		o->read_only = true;
		return 0;
	case 'f':
		o->foreground = true;
		return 0;
	case OPT_PIDFILE:
		free(o->pidfile);
		o->pidfile = strdup(optarg);
		return o->pidfile ? 0 : -ENOMEM;
	case OPT_MAX_CONNECTIONS:
		return parse_number("max-connections", optarg, 10, 65536,
				    &o->max_connections);
	case OPT_HOST_SWAP:
		o->host_swap = true;
		return 0;
	case OPT_RESET:
		o->reset = true;
		return 0;
	case 'v':
		o->verbose = true;
		return 0;
	default:
		return parse_where(o, option);
	}
}

/** A daemon changes its directory. */
static int make_absolute(char **path)
{
	char cwd[PATH_MAX], *absolute;

	if (!*path || **path == '/')
		return 0;
	if (!getcwd(cwd, sizeof(cwd)))
		return -errno;
	if (asprintf(&absolute, "%s/%s", cwd, *path) < 0)
		return -ENOMEM;
	free(*path);
	*path = absolute;
	return 0;
}

static int default_socket(struct nbd_options *options)
{
	const char *dir = getenv("XDG_RUNTIME_DIR");
	int r;

	if (options->socket)
		return 0;
	if (!geteuid()) {
		r = asprintf(&options->socket, "/run/tmem/%s.nbd",
			     options->name);
	} else if (dir) {
		r = asprintf(&options->socket, "%s/tmem/%s.nbd", dir,
			     options->name);
	} else {
		tmem_log(
			LOG_ERR,
			"there is no XDG_RUNTIME_DIR to listen in: give --socket");
		return -EINVAL;
	}
	if (r < 0) {
		options->socket = NULL;
		return -ENOMEM;
	}
	return 0;
}

/** Where to listen: at a path, or with the socket that was handed over. That
 * one is another's to remove, and its owner waits for this process. */
static int settle_socket(struct nbd_options *options)
{
	int count = sd_listen_fds(1), r;

	if (options->socket && !strcmp(options->socket, "-"))
		options->listen_fd = STDIN_FILENO;
	if (count > 1 || (count == 1 && options->socket)) {
		tmem_log(
			LOG_ERR,
			"%d sockets were handed over (LISTEN_FDS): hand over one, and leave out --socket",
			count);
		return -EINVAL;
	}
	if (count == 1)
		options->listen_fd = SD_LISTEN_FDS_START;
	if (options->listen_fd < 0) {
		r = default_socket(options);
		return r ? r : make_absolute(&options->socket);
	}
	free(options->socket);
	options->socket = NULL;
	options->foreground = true;
	return 0;
}

/** Which tmemd it is, once and for all. */
static int settle_tmemd(struct nbd_options *options)
{
	char *path;
	int r = tmem_message_socket(options->tmemd, &path);

	if (r)
		return r;
	free(options->tmemd);
	options->tmemd = path;
	return 0;
}

int nbd_options_parse(struct nbd_options *options, int argc, char **argv)
{
	int option, r = 0;

	*options = (struct nbd_options){
		.name = "nbd0",
		.listen_fd = -1,
		.socket_mode = 0600,
		.nursery = TMEM_NURSERY_AUTO,
	};
	while (!r && (option = getopt_long(argc, argv, "s:o:u:n:rfveb:",
					   long_options, NULL)) != -1) {
		if (option == OPT_HELP) {
			fputs(help, stdout);
			return 1;
		}
		if (option == OPT_VERSION) {
			puts("tmem-nbd " TMEM_VERSION);
			return 1;
		}
		r = parse_option(options, option);
	}
	if (!r && optind < argc) {
		tmem_log(LOG_ERR, "'%s' is not an option: see tmem-nbd --help",
			 argv[optind]);
		r = -EINVAL;
	}
	/* A device that is kept knows its size. */
	if (!r && !options->size && options->where != NBD_WHERE_HOSTED &&
	    !options->arena) {
		tmem_log(LOG_ERR, "give the device a --size, such as 1G");
		r = -EINVAL;
	}
	if (!r)
		r = settle_socket(options);
	if (!r)
		r = make_absolute(&options->pidfile);
	if (!r)
		r = settle_tmemd(options);
	return r;
}

void nbd_options_deinit(struct nbd_options *options)
{
	free(options->socket);
	free(options->pidfile);
	free(options->tmemd);
	options->socket = options->pidfile = options->tmemd = NULL;
}
