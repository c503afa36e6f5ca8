/* LD_PRELOAD: lets the n-th call on a file below a folder fail, and counts the calls.
 *
 * FAIL_FOLDER: the prefix of the paths. FAIL_CONTROL: a mapped and shared file of five longs: number
 * of the first call that fails, errno, number of calls that fail, calls made, calls failed. It may be
 * changed while the process runs. Calls: open, read, write, pwrite, fsync, ftruncate, rename, unlink,
 * stat, opendir, mkdir; store_order.py checks with strace that there are no others. */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

typedef struct {
  long first, code, length, seen, failed;
} control_page;

#define REAL(name) (name##_type) dlsym(RTLD_NEXT, #name)

typedef int (*open64_type)(const char *, int, ...);

static control_page *control(void) {
  static control_page *page;
  const char *path = getenv("FAIL_CONTROL");
  if (page || !path) return page;
  int fd = (REAL(open64))(path, O_RDWR);
  if (fd < 0) return NULL;
  void *found = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  return page = found == MAP_FAILED ? NULL : found;
}

static int below(const char *path) {
  const char *folder = getenv("FAIL_FOLDER");
  return folder && *folder && path && strncmp(path, folder, strlen(folder)) == 0;
}

/* Counts the call; 1: it must fail, and errno is set. */
static int fails(const char *path) {
  control_page *plan = below(path) ? control() : NULL;
  if (!plan) return 0;
  long now = __atomic_add_fetch(&plan->seen, 1, __ATOMIC_SEQ_CST);
  if (!plan->first || now < plan->first || now >= plan->first + plan->length) return 0;
  __atomic_add_fetch(&plan->failed, 1, __ATOMIC_SEQ_CST);
  errno = (int)plan->code;
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

/* Reading fails with EIO only: a full disk can be read. */
static int reads_fail(void) {
  control_page *plan = control();
  return plan && plan->code == EIO;
}

int open64(const char *path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;
  va_end(more);
  int reading = !(flags & (O_WRONLY | O_RDWR));
  if ((!reading || reads_fail()) && fails(path)) return -1;
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

/* No crash of the machine is tested, so the real fsync is not called. */
int fsync(int fd) { return fails_fd(fd) ? -1 : 0; }

typedef int (*ftruncate64_type)(int, off64_t);
int ftruncate64(int fd, off64_t n) { return fails_fd(fd) ? -1 : (REAL(ftruncate64))(fd, n); }

typedef int (*rename_type)(const char *, const char *);
int rename(const char *from, const char *to) { return fails(to) ? -1 : (REAL(rename))(from, to); }

typedef int (*unlink_type)(const char *);
int unlink(const char *path) { return fails(path) ? -1 : (REAL(unlink))(path); }

typedef ssize_t (*read_type)(int, void *, size_t);
ssize_t read(int fd, void *data, size_t n) {
  return reads_fail() && fails_fd(fd) ? -1 : (REAL(read))(fd, data, n);
}

typedef int (*stat64_type)(const char *, struct stat64 *);
int stat64(const char *path, struct stat64 *found) {
  return reads_fail() && fails(path) ? -1 : (REAL(stat64))(path, found);
}

typedef DIR *(*opendir_type)(const char *);
DIR *opendir(const char *path) {
  return reads_fail() && fails(path) ? NULL : (REAL(opendir))(path);
}

typedef int (*mkdir_type)(const char *, mode_t);
int mkdir(const char *path, mode_t mode) { return fails(path) ? -1 : (REAL(mkdir))(path, mode); }
