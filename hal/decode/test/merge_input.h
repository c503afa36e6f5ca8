/* Streams to merge, and what must come of them: for the test and the fuzzer of the merge. */
#ifndef PHOTONLINK_MERGE_INPUT_H
#define PHOTONLINK_MERGE_INPUT_H
#include <stdint.h>
#include <stdlib.h>

enum { ROOM = 70 }; /* streams; 64 are allowed */

typedef struct {
  int64_t *time[ROOM];
  uint8_t *channel[ROOM];
  size_t length[ROOM], streams, total;
} input;

static void release(input *in) {
  for (size_t k = 0; k < in->streams; k++) {
    free(in->time[k]);
    free(in->channel[k]);
  }
}

/* The earliest first, of equals the first stream's. */
static int is_merged(const input *in, const int64_t *t, const uint8_t *c) {
  size_t at[ROOM] = {0};
  for (size_t o = 0; o < in->total; o++) {
    size_t best = in->streams;
    for (size_t k = 0; k < in->streams; k++)
      if (at[k] < in->length[k] &&
          (best == in->streams || in->time[k][at[k]] < in->time[best][at[best]]))
        best = k;
    if (t[o] != in->time[best][at[best]] || c[o] != in->channel[best][at[best]]) return 0;
    at[best]++;
  }
  return 1;
}
#endif
