/* Locked buffers: bit copies at every offset, refusals, and that memory is wiped before it goes.
 * The source is included so that munmap can be watched. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

static size_t pages_seen, bytes_left;
static int watch_munmap(void *base, size_t n_bytes);
#define munmap watch_munmap
#include "../secret.c"
#include "require.h"
#undef munmap

static int watch_munmap(void *base, size_t n_bytes) {
  const uint8_t *inner = (const uint8_t *)base + page_bytes();
  pages_seen++;
  for (size_t i = 0; i < n_bytes - 2 * page_bytes(); i++) bytes_left += inner[i] != 0;
  return munmap(base, n_bytes);
}

static void copies(void) {
  uint8_t from[40], to[40], wanted[40];
  for (int i = 0; i < 40; i++) from[i] = (uint8_t)(i * 151 + 43);
  for (int start = 0; start < 18; start++)
    for (int at = 0; at < 18; at++)
      for (int n = 0; n < 160; n++) {
        memset(to, 0xa5, sizeof to);
        memset(wanted, 0xa5, sizeof wanted);
        for (int i = 0; i < n; i++) put_bit(wanted, at + i, get_bit(from, start + i));
        pl_bits_copy(to, at, from, start, n);
        REQUIRE(memcmp(to, wanted, sizeof to) == 0);
      }
}

static void buffers(void) {
  pl_secret *a, *b;
  uint8_t data[5] = {0xff, 0xff, 0xff, 0xff, 0xff}, out[4] = {0};
  int64_t indices[] = {0, 26, 3};
  REQUIRE(pl_secret_new(&a, -1) == PL_E_ARGUMENT && a == NULL);
  REQUIRE(pl_secret_new(&a, INT64_MAX) == PL_E_ARGUMENT && a == NULL);
  REQUIRE(pl_secret_new(&a, 27) == PL_OK && pl_secret_new(&b, 3) == PL_OK);
  REQUIRE(pl_secret_ones(a) == 0);
  REQUIRE(pl_secret_import(a, data, 3) == PL_E_CAPACITY && data[0] == 0xff);
  REQUIRE(pl_secret_import(a, data, 5) == PL_OK && data[0] == 0 && data[4] == 0);
  REQUIRE(pl_secret_ones(a) == 27);
  REQUIRE(pl_secret_export(a, out, 3) == PL_E_CAPACITY && out[0] == 0);
  REQUIRE(pl_secret_export(a, out, 4) == PL_OK && out[3] == 0xe0);
  REQUIRE(pl_secret_wipe(a, 1, 26) == PL_OK && pl_secret_ones(a) == 2);
  REQUIRE(pl_secret_select(b, a, indices, 3) == PL_OK && pl_secret_ones(b) == 2);
  indices[1] = 27;
  REQUIRE(pl_secret_select(b, a, indices, 3) == PL_E_RANGE && pl_secret_ones(b) == 2);
  REQUIRE(pl_secret_select(b, a, indices, 2) == PL_E_ARGUMENT);
  REQUIRE(pl_secret_equal(a, b) == 0 && pl_secret_equal(a, a) == 1);
  REQUIRE(pl_secret_xor(a, b) == PL_E_ARGUMENT);
  REQUIRE(pl_secret_copy(a, 25, b, 0, 3) == PL_E_RANGE);
  REQUIRE(pl_secret_copy(a, 0, b, 1, INT64_MAX) == PL_E_RANGE);
  REQUIRE(pl_secret_copy(a, 24, b, 0, 3) == PL_OK);
  REQUIRE(pl_secret_wipe(a, 3, 2) == PL_E_RANGE && pl_secret_wipe(a, 0, 28) == PL_E_RANGE);
  REQUIRE(pl_secret_randomize(a) == PL_OK && (a->bytes[3] & 0x1f) == 0);
  REQUIRE(pl_secret_randomize(NULL) == PL_E_STATE && pl_secret_bits(NULL) == PL_E_STATE);
  pl_secret_free(a);
  pl_secret_free(b);
  pl_secret_free(NULL);
  REQUIRE(pages_seen == 2 && bytes_left == 0);
}

static void fork_keeps_secrets_home(void) {
  pl_secret *a;
  int status;
  REQUIRE(pl_secret_new(&a, 128) == PL_OK && pl_secret_randomize(a) == PL_OK);
  pid_t child = fork();
  if (child == 0) {
    int refused = pl_secret_ones(a) == PL_E_STATE && pl_secret_randomize(a) == PL_E_STATE;
    pl_secret_free(a);
    _exit(!refused);
  }
  REQUIRE(waitpid(child, &status, 0) == child && status == 0);
  pl_secret_free(a);
}

int main(void) {
  copies();
  buffers();
  fork_keeps_secrets_home();
  return 0;
}
