/* A record written in pieces opens, and is what Monocypher seals. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "require.h"
#include "secret.h"
#include "vendor/monocypher/monocypher.h"

static void record(size_t n) {
  char name[] = "/tmp/photonlink-seal-XXXXXX";
  int fd = mkstemp(name);
  REQUIRE(fd >= 0 && unlink(name) == 0);
  pl_secret *key, *plain, *back;
  REQUIRE(pl_secret_new(&key, PL_SEAL_KEY_BITS) == PL_OK && pl_secret_randomize(key) == PL_OK);
  REQUIRE(pl_secret_new(&plain, 8 * (int64_t)n) == PL_OK && pl_secret_randomize(plain) == PL_OK);
  REQUIRE(pl_secret_new(&back, 8 * (int64_t)n) == PL_OK);
  const uint8_t context[] = "the place of a record";
  uint8_t tag[PL_SEAL_TAG], *sealed = malloc(n + PL_SEAL_OVERHEAD);
  uint8_t *wanted = malloc(n + PL_SEAL_TAG);
  REQUIRE(sealed && wanted);
  REQUIRE(pl_seal_fd(key, context, sizeof context, plain, fd, tag) == PL_OK);
  REQUIRE(pread(fd, sealed, n + PL_SEAL_OVERHEAD, 0) == (ssize_t)(n + PL_SEAL_OVERHEAD));
  crypto_aead_lock(wanted, wanted + n, pl_secret_bytes(key), sealed, context, sizeof context,
                   pl_secret_bytes(plain), n);
  REQUIRE(memcmp(sealed + PL_SEAL_NONCE, wanted, n + PL_SEAL_TAG) == 0);
  REQUIRE(memcmp(sealed + PL_SEAL_NONCE + n, tag, PL_SEAL_TAG) == 0);
  REQUIRE(pl_unseal(key, context, sizeof context, sealed, n + PL_SEAL_OVERHEAD, back) == PL_OK);
  REQUIRE(memcmp(pl_secret_bytes(plain), pl_secret_bytes(back), n) == 0);
  REQUIRE(close(fd) == 0);
  REQUIRE(pl_seal_fd(key, context, sizeof context, plain, fd, tag) == PL_E_STATE && errno == EBADF);
  free(sealed), free(wanted);
  pl_secret_free(key), pl_secret_free(plain), pl_secret_free(back);
}

int main(void) {
  const size_t sizes[] = {0, 1, 16, 63, 64, 65, 511, 512, 65535, 65536, 65537, 300001};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) record(sizes[i]);
  return 0;
}
