/* The declarations of this room, for C. decode_decl.h is shared verbatim with cffi. */
#ifndef PHOTONLINK_DECODE_H
#define PHOTONLINK_DECODE_H
#include <stddef.h>
#include <stdint.h>
#include "decode_decl.h"
#include "decode_checked.h"
#endif
