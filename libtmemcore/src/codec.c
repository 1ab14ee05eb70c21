/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The codec table and its workspaces (codec.h).
 *
 * There is one workspace more than processors: a thread tries the one of its
 * processor and then the others, and waits only when every one is in use,
 * which takes more threads that compress than processors to run them.
 *
 * A workspace is complete from the start: zstd allocates when a context meets
 * its first page, so each is shown one here, and pages are all alike to it.
 */
#include "codec.h"

#include <errno.h>
#include <lz4.h>
#include <lzo/lzo1x.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif
#include <unistd.h>
#include <zstd.h>
#include "fault.h"
#include "lock.h"

/* Kernel source, bytes of a page and time: 941 at level 1 in 13 us, 888 at
 * level 4 in 23, 863 at level 12 in 160; 5.5 us to decompress all of them. */
#define ZSTD_LEVEL	1
#define ZSTD_LEVEL_COLD 4

/* Most that LZO1X makes of a page that it cannot compress. */
#define LZO_MOST (TMEM_PAGE_SIZE + TMEM_PAGE_SIZE / 16 + 64 + 3)

struct workspace {
	struct tmem_lock lock; /* guards all below */
	union {
		LZ4_stream_t lz4;
		uint8_t lzo[LZO1X_1_MEM_COMPRESS];
	} state; /* means nothing between pages */
	uint8_t out[LZO_MOST];
	ZSTD_CCtx *compress;
	ZSTD_DCtx *decompress;
};

struct tmem_codecs {
	uint64_t private;
	unsigned count;
	struct workspace *workspace[];
};

/* One row a codec. Each function works on one page with a locked workspace;
 * decompress needs one only where the row says so. */
struct codec {
	const char *name;
	size_t (*compress)(struct workspace *ws, const void *page, void *out);
	int (*decompress)(struct workspace *ws, const void *in, size_t size,
			  void *page);
	bool needs_workspace;
};

static int raw_decompress(struct workspace *ws, const void *in, size_t size,
			  void *page)
{
	if (size != TMEM_PAGE_SIZE)
		return -EBADMSG;
	tmem_page_copy(page, in);
	return 0;
}

static size_t lz4_compress(struct workspace *ws, const void *page, void *out)
{
	int n = LZ4_compress_fast_extState(&ws->state.lz4, page, out,
					   TMEM_PAGE_SIZE, TMEM_CODEC_MOST, 1);

	return n > 0 ? (size_t)n : 0;
}

static int lz4_decompress(struct workspace *ws, const void *in, size_t size,
			  void *page)
{
	int n = LZ4_decompress_safe(in, page, (int)size, TMEM_PAGE_SIZE);

	return n == TMEM_PAGE_SIZE ? 0 : -EBADMSG;
}

static size_t lzo_compress(struct workspace *ws, const void *page, void *out)
{
	lzo_uint n = sizeof(ws->out);

	if (lzo1x_1_compress(page, TMEM_PAGE_SIZE, ws->out, &n,
			     ws->state.lzo) != LZO_E_OK ||
	    n > TMEM_CODEC_MOST)
		return 0;
	memcpy(out, ws->out, n);
	return n;
}

static int lzo_decompress(struct workspace *ws, const void *in, size_t size,
			  void *page)
{
	lzo_uint n = TMEM_PAGE_SIZE;

	if (lzo1x_decompress_safe(in, size, page, &n, NULL) != LZO_E_OK)
		return -EBADMSG;
	return n == TMEM_PAGE_SIZE ? 0 : -EBADMSG;
}

static size_t zstd_at(struct workspace *ws, const void *page, void *out,
		      int level)
{
	size_t n = ZSTD_compressCCtx(ws->compress, out, TMEM_CODEC_MOST, page,
				     TMEM_PAGE_SIZE, level);

	return ZSTD_isError(n) ? 0 : n;
}

static size_t zstd_compress(struct workspace *ws, const void *page, void *out)
{
	return zstd_at(ws, page, out, ZSTD_LEVEL);
}

static int zstd_decompress(struct workspace *ws, const void *in, size_t size,
			   void *page)
{
	size_t n = ZSTD_decompressDCtx(ws->decompress, page, TMEM_PAGE_SIZE, in,
				       size);

	return n == TMEM_PAGE_SIZE ? 0 : -EBADMSG;
}

static const struct codec codec_table[TMEM_CODEC_COUNT + 1] = {
	[TMEM_CODEC_NONE] = {.name = "none"},
	[TMEM_CODEC_FILL] = {.name = "fill"},
	[TMEM_CODEC_RAW] = {.name = "raw", .decompress = raw_decompress},
	[TMEM_CODEC_LZ4] = {.name = "lz4",
			    .compress = lz4_compress,
			    .decompress = lz4_decompress},
	[TMEM_CODEC_LZO] = {.name = "lzo",
			    .compress = lzo_compress,
			    .decompress = lzo_decompress},
	[TMEM_CODEC_ZSTD] = {.name = "zstd",
			     .compress = zstd_compress,
			     .decompress = zstd_decompress,
			     .needs_workspace = true},
	[TMEM_CODEC_COUNT] = {.name = "young", .decompress = raw_decompress},
};

static struct workspace *free_workspace(struct workspace *ws)
{
	if (!ws)
		return NULL;
	ZSTD_freeDCtx(ws->decompress);
	ZSTD_freeCCtx(ws->compress);
	tmem_lock_deinit(&ws->lock);
	free(ws);
	return NULL;
}

static struct workspace *new_workspace(void)
{
	struct workspace *ws =
		tmem_fault(TMEM_FAULT_MALLOC) ? NULL : calloc(1, sizeof(*ws));
	uint8_t page[TMEM_PAGE_SIZE] = {0}, out[TMEM_PAGE_SIZE];

	if (!ws)
		return NULL;
	if (tmem_lock_init(&ws->lock, TMEM_LOCK_CODEC) < 0) {
		free(ws);
		return NULL;
	}
	ws->compress = ZSTD_createCCtx();
	ws->decompress = ZSTD_createDCtx();
	if (!ws->compress || !ws->decompress ||
	    zstd_at(ws, page, out, ZSTD_LEVEL_COLD) == 0)
		return free_workspace(ws);
	return ws;
}

int tmem_codecs_new(uint64_t most, struct tmem_codecs **out)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned count = cpus > 0 ? (unsigned)cpus + 1 : 2;
	size_t bytes =
		sizeof(struct tmem_codecs) + count * sizeof(struct workspace *);
	struct tmem_codecs *codecs;

	if (lzo_init() != LZO_E_OK)
		return -ENOMEM;
	codecs = tmem_fault(TMEM_FAULT_MALLOC) ? NULL : calloc(1, bytes);
	if (!codecs)
		return -ENOMEM;
	codecs->private = bytes;
	while (codecs->count < count &&
	       (codecs->count == 0 ||
		codecs->private / codecs->count * (codecs->count + 1) <=
			most)) {
		struct workspace *ws = new_workspace();

		if (!ws) {
			tmem_codecs_free(codecs);
			return -ENOMEM;
		}
		codecs->private += sizeof(*ws) +
				   ZSTD_sizeof_CCtx(ws->compress) +
				   ZSTD_sizeof_DCtx(ws->decompress);
		codecs->workspace[codecs->count++] = ws;
	}
	*out = codecs;
	return 0;
}

struct tmem_codecs *tmem_codecs_free(struct tmem_codecs *codecs)
{
	if (!codecs)
		return NULL;
	while (codecs->count > 0)
		free_workspace(codecs->workspace[--codecs->count]);
	free(codecs);
	return NULL;
}

uint64_t tmem_codecs_private(const struct tmem_codecs *codecs)
{
	return codecs->private;
}

TMEM_TSA(no_thread_safety_analysis)
static struct workspace *get_workspace(struct tmem_codecs *codecs)
{
	int cpu = sched_getcpu();
	unsigned first = cpu > 0 ? (unsigned)cpu % codecs->count : 0;

	for (unsigned i = 0; i < codecs->count; i++) {
		struct workspace *ws =
			codecs->workspace[(first + i) % codecs->count];

		if (tmem_lock_try(&ws->lock))
			return ws;
	}
	tmem_lock_acquire(&codecs->workspace[first]->lock);
	return codecs->workspace[first];
}

TMEM_TSA(no_thread_safety_analysis)
static void put_workspace(struct workspace *ws)
{
	tmem_lock_release(&ws->lock);
}

size_t tmem_codec_compress(struct tmem_codecs *codecs, enum tmem_codec codec,
			   const void *page, void *out)
{
	struct workspace *ws;
	size_t n;

	if (codec >= TMEM_CODEC_COUNT || !codec_table[codec].compress ||
	    tmem_fault(TMEM_FAULT_COMPRESS))
		return 0;
	ws = get_workspace(codecs);
	n = codec_table[codec].compress(ws, page, out);
	put_workspace(ws);
	return n;
}

size_t tmem_codec_compress_cold(struct tmem_codecs *codecs, const void *page,
				void *out)
{
	struct workspace *ws;
	size_t n;

	if (tmem_fault(TMEM_FAULT_COMPRESS))
		return 0;
	ws = get_workspace(codecs);
	n = zstd_at(ws, page, out, ZSTD_LEVEL_COLD);
	put_workspace(ws);
	return n;
}

int tmem_codec_decompress(struct tmem_codecs *codecs, enum tmem_codec codec,
			  const void *in, size_t size, void *page)
{
	struct workspace *ws;
	int r;

	if (codec > TMEM_CODEC_YOUNG || !codec_table[codec].decompress ||
	    size > TMEM_PAGE_SIZE)
		return -EBADMSG;
	if (!codec_table[codec].needs_workspace)
		return codec_table[codec].decompress(NULL, in, size, page);
	ws = get_workspace(codecs);
	r = codec_table[codec].decompress(ws, in, size, page);
	put_workspace(ws);
	return r;
}

const char *tmem_codec_name(enum tmem_codec codec)
{
	return codec <= TMEM_CODEC_YOUNG ? codec_table[codec].name : "?";
}

bool tmem_page_is_fill(const void *page, uint64_t *word)
{
	uint64_t first;

	memcpy(&first, page, sizeof(first));
	/* Every word equals the one before it. */
	if (memcmp(page, (const uint8_t *)page + sizeof(first),
		   TMEM_PAGE_SIZE - sizeof(first)) != 0)
		return false;
	*word = first;
	return true;
}

void tmem_page_store(void *to, const void *from)
{
#ifdef __SSE2__
	const __m128i *in = from;
	__m128i *out = to;

	for (size_t i = 0; i < TMEM_PAGE_SIZE / sizeof(*in); i += 4) {
		__m128i a = _mm_loadu_si128(in + i);
		__m128i b = _mm_loadu_si128(in + i + 1);
		__m128i c = _mm_loadu_si128(in + i + 2);
		__m128i d = _mm_loadu_si128(in + i + 3);

		_mm_stream_si128(out + i, a);
		_mm_stream_si128(out + i + 1, b);
		_mm_stream_si128(out + i + 2, c);
		_mm_stream_si128(out + i + 3, d);
	}
	_mm_sfence();
#else
	tmem_page_copy(to, from);
#endif
}

void tmem_page_fill(void *page, uint64_t word)
{
	uint8_t *to = page;

	for (unsigned i = 0; i < TMEM_PAGE_SIZE; i += sizeof(word))
		memcpy(to + i, &word, sizeof(word));
}
