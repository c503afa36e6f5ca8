/* All public headers of this room; the build joins them for cffi. */
#ifndef PHOTONLINK_DECODE_H
#define PHOTONLINK_DECODE_H
#include "pl_status.h"

#include "pl_decoder.h"
#include "pl_merge.h"
#include "pl_decode_level.h"
#endif
