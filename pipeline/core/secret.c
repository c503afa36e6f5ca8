/* Secret bits in memory that is never swapped, dumped or inherited, and is wiped on release. */
#include "secret.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

enum { SLACK_BYTES = 64 };
static const int64_t MAX_BITS = (int64_t)1 << 40;

struct pl_secret {
  uint8_t *bytes;
  int64_t n_bits;
  pid_t owner;
};

/* ---- locked memory ---- */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int locking = 1; /* written under `once`, constant afterwards */

static void decide_locking(void) {
  const char *opt_out = getenv("PHOTONLINK_SECRET_MEMORY");
  if (opt_out && strcmp(opt_out, "unlocked") == 0) {
    locking = 0;
    return;
  }
  struct rlimit limit;
  if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
    limit.rlim_cur = limit.rlim_max;
    /* the soft limit stays; mlock then fails if it is too low */
    (void)setrlimit(RLIMIT_MEMLOCK, &limit);
  }
}

int pl_secret_memory_locked(void) {
  pthread_once(&once, decide_locking);
  return locking;
}

static size_t page_bytes(void) { return (size_t)sysconf(_SC_PAGESIZE); }

static size_t whole_pages(size_t n_bytes) {
  size_t page = page_bytes();
  return (n_bytes + page - 1) / page * page;
}

/* Huge pages, where the system gives them, spare large buffers most of their page faults and TLB
 * misses. */
enum { HUGE_PAGE = 1 << 21 };

void *pl_large_alloc(size_t n_bytes) {
  if (n_bytes < HUGE_PAGE) return malloc(n_bytes);
  void *memory = NULL;
  if (posix_memalign(&memory, HUGE_PAGE, n_bytes)) return NULL;
  (void)madvise(memory, n_bytes, MADV_HUGEPAGE);
  return memory;
}

/* `inner` bytes between two guard pages, all inaccessible still; aligned to huge pages when large. */
static uint8_t *map_guarded(size_t inner) {
  size_t page = page_bytes(), align = inner >= HUGE_PAGE ? HUGE_PAGE : page;
  size_t total = inner + page + align;
  uint8_t *base = mmap(NULL, total, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) return NULL;
  uintptr_t first = ((uintptr_t)base + page + align - 1) / align * align;
  uint8_t *memory = base + (first - (uintptr_t)base), *end = base + total;
  uint8_t *after = memory + inner + page;
  size_t before = (size_t)(memory - page - base);
  if (before) munmap(base, before);
  if (end > after) munmap(after, (size_t)(end - after));
  return memory;
}

void *pl_locked_alloc(size_t n_bytes) {
  int lock = pl_secret_memory_locked();
  size_t page = page_bytes(), inner = whole_pages(n_bytes ? n_bytes : 1);
  uint8_t *memory = map_guarded(inner);
  if (!memory) return NULL;
  if (inner >= HUGE_PAGE) (void)madvise(memory, inner, MADV_HUGEPAGE);
  /* A forked child finds zeros, so that it can neither use nor leak a secret, nor crash on it. */
  if (mprotect(memory, inner, PROT_READ | PROT_WRITE) || (lock && mlock(memory, inner)) ||
      madvise(memory, inner, MADV_DONTDUMP) || madvise(memory, inner, MADV_WIPEONFORK)) {
    munmap(memory - page, inner + 2 * page);
    return NULL;
  }
  return memory;
}

void pl_locked_free(void *memory, size_t n_bytes) {
  if (!memory) return;
  size_t page = page_bytes(), inner = whole_pages(n_bytes ? n_bytes : 1);
  explicit_bzero(memory, inner);
  munmap((uint8_t *)memory - page, inner + 2 * page); /* unlocks too */
}

/* ---- the handle ---- */

static size_t bytes_for(int64_t n_bits) { return (size_t)((n_bits + 7) / 8); }

int pl_secret_new(pl_secret **out, int64_t n_bits) {
  *out = NULL;
  if (n_bits < 0 || n_bits > MAX_BITS) return PL_E_ARGUMENT;
  pl_secret *secret = malloc(sizeof *secret);
  if (!secret) return PL_E_MEMORY;
  secret->bytes = pl_locked_alloc(bytes_for(n_bits) + SLACK_BYTES);
  if (!secret->bytes) {
    free(secret);
    return PL_E_MEMORY;
  }
  secret->n_bits = n_bits;
  secret->owner = getpid();
  *out = secret;
  return PL_OK;
}

void pl_secret_free(pl_secret *secret) {
  if (!secret) return;
  pl_locked_free(secret->bytes, bytes_for(secret->n_bits) + SLACK_BYTES);
  free(secret);
}

int64_t pl_secret_bits(const pl_secret *secret) { return secret ? secret->n_bits : PL_E_STATE; }

uint8_t *pl_secret_bytes(const pl_secret *secret) {
  return secret && secret->owner == getpid() ? secret->bytes : NULL;
}

/* Restores the invariant that the bits after the last one are zero. */
static void clear_tail(pl_secret *secret) {
  int used = (int)(secret->n_bits % 8);
  if (used) secret->bytes[secret->n_bits / 8] &= (uint8_t)(0xff00 >> used);
}

int pl_secret_randomize(pl_secret *secret) {
  uint8_t *bytes = pl_secret_bytes(secret);
  if (!bytes) return PL_E_STATE;
  size_t done = 0, wanted = bytes_for(secret->n_bits);
  while (done < wanted) {
    ssize_t got = getrandom(bytes + done, wanted - done, 0);
    if (got < 0 && errno != EINTR) {
      explicit_bzero(bytes, wanted);
      return PL_E_STATE;
    }
    if (got > 0) done += (size_t)got;
  }
  clear_tail(secret);
  return PL_OK;
}

int pl_secret_import(pl_secret *secret, uint8_t *data, int64_t n_bytes) {
  uint8_t *bytes = pl_secret_bytes(secret);
  if (!bytes) return PL_E_STATE;
  if (n_bytes < (int64_t)bytes_for(secret->n_bits)) return PL_E_CAPACITY;
  memcpy(bytes, data, bytes_for(secret->n_bits));
  clear_tail(secret);
  explicit_bzero(data, (size_t)n_bytes);
  return PL_OK;
}

int pl_secret_export(const pl_secret *secret, uint8_t *out, int64_t n_bytes) {
  const uint8_t *bytes = pl_secret_bytes(secret);
  if (!bytes) return PL_E_STATE;
  if (n_bytes < (int64_t)bytes_for(secret->n_bits)) return PL_E_CAPACITY;
  memcpy(out, bytes, bytes_for(secret->n_bits));
  return PL_OK;
}

/* ---- work on bits ---- */

static uint64_t load_be(const uint8_t *from) {
  uint64_t word;
  memcpy(&word, from, 8);
  return __builtin_bswap64(word);
}

static void store_be(uint8_t *to, uint64_t word) {
  word = __builtin_bswap64(word);
  memcpy(to, &word, 8);
}

static int get_bit(const uint8_t *bytes, int64_t i) { return bytes[i >> 3] >> (7 - (i & 7)) & 1; }

static void put_bit(uint8_t *bytes, int64_t i, int bit) {
  uint8_t mask = (uint8_t)(0x80 >> (i & 7));
  bytes[i >> 3] = (uint8_t)((bytes[i >> 3] & ~mask) | (-bit & mask));
}

void pl_bits_copy(uint8_t *to, int64_t to_bit, const uint8_t *from, int64_t from_bit, int64_t n) {
  for (; n > 0 && to_bit % 8; n--) put_bit(to, to_bit++, get_bit(from, from_bit++));
  const uint8_t *source = from + from_bit / 8;
  uint8_t *target = to + to_bit / 8;
  int shift = (int)(from_bit % 8);
  int64_t i = 0;
  if (shift == 0) {
    i = n / 8;
    if (i > 0) memcpy(target, source, (size_t)i);
  } else {
    for (; (i + 8) * 8 <= n; i += 8) /* the ninth byte holds bit 64 of the range */
      store_be(target + i, load_be(source + i) << shift | source[i + 8] >> (8 - shift));
  }
  for (int64_t done = 8 * i; done < n; done++)
    put_bit(to, to_bit + done, get_bit(from, from_bit + done));
}

int pl_secret_copy(pl_secret *to, int64_t at, const pl_secret *from, int64_t start, int64_t count) {
  uint8_t *target = pl_secret_bytes(to);
  const uint8_t *source = pl_secret_bytes(from);
  if (!target || !source) return PL_E_STATE;
  if (to == from) return PL_E_ARGUMENT;
  if (at < 0 || start < 0 || count < 0 || count > to->n_bits - at || count > from->n_bits - start)
    return PL_E_RANGE;
  pl_bits_copy(target, at, source, start, count);
  return PL_OK;
}

int pl_secret_xor(pl_secret *to, const pl_secret *from) {
  uint8_t *target = pl_secret_bytes(to);
  const uint8_t *source = pl_secret_bytes(from);
  if (!target || !source) return PL_E_STATE;
  if (to->n_bits != from->n_bits) return PL_E_ARGUMENT;
  for (size_t i = 0; i < bytes_for(to->n_bits); i++) target[i] ^= source[i];
  return PL_OK;
}

int pl_secret_equal(const pl_secret *a, const pl_secret *b) {
  const uint8_t *left = pl_secret_bytes(a), *right = pl_secret_bytes(b);
  if (!left || !right) return PL_E_STATE;
  if (a->n_bits != b->n_bits) return 0;
  uint8_t difference = 0;
  for (size_t i = 0; i < bytes_for(a->n_bits); i++) difference |= left[i] ^ right[i];
  return (int)((uint32_t)(difference - 1) >> 31);
}

/* Without a table, which the compiler's own routine may use on machines without popcnt. */
static int64_t ones_of(uint64_t word) {
  word -= word >> 1 & 0x5555555555555555u;
  word = (word & 0x3333333333333333u) + (word >> 2 & 0x3333333333333333u);
  return (int64_t)(((word + (word >> 4)) & 0x0f0f0f0f0f0f0f0fu) * 0x0101010101010101u >> 56);
}

int64_t pl_secret_ones(const pl_secret *secret) {
  const uint8_t *bytes = pl_secret_bytes(secret);
  if (!bytes) return PL_E_STATE;
  int64_t ones = 0; /* the slack after the last byte is zero */
  for (size_t i = 0; i < bytes_for(secret->n_bits); i += 8)
    ones += ones_of(load_be(bytes + i));
  return ones;
}

int pl_secret_select(pl_secret *to, const pl_secret *from, const int64_t *indices, int64_t n) {
  uint8_t *target = pl_secret_bytes(to);
  const uint8_t *source = pl_secret_bytes(from);
  if (!target || !source) return PL_E_STATE;
  if (to == from || n != to->n_bits) return PL_E_ARGUMENT;
  for (int64_t i = 0; i < n; i++)
    if (indices[i] < 0 || indices[i] >= from->n_bits) return PL_E_RANGE;
  for (int64_t i = 0; i < n; i += 8) {
    int count = n - i < 8 ? (int)(n - i) : 8, byte = 0;
    for (int k = 0; k < count; k++) byte |= get_bit(source, indices[i + k]) << (7 - k);
    target[i / 8] = (uint8_t)byte;
  }
  return PL_OK;
}

int pl_secret_wipe(pl_secret *secret, int64_t start, int64_t stop) {
  uint8_t *bytes = pl_secret_bytes(secret);
  if (!bytes) return PL_E_STATE;
  if (start < 0 || start > stop || stop > secret->n_bits) return PL_E_RANGE;
  while (start < stop && start % 8) put_bit(bytes, start++, 0);
  if (stop > start) explicit_bzero(bytes + start / 8, (size_t)((stop - start) / 8));
  for (int64_t i = start + (stop - start) / 8 * 8; i < stop; i++) put_bit(bytes, i, 0);
  return PL_OK;
}

/* ---- files ---- */

int pl_secret_read_fd(pl_secret *secret, int fd, int64_t offset) {
  uint8_t *bytes = pl_secret_bytes(secret);
  if (!bytes) return PL_E_STATE;
  if (offset < 0) return PL_E_ARGUMENT;
  int64_t done = 0, wanted = (int64_t)bytes_for(secret->n_bits);
  while (done < wanted) {
    ssize_t got = pread(fd, bytes + done, (size_t)(wanted - done), offset + done);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) {
      explicit_bzero(bytes, (size_t)wanted);
      return got ? PL_E_STATE : PL_E_DATA;
    }
    done += got;
  }
  clear_tail(secret);
  return PL_OK;
}

int pl_secret_write_fd(const pl_secret *secret, int fd) {
  const uint8_t *bytes = pl_secret_bytes(secret);
  if (!bytes) return PL_E_STATE;
  int64_t done = 0, wanted = (int64_t)bytes_for(secret->n_bits);
  while (done < wanted) {
    ssize_t put = write(fd, bytes + done, (size_t)(wanted - done));
    if (put < 0 && errno != EINTR) return PL_E_STATE;
    if (put > 0) done += put;
  }
  return PL_OK;
}
