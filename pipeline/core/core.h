/* The declarations of this room, for C. core_decl.h is shared verbatim with cffi. */
#ifndef PHOTONLINK_CORE_H
#define PHOTONLINK_CORE_H
#include <stddef.h>
#include <stdint.h>
#include "core_decl.h"
#include "core_checked.h"
#endif
