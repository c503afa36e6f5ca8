/* Public seeds of a block: drawn by one end after the key was sifted, sent to the other. */
#ifndef PHOTONLINK_PL_SEED_H
#define PHOTONLINK_PL_SEED_H

enum { PL_SEED_BYTES = 32 };
#endif
