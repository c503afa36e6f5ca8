/* The declarations of this room, for C. kernels_decl.h is shared verbatim with cffi. */
#ifndef PHOTONLINK_KERNELS_H
#define PHOTONLINK_KERNELS_H
#include <stddef.h>
#include <stdint.h>
#include "kernels_decl.h"
#endif
