/* The cable of a stand-in vendor library: every call travels over a Unix socket to the emulator
 * program, where the instrument lives. Included once by each generated library (prototypes.py).
 *
 * The socket lies beside the library, so a copy of the library is a cable of its own with its own
 * state. A call never hangs: without an answer in DEADLINE_MS it fails, and the device counts as
 * lost until it is opened again, so that a late answer never meets the next question. Calls from
 * several threads are carried one after another. Device index 0 is the instrument.
 */
#ifndef PHOTONLINK_CABLE_H
#define PHOTONLINK_CABLE_H

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define REQUEST_MAX (1 << 18)

typedef struct {
    uint32_t function, size;
    unsigned char payload[REQUEST_MAX];
    int overfull; /* more than the cable carries: not sent */
} request_t;

enum { VALUE, ARRAY, TEXT }; /* exactly one value; at most room bytes; ended by a NUL */

typedef struct {
    void *data; /* NULL: not wanted */
    size_t room;
    int kind;
} out_t;

typedef struct {
    int code;
    const char *text;
} error_text_t;

enum { CALL, CONNECT, DISCONNECT };

static pthread_mutex_t cable = PTHREAD_MUTEX_INITIALIZER;
static int cable_fd = -1;
static int is_open; /* opened and not closed; with cable_fd < 0: lost */
static int in_demo; /* DEMO: the last open found no device */

static inline void put(request_t *request, const void *data, uint32_t size) {
    if (request->size + size > REQUEST_MAX) {
        request->overfull = 1;
        return;
    }
    if (size) memcpy(request->payload + request->size, data, size);
    request->size += size;
}

static inline void put_block(request_t *request, const void *data, size_t size) {
    uint32_t length = size > REQUEST_MAX ? REQUEST_MAX : (uint32_t)size; /* then it is overfull */
    put(request, &length, sizeof length);
    put(request, data, length);
}

/* A file's name, absolute: the emulator has another working directory. */
static inline void put_path(request_t *request, const char *name) {
    char whole[8192] = "";
    size_t at = 0;
    if (name && *name && *name != '/' && getcwd(whole, sizeof whole / 2)) {
        at = strlen(whole);
        whole[at++] = '/';
    }
    if (name && strlen(name) < sizeof whole - at) strcpy(whole + at, name);
    put_block(request, whole, strlen(whole));
}

static int connect_beside_library(void) {
    Dl_info self;
    if (!dladdr((void *)(uintptr_t)&connect_beside_library, &self) || !self.dli_fname) return -1;
    char folder[4096];
    int n = snprintf(folder, sizeof folder, "%s", self.dli_fname);
    if (n < 0 || (size_t)n >= sizeof folder) return -1;
    char *slash = strrchr(folder, '/');
    if (slash) *slash = 0;
    /* a socket's name holds 107 bytes only, a folder may be longer: go through its descriptor */
    int dir = open(slash ? folder : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0) return -1;
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    snprintf(name.sun_path, sizeof name.sun_path, "/proc/self/fd/%d/" SOCKET_NAME, dir);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval limit = {.tv_sec = DEADLINE_MS / 1000}; /* of connect() only */
    if (fd >= 0) setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&name, sizeof name) < 0) {
        close(fd);
        fd = -1;
    }
    close(dir);
    return fd;
}

static int64_t now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

/* All of `size` bytes in the given direction (POLLIN or POLLOUT) before `deadline`, or -1. */
static int transfer(short direction, void *data, size_t size, int64_t deadline) {
    char *p = data;
    while (size) {
        struct pollfd fd = {.fd = cable_fd, .events = direction};
        int64_t left = deadline - now_ms();
        if (left <= 0 || (poll(&fd, 1, (int)left) < 0 && errno != EINTR)) return -1;
        if (!fd.revents) continue;
        ssize_t n = direction == POLLIN ? recv(cable_fd, p, size, MSG_DONTWAIT)
                                        : send(cable_fd, p, size, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
        if (n <= 0) return -1;
        p += n;
        size -= (size_t)n;
    }
    return 0;
}

/* Bytes that nobody wants. */
static int skip(size_t size, int64_t deadline) {
    char bin[4096];
    for (; size; size -= size < sizeof bin ? size : sizeof bin)
        if (transfer(POLLIN, bin, size < sizeof bin ? size : sizeof bin, deadline)) return -1;
    return 0;
}

/* One out-argument of the reply; `left`: bytes of the payload not read yet. */
static int take(const out_t *out, uint32_t *left, int64_t deadline) {
    uint32_t size;
    if (*left < sizeof size || transfer(POLLIN, &size, sizeof size, deadline)) return -1;
    *left -= (uint32_t)sizeof size;
    if (size > *left) return -1;
    *left -= size;
    if (!out->data) return skip(size, deadline);
    if (size > out->room || (out->kind == VALUE && size != out->room)) return -1;
    if (transfer(POLLIN, out->data, size, deadline)) return -1;
    if (out->kind == TEXT && size < out->room) ((char *)out->data)[size] = 0;
    return 0;
}

static void drop_cable(void) {
    if (cable_fd >= 0) close(cable_fd);
    cable_fd = -1;
}

/* Close the cable when the library is unloaded. */
static void __attribute__((destructor)) unload(void) {
    drop_cable();
}

/* One exchange with the cable held. */
static int exchange(request_t *request, const out_t *out, int outs) {
    struct {
        int32_t code;
        uint32_t size;
    } reply;
    if (cable_fd < 0) return E_FAILED;
    if (request->overfull) return E_ARGUMENT;
    int slow = request->function == SLOW_FUNCTION; /* it takes long when all is well */
    int64_t deadline = now_ms() + (slow ? SLOW_MS : DEADLINE_MS);
    size_t whole = offsetof(request_t, payload) + request->size;
    int good = transfer(POLLOUT, request, whole, deadline) == 0 &&
               transfer(POLLIN, &reply, sizeof reply, deadline) == 0;
    uint32_t left = good ? reply.size : 0;
    if (good && (left || reply.code == 0)) /* a failed call may have no results */
        for (int i = 0; i < outs && good; i++) good = take(&out[i], &left, deadline) == 0;
    if (good && left == 0) return reply.code;
    drop_cable(); /* a late answer must not be taken for the answer to the next question */
    return E_FAILED;
}

static int connect_device(request_t *request, const out_t *out, int outs) {
    static int opened_before;
    if (cable_fd >= 0 && !RECONNECT) return E_BUSY;
    if (ONCE && opened_before) abort();
    drop_cable();
    is_open = 0;
    cable_fd = connect_beside_library();
    int code = cable_fd < 0 ? E_OPEN_FAIL : exchange(request, out, outs);
    if (code) drop_cable();
    is_open = code == 0;
    opened_before |= is_open;
    in_demo = DEMO && code == E_OPEN_FAIL;
    return code;
}

/* A call without a device behind it. */
static int pretend(const out_t *out, int outs) {
    for (int i = 0; i < outs; i++)
        if (out[i].data && out[i].room) /* texts are empty, arrays say nothing */
            memset(out[i].data, 0, out[i].kind == VALUE ? out[i].room : 1);
    return 0;
}

/* Carry one call: which kind, to which device, where its results go. */
static int carry(request_t *request, int kind, int index, const out_t *out, int outs) {
    if (index < 0 || index >= DEVICES) return E_ARGUMENT;
    if (index != 0) return kind == CONNECT ? E_OPEN_FAIL : E_NOT_OPEN;
    pthread_mutex_lock(&cable);
    int code = E_NOT_OPEN;
    if (kind == CONNECT) {
        code = connect_device(request, out, outs);
    } else {
        if (AUTO_CONNECT && cable_fd < 0) cable_fd = connect_beside_library();
        if (is_open || AUTO_CONNECT) code = exchange(request, out, outs);
        else if (in_demo) code = pretend(out, outs);
        if (kind == DISCONNECT) {
            code = is_open ? 0 : E_CLOSED;
            drop_cable();
            is_open = in_demo = 0;
        }
    }
    pthread_mutex_unlock(&cable);
    return code;
}

static inline int error_text(char *text, int code, const error_text_t *known, size_t n) {
    if (!text) return E_ARGUMENT;
    for (size_t i = 0; i < n; i++)
        if (known[i].code == code) {
            strcpy(text, known[i].text);
            return 0;
        }
    text[0] = 0;
    return E_ARGUMENT;
}

#endif
