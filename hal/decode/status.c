#include "pl_status.h"

const char *pl_strerror(int status) {
  switch (status) {
  case PL_OK: return "ok";
  case PL_E_ARGUMENT: return "argument outside the documented range";
  case PL_E_MEMORY: return "no memory, or the limit of locked memory is reached (ulimit -l)";
  case PL_E_STATE: return "called in the wrong order, or after release";
  case PL_E_RANGE: return "index or length beyond the buffer";
  case PL_E_DATA: return "damaged input";
  case PL_E_CAPACITY: return "output buffer too small";
  case PL_E_LIMIT: return "an agreed limit was reached";
  default: return "unknown status";
  }
}
