#include "kernels.h"

const char *sim_kernels_version(void) { return "1"; }
