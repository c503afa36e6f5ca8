/* An assertion for tests and fuzzers, also in optimised builds. */
#ifndef PHOTONLINK_DECODE_REQUIRE_H
#define PHOTONLINK_DECODE_REQUIRE_H
#include <stdio.h>
#include <stdlib.h>

#define REQUIRE(x)                                            \
  do {                                                        \
    if (!(x)) {                                               \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x); \
      abort();                                                \
    }                                                         \
  } while (0)
#endif
