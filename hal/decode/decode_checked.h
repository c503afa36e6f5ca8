/* Results that cannot be ignored: the compiler warns (CI: fails) where one is. Names only, because
 * cffi, which reads decode_decl.h, knows no attributes; a test keeps the list complete. */
#ifndef PHOTONLINK_DECODE_CHECKED_H
#define PHOTONLINK_DECODE_CHECKED_H
#define PL_CHECKED(name) extern __typeof__(name) name __attribute__((warn_unused_result))
PL_CHECKED(pl_decoder_feed);
PL_CHECKED(pl_decoder_finish);
PL_CHECKED(pl_decoder_lost);
PL_CHECKED(pl_record_size);
PL_CHECKED(pl_merge);
PL_CHECKED(pl_decode_level_get);
PL_CHECKED(pl_decoder_set_level);
#undef PL_CHECKED
#endif
