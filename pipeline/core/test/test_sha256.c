/* SHA-256: the examples of FIPS 180-4, and every division of a message. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sha256.h"

static void check(const char *message, const char *wanted) {
  size_t n = strlen(message);
  for (size_t cut = 0; cut <= n; cut++) {
    pl_sha256 hash;
    uint8_t digest[32];
    char hex[65];
    pl_sha256_start(&hash);
    pl_sha256_update(&hash, (const uint8_t *)message, cut);
    pl_sha256_update(&hash, (const uint8_t *)message + cut, n - cut);
    pl_sha256_finish(&hash, digest);
    for (int i = 0; i < 32; i++) snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    if (strcmp(hex, wanted) != 0) {
      fprintf(stderr, "sha256 of \"%s\": %s\n", message, hex);
      exit(1);
    }
  }
}

int main(void) {
  check("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  check("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  check("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  check("abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqr"
        "lmnopqrsmnopqrstnopqrstu",
        "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1");
  return 0;
}
