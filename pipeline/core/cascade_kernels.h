/* The inner loops of both ends of Cascade: cascade_hot.h, in as many builds as there are
 * instruction sets. Bob's state of a frame (cascade_bob.h) is not visible here. */
#ifndef PHOTONLINK_CASCADE_KERNELS_H
#define PHOTONLINK_CASCADE_KERNELS_H
#include "cascade.h"

typedef struct bob_pass bob_pass;
typedef struct bob_frame bob_frame;

struct cc_kernels {
  void (*transpose)(uint64_t *matrix);
  void (*permute)(const cc_perm *perm, int words, const uint64_t *in, uint64_t *out);
  uint32_t (*subsets)(const cc_public *pub, int words, const uint64_t *x);
  void (*answer)(const uint64_t *prefix, const uint8_t *items, int count, cc_bits *out);
  void (*answer_all)(const uint64_t *prefix, int words, int level, int length, cc_bits *out);
  int (*flip)(const cc_public *pub, bob_frame *frame, int own, const uint16_t *at, int count);
  int (*split)(bob_pass *pass, int entry, unsigned left_odd, uint16_t found[2]);
  int (*compare)(bob_pass *pass, int words, cc_reader *r);
  int (*halve)(bob_pass *pass, int words, cc_reader *r);
  int (*hear_halves)(const cc_public *pub, bob_frame *frame, int pass, int count, cc_reader *r);
  void (*hear_first)(bob_frame *frame, int count, cc_reader *parities);
  void (*end_first)(bob_frame *frame);
  int (*ask)(bob_frame *frame, unsigned spread, uint8_t *out, size_t *size);
};
extern const cc_kernels cc_portable_kernels, cc_bmi2_kernels;
#endif
