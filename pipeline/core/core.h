/* All public headers of this room, in the order of the key's way; the build joins them for cffi. */
#ifndef PHOTONLINK_CORE_H
#define PHOTONLINK_CORE_H
#include "pl_status.h"

#include "pl_simd.h"
#include "pl_secret.h"
#include "pl_hmac.h"
#include "pl_polymac.h"
#include "pl_toeplitz.h"
#include "pl_events.h"
#include "pl_noise.h"
#include "pl_correlate.h"
#include "pl_match.h"
#include "pl_fold.h"
#include "pl_announce.h"
#include "pl_quiet.h"
#include "pl_timecode.h"
#include "pl_sift.h"
#include "pl_pair_table.h"
#include "pl_seed.h"
#include "pl_cascade.h"
#include "pl_cascade_many.h"
#include "pl_ldpc.h"
#include "pl_seal.h"
#endif
