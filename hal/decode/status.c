#include "decode.h"

const char *pl_decode_strerror(int status) {
  switch (status) {
  case PL_DECODE_OK: return "ok";
  case PL_DECODE_E_ARGUMENT: return "argument outside the documented range";
  case PL_DECODE_E_MEMORY: return "no memory";
  case PL_DECODE_E_STATE: return "called in the wrong order, or after release";
  case PL_DECODE_E_DATA: return "damaged records";
  case PL_DECODE_E_CAPACITY: return "output buffer too small";
  default: return "unknown status";
  }
}
