/* Vendor bytes in, (int64 ps, uint8 channel) out: the bytes of one record format, in any pieces, to
 * sorted tags. State between calls (rollovers, lost records) is in a context. */
#ifndef PHOTONLINK_PL_DECODER_H
#define PHOTONLINK_PL_DECODER_H
#include <stddef.h>
#include <stdint.h>

#include "pl_status.h"

enum pl_format {
  PL_FORMAT_TDC1 = 1,         /* S-Fifteen TDC1: uint32, 27-bit time in 2 ns, 4-bit pattern */
  PL_FORMAT_A1 = 2,           /* S-Fifteen a1: uint64, 54-bit time in 1/256 ns, 4-bit pattern */
  PL_FORMAT_A1_LEGACY = 3,    /* the same with its two 32-bit words swapped */
  PL_FORMAT_T2 = 4,           /* PicoQuant T2: MultiHarp, HydraHarp v2, TimeHarp 260, generic */
  PL_FORMAT_T2_HH1 = 5,       /* HydraHarp v1 */
  PL_FORMAT_T2_PH300 = 6,     /* PicoHarp 300 */
  PL_FORMAT_T3 = 7,           /* PicoQuant T3, as above */
  PL_FORMAT_T3_HH1 = 8,
  PL_FORMAT_T3_PH300 = 9,
  PL_FORMAT_QUTAG = 10,       /* qutools: int64 time, uint16 channel */
  PL_FORMAT_QUTAG_PACKED = 11, /* qutools compressed: 5 bytes, 37-bit time, 3-bit channel */
  PL_FORMAT_SWABIAN16 = 12,   /* Swabian: type, missed, int32 channel, int64 ps */
  PL_FORMAT_A0 = 13,          /* a1 as text: two lines of 8 hexadecimal digits, low half first */
  PL_FORMAT_A2 = 14,          /* a1 as text: a line of 16 hexadecimal digits */
  PL_FORMAT_S15_FAST = 15,    /* S-Fifteen TDC2 fast: uint32, 26-bit time in 1/256 ns, pattern */
  PL_FORMAT_FLAT64 = 16,      /* TTM8000 I-mode flat: 3-bit channel, slope, 60-bit time */
  PL_FORMAT_PACKED32 = 17,    /* TTM8000 I-mode packed: high words, and events with 27-bit time */
  PL_FORMAT_NOX = 18,         /* Bristol NOX: 8 bytes, 36-bit coarse and 12-bit fine time */
  PL_FORMAT_FPGA_LINK = 19,   /* Swabian FPGA link: uint32 length and an Ethernet frame, repeated */
  PL_FORMAT_TIMETAGGER4 = 20  /* cronologic packets: header, uint64 start, 24-bit hits */
};
enum pl_lost_reason {
  PL_LOST_DAMAGED = 1,    /* a record that the format does not allow */
  PL_LOST_BACKWARDS = 2,  /* a time earlier than what had already been promised complete */
  PL_LOST_INSTRUMENT = 3  /* the instrument itself says that it lost events */
};
typedef struct {
  int64_t start_ps, end_ps; /* [start, end) */
  int64_t count;            /* events lost when known, else -1 */
  int32_t reason;           /* pl_lost_reason */
} pl_lost;
typedef struct {
  int64_t horizon_ps; /* no later call yields an earlier tag; INT64_MIN before any time is known */
  int64_t held;       /* tags kept back until their order is certain */
  int64_t pending;    /* bytes of an unfinished record */
  int64_t position;   /* bytes of whole records read since creation */
  int64_t records, dummies, damaged, disordered; /* counted since creation */
  int64_t lost;       /* intervals waiting for pl_decoder_lost */
  int32_t error;      /* PL_OK, or why the stream cannot be read on (sticky) */
} pl_decoder_info;
typedef struct pl_decoder pl_decoder;

/* time_ps = round((units * unit_num + dtime * dtime_num) / den), half up. unit_num / den is the
 * size of one time unit in ps (T3: the sync period; TimeTagger4: that of packet times), dtime_num /
 * den that of a T3 dtime bin or of a hit. S-Fifteen, Swabian and NOX formats know their own unit and
 * ignore the three. PL_E_ARGUMENT: no such format,
 * or a number outside 1 <= den <= 2^20, 1 <= unit_num < 2^62, 0 <= dtime_num < 2^40. */
PL_MUST_CHECK int pl_decoder_new(pl_decoder **out, int format, int64_t unit_num, int64_t dtime_num,
                                 int64_t den);
void pl_decoder_free(pl_decoder *d);
/* Decodes from data until it is used up or the output is full; *consumed is the number of bytes
 * used. A trailing piece of a record is kept for the next call. capacity must be info.held + 8 or
 * more; held + size / record + 8 is enough for all formats whose records hold one event.
 * Returns the number of tags written, sorted by time, or a pl_status. After damage that
 * stops the stream, tags read before it are still returned; the next call returns the error. */
PL_MUST_CHECK int64_t pl_decoder_feed(pl_decoder *d, const uint8_t *data, size_t size,
                                      int64_t *time_ps, uint8_t *channel, size_t capacity,
                                      size_t *consumed);
/* End of the stream: hands out the tags held back. Returns their number. */
PL_MUST_CHECK int64_t pl_decoder_finish(pl_decoder *d, int64_t *time_ps, uint8_t *channel,
                                        size_t capacity);
/* Moves out lost intervals found since the last call, in order of time; returns their number. */
PL_MUST_CHECK int64_t pl_decoder_lost(pl_decoder *d, pl_lost *out, size_t capacity);
/* Lives as long as the decoder and is brought up to date by every call. */
const pl_decoder_info *pl_decoder_info_of(const pl_decoder *d);
/* Bytes per record of a format, or PL_E_ARGUMENT. */
PL_MUST_CHECK int pl_record_size(int format);
/* Writes n records of PL_FORMAT_SWABIAN16 (16 n bytes) from arrays of their fields; times count from
 * zero_ps. For a vendor's library that hands out arrays: records are what is kept and replayed. */
void pl_swabian16_write(size_t n, const int64_t *time_ps, const int32_t *channel,
                        const uint8_t *type, const uint16_t *missed, int64_t zero_ps, uint8_t *out);
/* Forces one decoder to a level, for tests; PL_E_ARGUMENT when the CPU lacks it. */
PL_MUST_CHECK int pl_decoder_set_level(pl_decoder *d, int level);
#endif
