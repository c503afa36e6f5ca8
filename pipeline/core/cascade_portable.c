/* Cascade's inner loops for any machine. */
#define HOT(name) cc_portable_##name
#define HOT_TARGET
#include "cascade_hot.h"
