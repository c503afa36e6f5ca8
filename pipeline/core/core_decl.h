/* Declarations of the core, read both by the C compiler and by cffi: only plain
 * declarations here, no preprocessor. One section per concept, in the order of the key's way.
 *
 * Every function that can fail returns int (or int64_t for a count): 0 or more is success,
 * a negative pl_status is an error. Pointers must not be NULL unless said. */

/* ---- status ---- */
enum pl_status {
  PL_OK = 0,
  PL_E_ARGUMENT = -1, /* a value outside what the function documents */
  PL_E_MEMORY = -2,   /* no memory, or the lock limit (RLIMIT_MEMLOCK) is reached */
  PL_E_STATE = -3,    /* called in the wrong order, or after release */
  PL_E_RANGE = -4,    /* an index or length beyond the buffer */
  PL_E_DATA = -5,     /* the input is damaged */
  PL_E_CAPACITY = -6, /* the output buffer given is too small */
  PL_E_LIMIT = -7     /* an agreed limit was reached (leak cap, rounds) */
};
const char *pl_strerror(int status);

/* ---- secret: locked memory, hashes, amplification (cpu secret polymac sha256 toeplitz) ---- */
/* Each level has what is below it; numbered anew for each architecture. */
enum pl_simd {
  PL_SIMD_PORTABLE = 0,
  PL_SIMD_SSE = 1, /* x86-64 */
  PL_SIMD_AVX2 = 2,
  PL_SIMD_VPCLMUL = 3,
  PL_SIMD_AVX512 = 4,
  PL_SIMD_NEON = 1 /* 64-bit Arm, with PMULL */
};
/* The level in force. PHOTONLINK_SIMD forces one by name; PL_E_ARGUMENT when that names no level
 * or one the machine lacks (the kernels are then the portable ones). */
int pl_simd_level(void);
/* Of a level of this architecture, as in PHOTONLINK_SIMD: portable sse avx2 vpclmul avx512, or
 * portable neon. NULL: it has no such level. */
const char *pl_simd_name(int level);

/* Bits in locked memory: bit i is byte i/8, mask 0x80 >> i%8. Every function takes PL_E_STATE's
 * way out on a NULL handle and on one inherited through a fork. */
typedef struct pl_secret pl_secret;
/* 1: secrets are locked into memory. 0: PHOTONLINK_SECRET_MEMORY=unlocked was set at start. */
int pl_secret_memory_locked(void);
/* Zeroed. PL_E_MEMORY when the lock limit is reached: there is no fallback to plain memory. */
int pl_secret_new(pl_secret **out, int64_t n_bits);
void pl_secret_free(pl_secret *secret);
int64_t pl_secret_bits(const pl_secret *secret);
/* From the operating system (getrandom). */
int pl_secret_randomize(pl_secret *secret);
/* Copies the leading bits of `data`, then wipes all n_bytes of it. */
int pl_secret_import(pl_secret *secret, uint8_t *data, int64_t n_bytes);
int pl_secret_export(const pl_secret *secret, uint8_t *out, int64_t n_bytes);
/* count bits of `from` at `start` to `to` at `at`; two different buffers. */
int pl_secret_copy(pl_secret *to, int64_t at, const pl_secret *from, int64_t start, int64_t count);
int pl_secret_xor(pl_secret *to, const pl_secret *from);
/* 1 or 0, in constant time for equal lengths. */
int pl_secret_equal(const pl_secret *a, const pl_secret *b);
int64_t pl_secret_ones(const pl_secret *secret);
/* to[i] = from[indices[i]]; the indices are public. */
int pl_secret_select(pl_secret *to, const pl_secret *from, const int64_t *indices, int64_t n);
int pl_secret_wipe(pl_secret *secret, int64_t start, int64_t stop);
/* Whole bytes between buffer and file; PL_E_DATA: the file ended early, PL_E_STATE: see errno. */
int pl_secret_read_fd(pl_secret *secret, int fd, int64_t offset);
int pl_secret_write_fd(const pl_secret *secret, int fd);
/* HMAC-SHA256 (RFC 2104), key: the secret's bytes; message: its length in bits, 8 bytes big
 * endian, then the nonce. out: 32 bytes. */
int pl_hmac_sha256(const pl_secret *key, const uint8_t *nonce, int64_t n_bytes, uint8_t *out);

/* Wegman-Carter hash: Horner over GF(2^128), x^128+x^7+x^2+x+1, blocks of 16 bytes big endian,
 * the last padded with zeros, then a block with the length in bits. */
typedef struct pl_polymac pl_polymac;
int pl_polymac_new(pl_polymac **out, const pl_secret *key);
void pl_polymac_free(pl_polymac *mac);
int pl_polymac_reset(pl_polymac *mac);
int pl_polymac_update(pl_polymac *mac, const uint8_t *data, int64_t n_bytes);
/* tag[16] = hash xor the 128 pad bits at pad_offset; starts anew. */
int pl_polymac_tag(pl_polymac *mac, const pl_secret *pad, int64_t pad_offset, uint8_t *tag);
/* 1 or 0, constant time; starts anew. */
int pl_polymac_verify(pl_polymac *mac, const pl_secret *pad, int64_t pad_offset, const uint8_t *tag);
/* The same polynomial over all bits of `bits` at a public point[16]; the first tag_bits <= 128. */
int pl_verification_hash(const pl_secret *bits, const uint8_t *point, int tag_bits, uint8_t *out);

/* y_i = XOR_j seed[i-j+n-1] x_j, l = length of y <= n. Plain: seed of n+l-1 bits. Modified:
 * y = x[:l] xor T x[l:], seed of n-1 bits. The seed has exactly the bytes its bits need. */
typedef struct pl_toeplitz pl_toeplitz;
/* Holds working memory between blocks (locked, wiped after each); grows as needed. */
int pl_toeplitz_new(pl_toeplitz **out);
void pl_toeplitz_free(pl_toeplitz *context);
/* A block in pieces: begin, add until n bits are there, finish. The seed comes last: it is drawn
 * when all of x is fixed. Begin drops a block under way. */
int pl_toeplitz_begin(pl_toeplitz *context, int64_t n, int64_t n_out, int modified);
/* The next `count` bits, those of x from `start` on; x is not needed afterwards. PL_E_LIMIT: more
 * than the block has left (none was taken). PL_E_STATE: no block was begun. */
int pl_toeplitz_add(pl_toeplitz *context, const pl_secret *x, int64_t start, int64_t count);
/* PL_E_STATE: bits are missing. Refused, the block stays under way; else it is over, and wiped. */
int pl_toeplitz_finish(pl_toeplitz *context, pl_secret *y, const uint8_t *seed, int64_t seed_bytes);
/* All three with x as the only piece. */
int pl_toeplitz_hash(pl_toeplitz *context, pl_secret *y, const pl_secret *x, const uint8_t *seed,
                     int64_t seed_bytes, int modified);

/* ---- events: local detection events (events.c) ---- */
typedef struct pl_events pl_events;
enum { PL_EVENTS_DELAY_LIMIT_PS = 10000000 }; /* of delays and of the multi-click window */
typedef struct {
  int64_t clicks[4];        /* per detector H V D A */
  int64_t events;           /* after merging */
  int64_t multi_same;       /* events of several detectors of one basis */
  int64_t multi_cross;      /* events of detectors of both bases */
  int64_t ignored;          /* clicks on channels that are no detector */
  int64_t late;             /* clicks before the horizon: dropped */
  int64_t overflow;         /* events or clicks lost because the buffer was full */
  int64_t overflow_from_ps; /* of the last emit: time of the first lost event, else INT64_MAX */
} pl_events_counts;
/* channel_map: 256 entries, detector 0..3 or 255. NULL when out of memory or locked memory. */
pl_events *pl_events_new(const uint8_t *channel_map, int64_t window_ps, size_t max_events);
void pl_events_free(pl_events *ev);
int pl_events_set_delays(pl_events *ev, const int64_t *delay_ps);
/* Clicks up to (not including) through_ps. n random bytes spread each time evenly over the tagger's
 * resolution (0: as they are, random is not read). PL_E_CAPACITY: too many wait; none was taken. */
int pl_events_add(pl_events *ev, const int64_t *time_ps, const uint8_t *channel, size_t n,
                  int64_t through_ps, int64_t resolution_ps, const uint8_t *random);
/* How many random bytes the next emit uses: one per multi-click event. */
int64_t pl_events_multi_pending(const pl_events *ev);
int64_t pl_events_emit(pl_events *ev, const uint8_t *random, size_t n_random);
int pl_events_drop_pending(pl_events *ev);
int64_t pl_events_horizon(const pl_events *ev);
int pl_events_get_counts(const pl_events *ev, pl_events_counts *out);
int64_t pl_events_first(const pl_events *ev);
/* Index of the first kept event at or after time_ps. */
int64_t pl_events_find(const pl_events *ev, int64_t time_ps);
/* Returns how many of them are multi-click events. */
int64_t pl_events_read(const pl_events *ev, int64_t first, size_t n, int64_t *time_ps,
                       uint8_t *basis);
/* Discloses the detectors and spends the events. PL_E_STATE: one was spent before. */
int pl_events_label(pl_events *ev, int64_t first, size_t n, uint8_t *detector);
/* Bits by strictly increasing index into a secret of n bits; spends the events. */
int pl_events_take_bits(pl_events *ev, const int64_t *index, size_t n, pl_secret *out);
int pl_events_discard_before(pl_events *ev, int64_t time_ps);

/* ---- correlation: histograms of b - a between two sorted series (correlate.c) ---- */
/* All pairs with low <= b - a < low + bin * n_bins: hist[(b - a - low) / bin] += 1. Returns their
 * number. bin * n_bins < 2^32. Unsorted input gives wrong counts, nothing worse. */
int64_t pl_correlate(const int64_t *a, size_t na, const int64_t *b, size_t nb, int64_t low_ps,
                     int64_t bin_ps, size_t n_bins, uint64_t *hist);
/* The same with one stop per start: only the first b at or after a + low. */
int64_t pl_start_stop(const int64_t *a, size_t na, const int64_t *b, size_t nb, int64_t low_ps,
                      int64_t bin_ps, size_t n_bins, uint64_t *hist);

/* ---- matching and delay histograms (match.c, fold.c), announcements (timecode.c) ---- */
/* Pairs in time order, one-to-one within +-window_ps; returns their number. All times sorted. */
int64_t pl_match(const int64_t *a, size_t na, const int64_t *b, size_t nb, int64_t window_ps,
                 int64_t *a_index, int64_t *b_index, size_t capacity);
/* The same walk, counting only, with shift_ps added to b. */
int64_t pl_match_count(const int64_t *a, size_t na, const int64_t *b, size_t nb,
                       int64_t window_ps, int64_t shift_ps);
/* bins[(t - start)/bin] += 1 for the times inside; t unsorted. Returns how many were inside. */
int64_t pl_bin_times(const int64_t *t, size_t n, int64_t start_ps, int64_t bin_ps, float *bins,
                     size_t n_bins);
/* All pairs: hist[(a - start)/slice][(b - a - low)/bin] += 1. Returns the pairs counted. */
int64_t pl_delay_slices(const int64_t *a, size_t na, const int64_t *b, size_t nb, int64_t low_ps,
                        int64_t bin_ps, size_t n_bins, int64_t start_ps, int64_t slice_ps,
                        size_t n_slices, uint32_t *hist);
/* All pairs with low <= b - a < high: index of a and of b. PL_E_CAPACITY when they do not fit: the
 * first `capacity` are then there. */
int64_t pl_delay_pairs(const int64_t *a, size_t na, const int64_t *b, size_t nb, int64_t low_ps,
                       int64_t high_ps, int64_t *a_index, int64_t *b_index, size_t capacity);
/* Sums of rows (n, bins) along lines: for each bin the largest of (sum - mean) * scale over the
 * n_slopes lines through it (and of the sum of it and the next bin, over sqrt 2), and which line
 * that was. shifts: (n_slopes, n). best: start values, -INFINITY. */
int pl_best_lines(const float *rows, size_t n, size_t bins, const int32_t *shifts,
                  size_t n_slopes, const float *mean, const float *scale, float *best,
                  int32_t *which);
/* Rice code of sorted times on a grid, label_bits (1, 2) of label each. Returns bytes. */
int64_t pl_timecode_encode(const int64_t *tick, const uint8_t *label, size_t n, int label_bits,
                           int rice, uint8_t *out, size_t capacity);
/* Returns n, or PL_E_DATA: cut off, beyond last_tick, or trailing rubbish. */
int64_t pl_timecode_decode(const uint8_t *data, size_t bytes, size_t n, int label_bits, int rice,
                           int64_t last_tick, int64_t *tick, uint8_t *label);

/* ---- sifting from bitmaps, one bit per gate as in pl_secret (sift_bitmap.c) ---- */
/* How many of the gates clicked with one basis at both ends. Buffers of (gates + 7) / 8 bytes. */
int64_t pl_sift_count(const uint8_t *clicked, const uint8_t *mine, const uint8_t *theirs,
                      int64_t gates);
/* The bits of those gates, in order. `bits` has one per gate and `out` as many as pl_sift_count
 * tells: else PL_E_ARGUMENT or PL_E_CAPACITY, and `out` is all zero. */
int pl_sift_bits(pl_secret *out, const pl_secret *bits, const uint8_t *clicked,
                 const uint8_t *mine, const uint8_t *theirs, int64_t gates);

/* ---- cascade: error correction in rounds (docs/cascade.md) ----
 * Alice answers questions; Bob asks and corrects. Keys are copied, not modified.
 * seed: 32 public bytes, the same at both ends. */
enum { PL_CASCADE_MAX_BITS = 16777216 };
typedef struct pl_cascade_alice pl_cascade_alice;
int pl_cascade_alice_new(pl_cascade_alice **out, const pl_secret *key, const uint8_t *seed,
                         int64_t leak_cap);
/* A new block in the same object: memory is kept and only grows. */
int pl_cascade_alice_restart(pl_cascade_alice *alice, const pl_secret *key, const uint8_t *seed,
                             int64_t leak_cap);
void pl_cascade_alice_free(pl_cascade_alice *alice);
/* Number of parities a request asks for, by its headers; PL_E_DATA when it is malformed. */
int64_t pl_cascade_alice_measure(pl_cascade_alice *alice, const uint8_t *request, size_t size);
/* Bytes of the answer. PL_E_DATA: malformed. PL_E_LIMIT: would pass the cap. Then nothing counts. */
int64_t pl_cascade_alice_answer(pl_cascade_alice *alice, const uint8_t *request, size_t size,
                                uint8_t *out, size_t capacity);
int64_t pl_cascade_alice_leak(pl_cascade_alice *alice);
int64_t pl_cascade_alice_rounds(pl_cascade_alice *alice);

typedef struct pl_cascade_bob pl_cascade_bob;
int pl_cascade_bob_new(pl_cascade_bob **out, const pl_secret *key, const uint8_t *seed,
                       double qber);
int pl_cascade_bob_restart(pl_cascade_bob *bob, const pl_secret *key, const uint8_t *seed,
                           double qber);
void pl_cascade_bob_free(pl_cascade_bob *bob);
/* Size of the next request, which is written when it fits; the same again until it is answered.
 * 0: finished. */
int64_t pl_cascade_bob_request(pl_cascade_bob *bob, uint8_t *out, size_t capacity);
/* PL_E_DATA: wrong length, or parities that contradict earlier ones. */
int pl_cascade_bob_receive(pl_cascade_bob *bob, const uint8_t *parities, size_t size);
int64_t pl_cascade_bob_errors(pl_cascade_bob *bob);
/* Key indices that were flipped, ascending; returns their number. */
int64_t pl_cascade_bob_error_positions(pl_cascade_bob *bob, int64_t *out, int64_t capacity);
/* out: as long as the key. */
int pl_cascade_bob_key(pl_cascade_bob *bob, pl_secret *out);

/* Many keys at once (cascade_many.c): one call answers, or hears and asks, for a batch of records:
 * slot and kind (2 bytes each), size (4), little-endian, body. A step takes up to `most` whole records
 * of kind 0 and ends before any other; `used` tells how far it came. Slots are numbered from 0. */
enum { PL_CASCADE_MAX_SLOTS = 65535, PL_CASCADE_RECORD_HEAD = 8 };
typedef struct pl_cascade_alices pl_cascade_alices;
int pl_cascade_alices_new(pl_cascade_alices **out, int slots);
void pl_cascade_alices_free(pl_cascade_alices *all);
/* Begins bits [start, start + bits) of the key in a slot, whatever was there. Whole bytes. */
int pl_cascade_alices_start(pl_cascade_alices *all, int slot, const pl_secret *key, int64_t start,
                            int64_t bits, const uint8_t *seed, int64_t leak_cap);
/* Bytes of the answers. Errors as of pl_cascade_alice_answer, for the record at in + *used; what
 * was written in this step is lost. PL_E_CAPACITY: not even one answer fits. */
int64_t pl_cascade_alices_step(pl_cascade_alices *all, const uint8_t *in, size_t size, size_t *used,
                               uint8_t *out, size_t capacity, int most);
int64_t pl_cascade_alices_leak(pl_cascade_alices *all, int slot);

typedef struct pl_cascade_bobs pl_cascade_bobs;
/* fewer_rounds, for a link with delay: 1 asks in a quarter of the rounds and leaks 5 % more. */
int pl_cascade_bobs_new(pl_cascade_bobs **out, int slots, int fewer_rounds);
void pl_cascade_bobs_free(pl_cascade_bobs *all);
/* The first request comes with the next step. PL_E_STATE: what is there waits for a step or for
 * pl_cascade_bobs_finished. */
int pl_cascade_bobs_start(pl_cascade_bobs *all, int slot, const pl_secret *key, int64_t start,
                          int64_t bits, const uint8_t *seed, double qber);
/* Bytes of the requests. Steps without input write what did not fit before. */
int64_t pl_cascade_bobs_step(pl_cascade_bobs *all, const uint8_t *in, size_t size, size_t *used,
                             uint8_t *out, size_t capacity, int most);
/* A slot that is finished, plus 1, each once; 0: none. */
int pl_cascade_bobs_finished(pl_cascade_bobs *all);
/* The corrected bits, to [start, start + bits) of `key`. */
int pl_cascade_bobs_store(pl_cascade_bobs *all, int slot, pl_secret *key, int64_t start,
                          int64_t bits);
int64_t pl_cascade_bobs_errors(pl_cascade_bobs *all, int slot);

/* ---- ldpc: error correction with one message each way (docs/ldpc.md) ----
 * Both ends give the same qber (0 to 0.125) and seed (32 public bytes). Keys are copied. */
enum { PL_LDPC_MIN_BITS = 8192, PL_LDPC_MAX_BITS = 16777216 };
typedef struct pl_ldpc_alice pl_ldpc_alice;
int pl_ldpc_alice_new(pl_ldpc_alice **out, const pl_secret *key, double qber, const uint8_t *seed,
                      int64_t leak_cap);
/* A new block in the same object: memory is kept and only grows; when refused, the old one goes on. */
int pl_ldpc_alice_restart(pl_ldpc_alice *alice, const pl_secret *key, double qber,
                          const uint8_t *seed, int64_t leak_cap);
void pl_ldpc_alice_free(pl_ldpc_alice *alice);
int64_t pl_ldpc_alice_message_bytes(const pl_ldpc_alice *alice);
/* Bytes of the message. Counted when it is first given; later it is the same. PL_E_LIMIT: the cap. */
int64_t pl_ldpc_alice_syndrome(pl_ldpc_alice *alice, uint8_t *out, size_t capacity);
/* The key bits asked for; bytes. PL_E_DATA: malformed, PL_E_LIMIT: the cap; then nothing counts. */
int64_t pl_ldpc_alice_disclose(pl_ldpc_alice *alice, const uint8_t *request, size_t size,
                               uint8_t *out, size_t capacity);
int64_t pl_ldpc_alice_leak(const pl_ldpc_alice *alice);

typedef struct pl_ldpc_bob pl_ldpc_bob;
int pl_ldpc_bob_new(pl_ldpc_bob **out, const pl_secret *key, double qber, const uint8_t *seed);
int pl_ldpc_bob_restart(pl_ldpc_bob *bob, const pl_secret *key, double qber, const uint8_t *seed);
void pl_ldpc_bob_free(pl_ldpc_bob *bob);
/* How many frames stay open. PL_E_DATA: not a message for this key length and qber. */
int pl_ldpc_bob_decode(pl_ldpc_bob *bob, const uint8_t *syndrome, size_t size);
/* Size of the request for the open frames, written when it fits. 0: all are corrected. */
int64_t pl_ldpc_bob_request(pl_ldpc_bob *bob, uint8_t *out, size_t capacity);
/* How many frames stay open. PL_E_DATA: wrong length (the request stays open), or contradictory. */
int pl_ldpc_bob_receive(pl_ldpc_bob *bob, const uint8_t *bits, size_t size);
int64_t pl_ldpc_bob_errors(const pl_ldpc_bob *bob);
int64_t pl_ldpc_bob_frames(const pl_ldpc_bob *bob);
int64_t pl_ldpc_bob_iterations(const pl_ldpc_bob *bob);
int pl_ldpc_bob_key(const pl_ldpc_bob *bob, pl_secret *out);
