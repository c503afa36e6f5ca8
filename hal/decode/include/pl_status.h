/* Return values of the C libraries, here and in pipeline/core (status.c).
 *
 * Public headers hold plain declarations: the build joins them for cffi, which reads neither
 * preprocessor lines nor attributes; both are taken out there. */
#ifndef PHOTONLINK_PL_STATUS_H
#define PHOTONLINK_PL_STATUS_H
/* Of a result that cannot be ignored: the compiler warns (CI: fails) where one is. */
#define PL_MUST_CHECK __attribute__((warn_unused_result))

/* Every function that can fail returns int (or int64_t for a count): 0 or more is success, a
 * negative pl_status is an error. Pointers must not be NULL unless said. */
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
#endif
