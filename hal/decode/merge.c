/* k-way merge of sorted streams. */
#include "decode.h"

enum { STREAMS_MAX = 64 };

int64_t pl_merge(size_t streams, const int64_t *const *times, const uint8_t *const *channels,
                 const size_t *lengths, int64_t *time_ps, uint8_t *channel, size_t capacity) {
  if (streams > STREAMS_MAX) return PL_DECODE_E_ARGUMENT;
  size_t at[STREAMS_MAX] = {0}, total = 0;
  for (size_t k = 0; k < streams; k++) {
    if (lengths[k] > capacity - total) return PL_DECODE_E_CAPACITY;
    total += lengths[k];
    for (size_t i = 1; i < lengths[k]; i++)
      if (times[k][i] < times[k][i - 1]) return PL_DECODE_E_DATA;
  }
  for (size_t n = 0; n < total; n++) {
    size_t best = streams;
    for (size_t k = 0; k < streams; k++)
      if (at[k] < lengths[k] && (best == streams || times[k][at[k]] < times[best][at[best]]))
        best = k;
    time_ps[n] = times[best][at[best]];
    channel[n] = channels[best][at[best]++];
  }
  return (int64_t)total;
}
