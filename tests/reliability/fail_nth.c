/* LD_PRELOAD: the n-th call on a file below a folder fails, and the calls are counted.
 *
 * FAIL_FOLDER: the folder. FAIL_CONTROL: a file with "n errno length": calls n to n + length - 1
 * fail; read once per process, so that a fork takes a new plan. FAIL_COUNT: a file that gets the
 * number of calls seen. Calls: open for writing, write, pwrite, fsync, ftruncate, rename, unlink. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static pid_t owner;
static long seen, first, length = 1;
static int code;

#define REAL(name) (name##_type) dlsym(RTLD_NEXT, #name)

static void plan(void) {
  if (owner == getpid()) return;
  owner = getpid();
  seen = first = 0;
  const char *path = getenv("FAIL_CONTROL");
  FILE *file = path ? fopen(path, "r") : NULL;
  if (!file) return;
  if (fscanf(file, "%ld %d %ld", &first, &code, &length) != 3) first = 0;
  fclose(file);
}

static int below(const char *path) {
  const char *folder = getenv("FAIL_FOLDER");
  return folder && *folder && path && strncmp(path, folder, strlen(folder)) == 0;
}

/* 1: this call fails, errno is set. */
static int fails(const char *path) {
  if (!below(path)) return 0;
  plan();
  seen++;
  if (!first || seen < first || seen >= first + length) return 0;
  errno = code;
  return 1;
}

static int fails_fd(int fd) {
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t n = readlink(link, path, sizeof path - 1);
  if (n < 0) return 0;
  path[n] = 0;
  return fails(path);
}

__attribute__((destructor)) static void tell(void) {
  const char *path = getenv("FAIL_COUNT");
  FILE *file = path && owner == getpid() ? fopen(path, "w") : NULL;
  if (!file) return;
  fprintf(file, "%ld", seen);
  fclose(file);
}

typedef int (*open64_type)(const char *, int, ...);
int open64(const char *path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;
  va_end(more);
  if (flags & (O_WRONLY | O_RDWR) && fails(path)) return -1;
  return (REAL(open64))(path, flags, mode);
}

typedef ssize_t (*write_type)(int, const void *, size_t);
ssize_t write(int fd, const void *data, size_t n) {
  return fails_fd(fd) ? -1 : (REAL(write))(fd, data, n);
}

typedef ssize_t (*pwrite64_type)(int, const void *, size_t, off64_t);
ssize_t pwrite64(int fd, const void *data, size_t n, off64_t at) {
  return fails_fd(fd) ? -1 : (REAL(pwrite64))(fd, data, n, at);
}

/* The machine does not fail here, only calls do: nothing waits for the disk. */
int fsync(int fd) { return fails_fd(fd) ? -1 : 0; }

typedef int (*ftruncate64_type)(int, off64_t);
int ftruncate64(int fd, off64_t n) { return fails_fd(fd) ? -1 : (REAL(ftruncate64))(fd, n); }

typedef int (*rename_type)(const char *, const char *);
int rename(const char *from, const char *to) { return fails(to) ? -1 : (REAL(rename))(from, to); }

typedef int (*unlink_type)(const char *);
int unlink(const char *path) { return fails(path) ? -1 : (REAL(unlink))(path); }
