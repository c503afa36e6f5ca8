/* Bob's end: from Alice's syndrome to the error pattern, and requests for single bits when decoding
 * fails. */
#include <stdlib.h>

#include "cpu.h"
#include "ldpc.h"
#include "secret.h"

enum {
  ITERATIONS = 60, /* at most, per attempt */
  /* A frame's first request: a quarter of its violated checks, in these bounds; then doubled. */
  FIRST_LEAST = 64,
  FIRST_SHARE = 32 /* at most checks / FIRST_SHARE */
};

typedef struct {
  uint64_t *target; /* syndrome of the difference of the keys */
  uint64_t *known;  /* positions that hold no error: padding, and bits that were disclosed */
  int open;         /* not corrected yet */
  int asked;        /* how often */
} bob_frame;

struct pl_ldpc_bob {
  ldpc_plan plan;
  pl_secret *key;   /* corrected as far as it is; as many bits as the longest so far */
  uint64_t *words;  /* one frame of it, locked */
  ldpc_decoder *decoder;
  bob_frame *frame; /* the frames, then their targets and masks, then `wanted`, in one piece */
  size_t room;      /* of that piece */
  uint64_t *wanted; /* a bit for each of the key's: the next or the open request */
  int64_t n_wanted, errors, iterations;
  int decoded, open, waiting;
  uint64_t error[LDPC_FRAME_BYTES / 8]; /* of one frame */
  uint8_t doubt[LDPC_FRAME_BYTES * 8];  /* of one frame */
};

void pl_ldpc_bob_free(pl_ldpc_bob *bob) {
  if (!bob) return;
  pl_secret_free(bob->key);
  pl_locked_free(bob->words, LDPC_FRAME_BYTES);
  ldpc_decoder_free(bob->decoder);
  free(bob->frame);
  free(bob);
}

static size_t wanted_words(const ldpc_plan *plan) { return (size_t)(plan->bits + 63) / 64; }

static size_t frame_words(const ldpc_plan *plan) { /* target and mask */
  return (size_t)(ldpc_syndrome_words(plan) + ldpc_frame_words(plan));
}

/* Before any message only the padding is known. */
static void lay_out(pl_ldpc_bob *bob) {
  const ldpc_plan *plan = &bob->plan;
  uint64_t *next = (uint64_t *)(bob->frame + plan->frames);
  for (int f = 0; f < plan->frames; f++, next += frame_words(plan)) {
    bob->frame[f] = (bob_frame){.target = next, .known = next + ldpc_syndrome_words(plan)};
    int64_t end = (int64_t)ldpc_frame_words(plan) * 64, x = ldpc_frame_bits(plan, f);
    memset(next, 0, frame_words(plan) * 8);
    for (; x < end && x & 63; x++) bob->frame[f].known[x / 64] |= 1ull << (x & 63);
    for (; x < end; x += 64) bob->frame[f].known[x / 64] = ~0ull;
  }
  bob->wanted = next;
  memset(next, 0, wanted_words(plan) * 8);
}

int pl_ldpc_bob_restart(pl_ldpc_bob *bob, const pl_secret *key, double qber,
                        const uint8_t *seed) {
  if (!bob || !pl_secret_bytes(key)) return PL_E_STATE;
  if (!seed) return PL_E_ARGUMENT;
  ldpc_plan plan;
  int status = ldpc_plan_init(&plan, pl_secret_bits(key), qber, seed);
  if (status != PL_OK) return status;
  size_t bytes = (size_t)plan.frames * (sizeof(bob_frame) + 8 * frame_words(&plan)) +
                 8 * wanted_words(&plan);
  bob_frame *frame = bytes > bob->room ? malloc(bytes) : bob->frame;
  status = frame ? ldpc_key_keep(&bob->key, key) : PL_E_MEMORY;
  if (status != PL_OK) { /* the old block continues */
    if (frame != bob->frame) free(frame);
    return status;
  }
  if (frame != bob->frame) {
    free(bob->frame);
    bob->frame = frame;
    bob->room = bytes;
  }
  bob->plan = plan;
  bob->n_wanted = bob->errors = bob->iterations = 0;
  bob->decoded = bob->open = bob->waiting = 0;
  lay_out(bob);
  return PL_OK;
}

int pl_ldpc_bob_new(pl_ldpc_bob **out, const pl_secret *key, double qber, const uint8_t *seed) {
  if (!out) return PL_E_ARGUMENT;
  *out = NULL;
  pl_ldpc_bob *bob = calloc(1, sizeof *bob);
  if (!bob) return PL_E_MEMORY;
  bob->words = pl_locked_alloc(LDPC_FRAME_BYTES);
  bob->decoder = ldpc_decoder_new(ldpc_row_for(pl_simd()));
  int status = bob->words && bob->decoder ? pl_ldpc_bob_restart(bob, key, qber, seed) : PL_E_MEMORY;
  if (status != PL_OK) {
    pl_ldpc_bob_free(bob);
    return status;
  }
  *out = bob;
  return PL_OK;
}

static void flip(pl_ldpc_bob *bob, uint8_t *key, int64_t index) {
  key[index >> 3] ^= (uint8_t)(0x80 >> (index & 7));
  bob->errors++;
}

static void correct(pl_ldpc_bob *bob, int frame) {
  uint8_t *key = pl_secret_bytes(bob->key);
  for (int w = 0; w < ldpc_frame_words(&bob->plan); w++)
    for (uint64_t left = bob->error[w]; left; left &= left - 1) {
      int64_t position = frame * bob->plan.payload + 64 * w + __builtin_ctzll(left);
      flip(bob, key, ldpc_key_index(&bob->plan, position));
    }
}

static int error_in_known(const pl_ldpc_bob *bob, const bob_frame *frame) {
  uint64_t any = 0;
  for (int w = 0; w < ldpc_frame_words(&bob->plan); w++) any |= bob->error[w] & frame->known[w];
  return any != 0;
}

static int all_known(const pl_ldpc_bob *bob, const bob_frame *frame) {
  uint64_t all = ~0ull;
  for (int w = 0; w < ldpc_frame_words(&bob->plan); w++) all &= frame->known[w];
  return all == ~0ull;
}

/* Adds the positions with the highest `doubt` to the request. */
static void want_most_doubtful(pl_ldpc_bob *bob, int index) {
  const ldpc_plan *plan = &bob->plan;
  bob_frame *frame = &bob->frame[index];
  int64_t n = ldpc_frame_bits(plan, index), count[256] = {0};
  int64_t most = (int64_t)plan->code->rows * plan->lift / FIRST_SHARE;
  int64_t left = ldpc_doubt(bob->decoder, plan, bob->doubt) / 4;
  left = left < most ? left : most;
  left = (left < FIRST_LEAST ? FIRST_LEAST : left) << (frame->asked < 12 ? frame->asked : 12);
  for (int64_t x = 0; x < n; x++)
    if (!(frame->known[x / 64] >> (x & 63) & 1)) count[bob->doubt[x]]++;
  int level = 255;
  int64_t take = 0;
  while (level > 0 && take + count[level] <= left) take += count[level--];
  int64_t partly = left - take; /* of that level */
  for (int64_t x = 0; x < n; x++) {
    if (frame->known[x / 64] >> (x & 63) & 1 || bob->doubt[x] < level) continue;
    if (bob->doubt[x] == level && partly-- <= 0) continue;
    int64_t key_index = ldpc_key_index(plan, index * plan->payload + x);
    bob->wanted[key_index / 64] |= 1ull << (key_index & 63);
    bob->n_wanted++;
  }
  frame->asked++;
}

/* One attempt at every open frame. Returns how many stay open. */
static int attempt(pl_ldpc_bob *bob) {
  if (bob->n_wanted) memset(bob->wanted, 0, wanted_words(&bob->plan) * 8);
  bob->n_wanted = 0;
  for (int f = 0; f < bob->plan.frames; f++) {
    bob_frame *frame = &bob->frame[f];
    if (!frame->open) continue;
    int used = ldpc_decode(bob->decoder, &bob->plan, frame->target, frame->known, ITERATIONS,
                           bob->error);
    bob->iterations += used ? used : ITERATIONS;
    if (used && !error_in_known(bob, frame)) {
      correct(bob, f);
      frame->open = 0;
      bob->open--;
    } else if (all_known(bob, frame)) { /* Alice's messages contradict each other */
      bob->n_wanted = 0;
      return PL_E_DATA;
    } else {
      want_most_doubtful(bob, f);
    }
  }
  return bob->open;
}

int pl_ldpc_bob_decode(pl_ldpc_bob *bob, const uint8_t *syndrome, size_t size) {
  const uint8_t *key = bob ? pl_secret_bytes(bob->key) : NULL;
  if (!key || bob->decoded) return PL_E_STATE;
  const ldpc_plan *plan = &bob->plan;
  uint8_t header[LDPC_HEADER];
  ldpc_header(plan, header);
  if (!syndrome || size != (size_t)ldpc_message_bytes(plan) ||
      memcmp(syndrome, header, LDPC_HEADER) != 0)
    return PL_E_DATA;
  bob->decoded = 1;
  size_t each = (size_t)ldpc_syndrome_words(plan) * 8;
  for (int f = 0; f < plan->frames; f++) {
    bob_frame *frame = &bob->frame[f];
    memcpy(frame->target, syndrome + LDPC_HEADER + (size_t)f * each, each);
    ldpc_frame_load(plan, f, key, bob->words);
    ldpc_syndrome_add(plan, bob->words, frame->target);
    frame->open = 1;
  }
  bob->open = plan->frames;
  return attempt(bob);
}

int64_t pl_ldpc_bob_request(pl_ldpc_bob *bob, uint8_t *out, size_t capacity) {
  if (!bob || !bob->decoded) return PL_E_STATE;
  if (!bob->open) return 0;
  if (!bob->n_wanted) return PL_E_STATE; /* the block was lost */
  int64_t bytes = 4 * bob->n_wanted;
  if (!out || capacity < (size_t)bytes) return bytes;
  for (size_t w = 0; w < wanted_words(&bob->plan); w++)
    for (uint64_t left = bob->wanted[w]; left; left &= left - 1, out += 4)
      ldpc_put32(out, (uint32_t)(64 * w) + (uint32_t)__builtin_ctzll(left));
  bob->waiting = 1;
  return bytes;
}

/* Position x of a frame holds no error any more; if it did, the target loses its column. */
static void settle(pl_ldpc_bob *bob, bob_frame *frame, int64_t x, int wrong) {
  const ldpc_plan *plan = &bob->plan;
  int column = (int)(x / plan->lift), place = (int)(x % plan->lift);
  frame->known[x / 64] |= 1ull << (x & 63);
  if (!wrong) return;
  for (int row = 0; row < plan->code->rows; row++)
    for (int e = plan->row_start[row]; e < plan->row_start[row + 1]; e++) {
      if (plan->edge[e].column != column) continue;
      int t = ldpc_wrap(place + plan->lift - plan->edge[e].shift, plan->lift);
      int64_t check = row * plan->lift + t;
      frame->target[check / 64] ^= 1ull << (check & 63);
    }
}

int pl_ldpc_bob_receive(pl_ldpc_bob *bob, const uint8_t *bits, size_t size) {
  uint8_t *key = bob ? pl_secret_bytes(bob->key) : NULL;
  if (!key || !bob->waiting) return PL_E_STATE;
  if (!bits || size != (size_t)(bob->n_wanted + 7) / 8) return PL_E_DATA;
  if (bob->n_wanted & 7 && bits[size - 1] >> (bob->n_wanted & 7)) return PL_E_DATA;
  bob->waiting = 0;
  int64_t i = 0;
  for (size_t w = 0; w < wanted_words(&bob->plan); w++)
    for (uint64_t left = bob->wanted[w]; left; left &= left - 1, i++) {
      int64_t index = (int64_t)(64 * w) + __builtin_ctzll(left);
      int64_t position = ldpc_order_position(&bob->plan, index);
      int wrong = ((bits[i >> 3] >> (i & 7)) ^ (key[index >> 3] >> (7 - (index & 7)))) & 1;
      settle(bob, &bob->frame[position / bob->plan.payload], position % bob->plan.payload, wrong);
      if (wrong) flip(bob, key, index);
    }
  return attempt(bob);
}

int64_t pl_ldpc_bob_errors(const pl_ldpc_bob *bob) { return bob ? bob->errors : PL_E_STATE; }
int64_t pl_ldpc_bob_iterations(const pl_ldpc_bob *bob) {
  return bob ? bob->iterations : PL_E_STATE;
}
int64_t pl_ldpc_bob_frames(const pl_ldpc_bob *bob) { return bob ? bob->plan.frames : PL_E_STATE; }

int pl_ldpc_bob_key(const pl_ldpc_bob *bob, pl_secret *out) {
  if (!bob || !pl_secret_bytes(bob->key) || !pl_secret_bytes(out)) return PL_E_STATE;
  if (pl_secret_bits(out) != bob->plan.bits) return PL_E_ARGUMENT;
  return pl_secret_copy(out, 0, bob->key, 0, bob->plan.bits);
}
