/* SPDX-License-Identifier: GPL-2.0-or-later */
#define FUSE_USE_VERSION 314
#include <ctype.h>
#include <errno.h>
#include <fuse_opt.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <tmem/client.h>
#include <tmem/store.h>
#include <unistd.h>

#include "client-ops.h"
#include "codec.h"
#include "options.h"
#include "size.h"

enum timeout {
	TIMEOUT_ENTRY,
	TIMEOUT_ATTR,
	TIMEOUT_NEGATIVE,
	TIMEOUT_COUNT,
};

/* Values that need more than a conversion; parsed after the rest. */
struct texts {
	char *coherency, *budget, *nursery, *codec;
	char *timeout[TIMEOUT_COUNT], *max_threads;
	char *fsname, *subtype;
	int default_permissions_off;
};

struct parse {
	struct fs_options opt;
	struct texts text;
	char *source, *mountpoint;
	int foreground, debug, single, help, version, embedded;
	int allow_other, default_permissions;
};

#define MEMBER(template, member, value)                                        \
	{                                                                      \
		template, offsetof(struct parse, member), value                \
	}

enum key { KEY_DISCARD = 100, KEY_REMOUNT };

static const struct fuse_opt specs[] = {
	MEMBER("-f", foreground, 1),
	MEMBER("-d", debug, 1),
	MEMBER("debug", debug, 1),
	MEMBER("-s", single, 1),
	MEMBER("-h", help, 1),
	MEMBER("--help", help, 1),
	MEMBER("-V", version, 1),
	MEMBER("--version", version, 1),
	MEMBER("--embedded", embedded, 1),
	MEMBER("embedded", embedded, 1),
	MEMBER("tmemd=%s", opt.socket, 0),
	MEMBER("budget=%s", text.budget, 0),
	MEMBER("nursery=%s", text.nursery, 0),
	MEMBER("codec=%s", text.codec, 0),
	MEMBER("name=%s", opt.name, 0),
	MEMBER("coherency=%s", text.coherency, 0),
	MEMBER("entry_timeout=%s", text.timeout[TIMEOUT_ENTRY], 0),
	MEMBER("attr_timeout=%s", text.timeout[TIMEOUT_ATTR], 0),
	MEMBER("negative_timeout=%s", text.timeout[TIMEOUT_NEGATIVE], 0),
	MEMBER("max_threads=%s", text.max_threads, 0),
	MEMBER("max_read=%u", opt.max_read, 0),
	FUSE_OPT_KEY("max_read=", FUSE_OPT_KEY_KEEP),
	MEMBER("no_default_permissions", text.default_permissions_off, 1),
	MEMBER("fsname=%s", text.fsname, 0),
	MEMBER("subtype=%s", text.subtype, 0),
	MEMBER("allow_other", allow_other, 1),
	MEMBER("allow_root", allow_other, 1),
	MEMBER("default_permissions", default_permissions, 1),
	FUSE_OPT_KEY("allow_root", FUSE_OPT_KEY_KEEP),
	/* What mount(8) and fstab have for others. */
	FUSE_OPT_KEY("defaults", KEY_DISCARD),
	FUSE_OPT_KEY("auto", KEY_DISCARD),
	FUSE_OPT_KEY("noauto", KEY_DISCARD),
	FUSE_OPT_KEY("user", KEY_DISCARD),
	FUSE_OPT_KEY("nouser", KEY_DISCARD),
	FUSE_OPT_KEY("users", KEY_DISCARD),
	FUSE_OPT_KEY("owner", KEY_DISCARD),
	FUSE_OPT_KEY("group", KEY_DISCARD),
	FUSE_OPT_KEY("nofail", KEY_DISCARD),
	FUSE_OPT_KEY("_netdev", KEY_DISCARD),
	FUSE_OPT_KEY("relatime", KEY_DISCARD),
	FUSE_OPT_KEY("comment=", KEY_DISCARD),
	FUSE_OPT_KEY("remount", KEY_REMOUNT),
	FUSE_OPT_END,
};

static int bad(const char *what, const char *value, const char *remedy)
{
	fprintf(stderr, "tmemfs: %s \"%s\": %s\n", what, value, remedy);
	return -EINVAL;
}

/* fuse_opt_parse() asks about what the table does not finish: 0 drops it, 1
 * leaves it to libfuse, -1 is an error. */
static int process(void *data, const char *arg, int key, struct fuse_args *rest)
{
	struct parse *parse = data;
	char **place;

	if (key == KEY_DISCARD ||
	    (key == FUSE_OPT_KEY_OPT &&
	     (!strncmp(arg, "x-", 2) || !strncmp(arg, "X-", 2))))
		return 0;
	if (key == KEY_REMOUNT) {
		bad("option", arg,
		    "unmount and mount again, or use mount -i -o remount for the kernel's own options");
		return -1;
	}
	if (key != FUSE_OPT_KEY_NONOPT)
		return 1;
	if (parse->mountpoint) {
		bad("argument", arg, "one SOURCE and one MOUNTPOINT are taken");
		return -1;
	}
	place = !parse->source ? &parse->source : &parse->mountpoint;
	*place = strdup(arg);
	return *place ? 0 : -1;
}

static int parse_coherency(const char *text, enum fs_coherency *out)
{
	static const char *const names[] = {
		[FS_STRICT] = "strict",
		[FS_OPEN] = "open",
		[FS_EXCLUSIVE] = "exclusive",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (!text ? i == FS_OPEN : !strcmp(text, names[i])) {
			*out = (enum fs_coherency)i;
			return 0;
		}
	return bad("coherency", text, "use strict, open or exclusive");
}

static int parse_codec(const char *text, enum tmem_codec *out)
{
	enum tmem_codec codec;

	*out = TMEM_CODEC_NONE;
	if (!text)
		return 0;
	for (codec = TMEM_CODEC_RAW; codec < TMEM_CODEC_COUNT; codec++)
		if (!strcmp(text, tmem_codec_name(codec))) {
			*out = codec;
			return 0;
		}
	return bad("codec", text, "use raw, lz4, lzo or zstd");
}

static int parse_budget(const char *text, uint64_t *out)
{
	*out = 0;
	if (!text)
		return 0;
	if (tmem_size_parse(text, out) || *out < TMEM_BUDGET_MIN)
		return bad("budget", text,
			   "give a size of 4M or more, as 512M");
	return 0;
}

static int parse_nursery(const char *text, uint64_t *out)
{
	*out = TMEM_NURSERY_AUTO;
	if (text && tmem_size_parse(text, out))
		return bad("nursery", text, "give a size, as 32M, or 0");
	return 0;
}

static int parse_max_threads(const char *text, unsigned *out)
{
	unsigned long value;
	char *end;

	*out = 64;
	if (!text)
		return 0;
	value = strtoul(text, &end, 10);
	if (!isdigit((unsigned char)*text) || *end || value < 1 || value > 1000)
		return bad("max_threads", text, "give 1 to 1000");
	*out = (unsigned)value;
	return 0;
}

/* Seconds that the kernel may believe names and attributes without asking. */
static int parse_timeout(const char *text, enum fs_coherency coherency,
			 double *out)
{
	char *end;

	if (!text)
		return 0;
	*out = strtod(text, &end);
	/* Written so that NaN is refused. */
	if (end == text || *end || !(*out >= 0 && *out <= 1e9))
		return bad("timeout", text, "give seconds, 0 to 1e9");
	if (coherency == FS_STRICT && *out > 0)
		return bad("timeout", text,
			   "coherency=strict goes with none: leave it out");
	return 0;
}

static int parse_timeouts(char *const text[TIMEOUT_COUNT],
			  struct fs_options *opt)
{
	static const double defaults[] = {
		[FS_STRICT] = 0,
		[FS_OPEN] = 1,
		[FS_EXCLUSIVE] = 86400,
	};
	int rc;

	opt->entry_timeout = opt->attr_timeout = defaults[opt->coherency];
	opt->negative_timeout = 0;
	if ((rc = parse_timeout(text[TIMEOUT_ENTRY], opt->coherency,
				&opt->entry_timeout)) ||
	    (rc = parse_timeout(text[TIMEOUT_ATTR], opt->coherency,
				&opt->attr_timeout)))
		return rc;
	return parse_timeout(text[TIMEOUT_NEGATIVE], opt->coherency,
			     &opt->negative_timeout);
}

/* As other file systems show themselves: SOURCE on MOUNTPOINT type
 * fuse.tmemfs. */
static int name_mount(struct fuse_args *args, const struct parse *parse)
{
	char *opts = NULL, *text = NULL;
	int rc;

	if (asprintf(&text, "fsname=%s",
		     parse->text.fsname ? parse->text.fsname
					: parse->opt.source) < 0)
		return -ENOMEM;
	rc = fuse_opt_add_opt_escaped(&opts, text);
	free(text);
	if (rc == 0 &&
	    asprintf(&text, "subtype=%s",
		     parse->text.subtype ? parse->text.subtype : "tmemfs") < 0)
		rc = -1;
	if (rc == 0) {
		rc = fuse_opt_add_opt_escaped(&opts, text);
		free(text);
	}
	rc = rc || fuse_opt_add_arg(args, "-o") ||
	     fuse_opt_add_arg(args, opts) ||
	     (parse->opt.allow_other &&
	      fuse_opt_add_arg(args, "-oallow_other")) ||
	     (parse->opt.default_permissions &&
	      fuse_opt_add_arg(args, "-odefault_permissions"));
	free(opts);
	return rc ? -ENOMEM : 0;
}

/*
 * Everybody may use root's mount, with the kernel checking permissions. A
 * user's own mount is for that user alone, whose rights the lower file system
 * checks; opened to others, the kernel must check again.
 */
static void settle_access(struct parse *parse)
{
	struct fs_options *opt = &parse->opt;

	opt->allow_other = parse->allow_other || geteuid() == 0;
	opt->default_permissions =
		parse->default_permissions ||
		(opt->allow_other && !parse->text.default_permissions_off);
}

/* Without links and relative parts, as the kernel shows mount points; so that
 * whoever looks at the mount table later knows what is meant. */
static int resolve(const struct parse *parse, struct fs_options *opt)
{
	struct stat st;

	if (!parse->mountpoint) {
		fprintf(stderr,
			"tmemfs: give SOURCE and MOUNTPOINT; tmemfs --help shows how\n");
		return -EINVAL;
	}
	opt->source = realpath(parse->source, NULL);
	if (!opt->source)
		return bad("source", parse->source, strerror(errno));
	opt->mountpoint = realpath(parse->mountpoint, NULL);
	if (!opt->mountpoint || stat(opt->mountpoint, &st))
		return bad(
			"mount point", parse->mountpoint,
			errno == ENOTCONN
				? "end the dead mount that is there: umount --lazy"
				: strerror(errno));
	return 0;
}

static int settle_store(const struct texts *text, struct fs_options *opt)
{
	int rc;

	if (opt->socket && opt->embedded)
		return bad("embedded with tmemd", opt->socket,
			   "leave one of them out");
	if (opt->name && !tmem_name_valid(opt->name))
		return bad(
			"name", opt->name,
			"use at most 63 printable characters, no / and no space");
	rc = parse_codec(text->codec, &opt->codec);
	if (rc == 0)
		rc = parse_nursery(text->nursery, &opt->nursery);
	return rc ? rc : parse_budget(text->budget, &opt->budget);
}

static int settle(struct fuse_args *args, struct parse *parse)
{
	struct fs_options *opt = &parse->opt;
	int rc;

	opt->foreground = parse->foreground || parse->debug;
	opt->debug = parse->debug;
	opt->single = parse->single;
	opt->embedded = parse->embedded;
	opt->help = parse->help;
	opt->version = parse->version;
	if (opt->help || opt->version)
		return 0;
	settle_access(parse);
	if ((rc = resolve(parse, opt)) ||
	    (rc = settle_store(&parse->text, opt)) ||
	    (rc = parse_max_threads(parse->text.max_threads,
				    &opt->max_threads)) ||
	    (rc = parse_coherency(parse->text.coherency, &opt->coherency)) ||
	    (rc = parse_timeouts(parse->text.timeout, opt)))
		return rc;
	if (opt->debug && fuse_opt_add_arg(args, "-d"))
		return -ENOMEM;
	return name_mount(args, parse);
}

static void parse_deinit(struct parse *parse)
{
	free(parse->text.coherency);
	free(parse->text.budget);
	free(parse->text.nursery);
	free(parse->text.codec);
	free(parse->text.max_threads);
	for (size_t i = 0; i < TIMEOUT_COUNT; i++)
		free(parse->text.timeout[i]);
	free(parse->text.fsname);
	free(parse->text.subtype);
	free(parse->source);
	free(parse->mountpoint);
}

int fs_options_parse(struct fs_options *opt, struct fuse_args *args)
{
	struct parse parse = {.source = NULL};
	int rc = -EINVAL;

	/* libfuse names an unreadable value itself. */
	if (fuse_opt_parse(args, &parse, specs, process) == 0)
		rc = settle(args, &parse);
	parse_deinit(&parse);
	*opt = parse.opt;
	if (rc)
		fs_options_deinit(opt);
	return rc;
}

void fs_options_deinit(struct fs_options *opt)
{
	free(opt->source);
	free(opt->mountpoint);
	free(opt->socket);
	free(opt->name);
	*opt = (struct fs_options){.source = NULL};
}

void fs_options_help(const char *program)
{
	printf("usage: %s [options] SOURCE MOUNTPOINT\n"
	       "\n"
	       "Mount SOURCE at MOUNTPOINT (which may be SOURCE itself), with what is read\n"
	       "kept in tmem's store.\n"
	       "\n"
	       "    -f                     stay in the foreground\n"
	       "    -d, -o debug           the same, and print every request\n"
	       "    -s                     serve with one thread\n"
	       "    --embedded             the same as -o embedded\n"
	       "    -h, --help             print this\n"
	       "    -V, --version          print the version\n"
	       "    -o tmemd=SOCKET        tmemd's socket (default: a user's own, or\n"
	       "                           " TMEM_SOCKET_PATH ",\n"
	       "                           if tmemd answers there, else embedded)\n"
	       "    -o embedded            a store of its own\n"
	       "    -o budget=SIZE         of that store (default: 25%% of the memory\n"
	       "                           available)\n"
	       "    -o nursery=SIZE        of that, for pages not compressed yet (default:\n"
	       "                           an eighth, or half of what is free)\n"
	       "    -o codec=CODEC         raw, lz4, lzo or zstd (default: the store's)\n"
	       "    -o name=NAME           client name (default: from MOUNTPOINT)\n"
	       "    -o coherency=MODE      strict, open or exclusive (default: open)\n"
	       "    -o entry_timeout=S     seconds that names are cached (default: 1; strict\n"
	       "                           0, exclusive 86400)\n"
	       "    -o attr_timeout=S      seconds that attributes are cached (likewise)\n"
	       "    -o negative_timeout=S  seconds that absence is cached (default: 0)\n"
	       "    -o max_threads=N       most threads (default: 64)\n"
	       "    -o allow_other         let other users in (default as root)\n"
	       "    -o allow_root          let root in, and nobody else\n"
	       "    -o default_permissions let the kernel check permissions (default with\n"
	       "                           allow_other)\n"
	       "    -o no_default_permissions  not, although others are let in\n"
	       "    -o max_read=BYTES      most bytes in one request of the kernel's\n"
	       "    -o auto_unmount        unmount also when the process is killed\n"
	       "    -o fsname=NAME         shown as what is mounted (default: SOURCE)\n"
	       "    -o subtype=TYPE        shown as fuse.TYPE (default: tmemfs)\n"
	       "\n"
	       "and ro, noatime and the like, as mount(8) takes them. See tmemfs(1).\n",
	       program);
}
