/* Declarations of the decoders, read both by the C compiler and by cffi: only plain
 * declarations here, no preprocessor. Vendor bytes in, (int64 ps, uint8 channel) out;
 * what a format carries from call to call (rollovers, lost records) lives in a context.
 *
 * int64_t results: >= 0 a count, negative a pl_decode_status. */
enum pl_decode_status {
  PL_DECODE_OK = 0,
  PL_DECODE_E_ARGUMENT = -1,
  PL_DECODE_E_MEMORY = -2,
  PL_DECODE_E_STATE = -3,
  PL_DECODE_E_DATA = -4,
  PL_DECODE_E_CAPACITY = -5
};
const char *pl_decode_strerror(int status);
