/* Kernels for stretches of plain records; see pl_kernel. */
#ifndef PHOTONLINK_DECODE_KERNELS_H
#define PHOTONLINK_DECODE_KERNELS_H
#include "decoder.h"

size_t pl_plain_qutag(pl_decoder *d, const uint8_t *p, size_t n, int64_t *t, uint8_t *c);
size_t pl_plain_qutag_packed(pl_decoder *d, const uint8_t *p, size_t n, int64_t *t, uint8_t *c);
size_t pl_plain_swabian16(pl_decoder *d, const uint8_t *p, size_t n, int64_t *t, uint8_t *c);

#if defined(__x86_64__)
int pl_cpu_level(void); /* pl_decode_level of this machine */
size_t pl_avx2_t2(pl_decoder *d, const uint8_t *p, size_t n, int64_t *t, uint8_t *c);
size_t pl_avx2_t3(pl_decoder *d, const uint8_t *p, size_t n, int64_t *t, uint8_t *c);
size_t pl_avx2_tdc1(pl_decoder *d, const uint8_t *p, size_t n, int64_t *t, uint8_t *c);
size_t pl_avx2_a1(pl_decoder *d, const uint8_t *p, size_t n, int64_t *t, uint8_t *c);
size_t pl_avx512_t2(pl_decoder *d, const uint8_t *p, size_t n, int64_t *t, uint8_t *c);
#endif
#endif
