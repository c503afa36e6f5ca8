/* What is fixed about each record format. */
#include "decoder.h"

/* How late a word may come where words carry the whole time: one carry of the S-Fifteen unit's
 * coarse counter, 2^25 / 256 ns. Words beside a carry are seen to come with it applied once too early
 * (fpfind's own test recording has eight); quTAG files hold late words as well. Swabian's library
 * sorts its stream before it hands it out. */
enum { LATE_PS = 131072000 };

static const pl_format_facts FORMATS[] = {
    [PL_FORMAT_TDC1] = {.record = 4, .num = 2000, .den = 1, .tags = (int64_t)1 << 27},
    [PL_FORMAT_A1] = {.record = 8, .num = 125, .den = 32, .tags = (int64_t)1 << 54,
                      .window_ps = LATE_PS, .absolute = 1},
    [PL_FORMAT_A1_LEGACY] = {.record = 8, .num = 125, .den = 32, .tags = (int64_t)1 << 54,
                             .window_ps = LATE_PS, .absolute = 1},
    [PL_FORMAT_T2] = {.record = 4, .tags = (int64_t)1 << 25},
    [PL_FORMAT_T2_HH1] = {.record = 4, .tags = (int64_t)1 << 25},
    [PL_FORMAT_T2_PH300] = {.record = 4, .tags = (int64_t)1 << 28},
    [PL_FORMAT_T3] = {.record = 4, .tags = 1 << 10, .dtimes = 1 << 15},
    [PL_FORMAT_T3_HH1] = {.record = 4, .tags = 1 << 10, .dtimes = 1 << 15},
    [PL_FORMAT_T3_PH300] = {.record = 4, .tags = 1 << 16, .dtimes = 1 << 12},
    [PL_FORMAT_QUTAG] = {.record = 10, .window_ps = LATE_PS, .absolute = 1},
    [PL_FORMAT_QUTAG_PACKED] = {.record = 5, .tags = (int64_t)1 << 37, .window_ps = LATE_PS},
    [PL_FORMAT_SWABIAN16] = {.record = 16, .num = 1, .den = 1, .absolute = 1},
    [PL_FORMAT_A0] = {.record = 18, .num = 125, .den = 32, .tags = (int64_t)1 << 54,
                      .window_ps = LATE_PS, .absolute = 1},
    [PL_FORMAT_A2] = {.record = 17, .num = 125, .den = 32, .tags = (int64_t)1 << 54,
                      .window_ps = LATE_PS, .absolute = 1},
    [PL_FORMAT_S15_FAST] = {.record = 4, .num = 125, .den = 32, .tags = (int64_t)1 << 26},
    [PL_FORMAT_FLAT64] = {.record = 8, .window_ps = LATE_PS, .absolute = 1},
    [PL_FORMAT_PACKED32] = {.record = 4, .window_ps = LATE_PS, .absolute = 1},
    [PL_FORMAT_NOX] = {.record = 8, .num = 3125, .den = 1664, .tags = (int64_t)1 << 48,
                       .window_ps = LATE_PS, .absolute = 1},
    [PL_FORMAT_FPGA_LINK] = {.record = 4, .num = 1, .den = 3, .tags = (int64_t)4000 << 44,
                             .window_ps = LATE_PS, .absolute = 1},
    [PL_FORMAT_TIMETAGGER4] = {.record = 8, .dtimes = 1 << 24, .absolute = 1},
};

const pl_format_facts *pl_format_of(int format) {
  return format < PL_FORMAT_TDC1 || format > PL_FORMAT_TIMETAGGER4 ? NULL : &FORMATS[format];
}

int pl_record_size(int format) {
  const pl_format_facts *facts = pl_format_of(format);
  return facts ? (int)facts->record : PL_E_ARGUMENT;
}

pl_run pl_run_of(int format) {
  switch (format) {
  case PL_FORMAT_TDC1: return pl_run_tdc1;
  case PL_FORMAT_A1:
  case PL_FORMAT_A1_LEGACY:
  case PL_FORMAT_A0:
  case PL_FORMAT_A2: return pl_run_a1;
  case PL_FORMAT_S15_FAST: return pl_run_s15_fast;
  case PL_FORMAT_FLAT64: return pl_run_flat64;
  case PL_FORMAT_PACKED32: return pl_run_packed32;
  case PL_FORMAT_NOX: return pl_run_nox;
  case PL_FORMAT_FPGA_LINK: return pl_run_fpga_link;
  case PL_FORMAT_TIMETAGGER4: return pl_run_timetagger4;
  case PL_FORMAT_T2:
  case PL_FORMAT_T2_HH1: return pl_run_t2;
  case PL_FORMAT_T2_PH300: return pl_run_t2_ph300;
  case PL_FORMAT_T3:
  case PL_FORMAT_T3_HH1: return pl_run_t3;
  case PL_FORMAT_T3_PH300: return pl_run_t3_ph300;
  case PL_FORMAT_QUTAG: return pl_run_qutag;
  case PL_FORMAT_QUTAG_PACKED: return pl_run_qutag_packed;
  default: return pl_run_swabian16;
  }
}
