/* Stand-in for PicoQuant's libmh150.so (MHLib): the cable only.
 *
 * Every call is carried over a Unix socket to the emulator program, where the instrument lives. The
 * socket is the file mh150.sock beside this library, so a copy of the library is a cable of its own
 * with its own state. Names, arguments and modes are those of the fact sheet (instruments.md 2.5);
 * the error numbers are unverified. Device index 0 is the instrument, 1..7 are empty.
 *
 * A call never hangs: without an answer in DEADLINE_MS it fails and the device counts as lost until
 * it is opened again. Calls from several threads are carried one after another.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define MAXDEVNUM 8
#define TTREADMAX 1048576
#define DEADLINE_MS 2000
#define TEXT_MAX 16384
#define SOCKET_NAME "mh150.sock"

enum { /* error numbers: unverified */
    E_OPEN_FAIL = -1,
    E_BUSY = -2,
    E_NOT_OPEN = -10,
    E_ARGUMENT = -17,
    E_COMMAND_FAIL = -36,
    E_READ_FAIL = -37
};

/* Function numbers on the cable; firmware_sim/devices/picoquant/multiharp150.py has the same. */
enum {
    F_OPEN = 1, F_CLOSE, F_INITIALIZE, F_HARDWARE_INFO, F_SERIAL, F_FEATURES, F_BASE_RESOLUTION,
    F_INPUT_CHANNELS, F_SYNC_DIV, F_SYNC_EDGE, F_SYNC_OFFSET, F_SYNC_DEAD_TIME, F_INPUT_EDGE,
    F_INPUT_OFFSET, F_INPUT_DEAD_TIME, F_INPUT_ENABLE, F_MEAS_CONTROL, F_START, F_STOP, F_CTC,
    F_FLAGS, F_ELAPSED, F_START_TIME, F_READ_FIFO, F_SYNC_RATE, F_COUNT_RATE, F_ALL_RATES,
    F_WARNINGS, F_WARNINGS_TEXT, F_WHITE_RABBIT
};

typedef struct {
    uint32_t function;
    int32_t argument[4];
} request_t;

typedef struct {
    int32_t code;
    uint32_t length; /* bytes of payload that follow */
} reply_t;

static pthread_mutex_t cable = PTHREAD_MUTEX_INITIALIZER;
static int cable_fd = -1;
static int is_open; /* opened and not closed; with cable_fd < 0: lost */

/* Which library this is: provenance cannot lie. */
int SIM_IsEmulator(void) { return 1; }

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

/* One exchange with the cable held; payload of at most `room` bytes to `out`, its size to `got`. */
static int exchange(request_t *request, void *out, size_t room, size_t *got) {
    int failed = request->function == F_READ_FIFO ? E_READ_FAIL : E_COMMAND_FAIL;
    reply_t reply;
    if (cable_fd < 0) return failed;
    int64_t deadline = now_ms() + DEADLINE_MS;
    if (transfer(POLLOUT, request, sizeof *request, deadline) == 0 &&
        transfer(POLLIN, &reply, sizeof reply, deadline) == 0 && reply.length <= room &&
        transfer(POLLIN, out, reply.length, deadline) == 0) {
        if (got) *got = reply.length;
        return reply.code;
    }
    close(cable_fd); /* a late answer must never meet the next question */
    cable_fd = -1;
    return failed;
}

static int check(int devidx) {
    if (devidx < 0 || devidx >= MAXDEVNUM) return E_ARGUMENT;
    return devidx == 0 && is_open ? 0 : E_NOT_OPEN;
}

static int call(int devidx, request_t request, void *out, size_t room, size_t *got) {
    pthread_mutex_lock(&cable);
    int code = check(devidx);
    if (code == 0) code = exchange(&request, out, room, got);
    pthread_mutex_unlock(&cable);
    return code;
}

#define ASK(f, ...) ((request_t){(f), {__VA_ARGS__}})

static int set(int devidx, request_t request) { return call(devidx, request, NULL, 0, NULL); }

/* A fixed-size answer; written only when the call succeeded and is whole. */
static int get(int devidx, request_t request, void *out, size_t size) {
    char answer[512];
    size_t got = 0;
    if (!out) return E_ARGUMENT;
    int code = call(devidx, request, answer, sizeof answer, &got);
    if (code == 0 && got != size) return E_COMMAND_FAIL;
    if (code == 0) memcpy(out, answer, size);
    return code;
}

/* A text answer into a buffer of the size the vendor's manual asks for. */
static int get_text(int devidx, request_t request, char *out, size_t size) {
    char answer[TEXT_MAX];
    size_t got = 0;
    if (!out) return E_ARGUMENT;
    int code = call(devidx, request, answer, sizeof answer, &got);
    if (code == 0) {
        if (got >= size) got = size - 1;
        memcpy(out, answer, got);
        out[got] = 0;
    }
    return code;
}

int MH_GetLibraryVersion(char *version) {
    if (!version) return E_ARGUMENT;
    strcpy(version, "3.1");
    return 0;
}

int MH_GetErrorString(char *text, int code) {
    static const struct { int code; const char *text; } known[] = {
        {0, "MH_ERROR_NONE"}, {-1, "MH_ERROR_DEVICE_OPEN_FAIL"}, {-2, "MH_ERROR_DEVICE_BUSY"},
        {-10, "MH_ERROR_DEVICE_NOT_OPEN"}, {-16, "MH_ERROR_INSTANCE_RUNNING"},
        {-17, "MH_ERROR_INVALID_ARGUMENT"}, {-18, "MH_ERROR_INVALID_MODE"},
        {-19, "MH_ERROR_INVALID_OPTION"}, {-22, "MH_ERROR_NOT_INITIALIZED"},
        {-36, "MH_ERROR_USB_VCMD_FAIL"}, {-37, "MH_ERROR_USB_BULKRD_FAIL"},
    };
    if (!text) return E_ARGUMENT;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].code == code) {
            strcpy(text, known[i].text);
            return 0;
        }
    text[0] = 0;
    return E_ARGUMENT;
}

int MH_OpenDevice(int devidx, char *serial) {
    if (devidx < 0 || devidx >= MAXDEVNUM || !serial) return E_ARGUMENT;
    if (devidx != 0) return E_OPEN_FAIL;
    pthread_mutex_lock(&cable);
    int code = E_BUSY;
    if (cable_fd < 0) {
        char answer[8] = {0};
        size_t got = 0;
        request_t request = ASK(F_OPEN, 0);
        cable_fd = connect_beside_library();
        code = cable_fd < 0 ? E_OPEN_FAIL : exchange(&request, answer, sizeof answer - 1, &got);
        if (code == 0) {
            memcpy(serial, answer, sizeof answer);
            is_open = 1;
        } else if (cable_fd >= 0) {
            close(cable_fd);
            cable_fd = -1;
        }
    }
    pthread_mutex_unlock(&cable);
    return code;
}

int MH_CloseDevice(int devidx) {
    pthread_mutex_lock(&cable);
    int code = check(devidx);
    if (code == 0) {
        request_t request = ASK(F_CLOSE, 0);
        if (cable_fd >= 0) exchange(&request, NULL, 0, NULL);
        if (cable_fd >= 0) close(cable_fd);
        cable_fd = -1;
        is_open = 0;
    }
    pthread_mutex_unlock(&cable);
    return code;
}

int MH_Initialize(int devidx, int mode, int refsource) {
    return set(devidx, ASK(F_INITIALIZE, mode, refsource));
}

/* model: room for 24 characters, partno: 8, version: 8. */
int MH_GetHardwareInfo(int devidx, char *model, char *partno, char *version) {
    char answer[24 + 8 + 8]; /* three texts, each ended by a NUL */
    if (!model || !partno || !version) return E_ARGUMENT;
    int code = get(devidx, ASK(F_HARDWARE_INFO, 0), answer, sizeof answer);
    if (code == 0) {
        memcpy(model, answer, 24);
        memcpy(partno, answer + 24, 8);
        memcpy(version, answer + 32, 8);
    }
    return code;
}

int MH_GetSerialNumber(int devidx, char *serial) {
    return get_text(devidx, ASK(F_SERIAL, 0), serial, 8);
}

int MH_GetFeatures(int devidx, int *features) {
    return get(devidx, ASK(F_FEATURES, 0), features, sizeof *features);
}

int MH_GetBaseResolution(int devidx, double *resolution, int *binsteps) {
    struct { double resolution; int32_t binsteps, unused; } answer;
    if (!resolution || !binsteps) return E_ARGUMENT;
    int code = get(devidx, ASK(F_BASE_RESOLUTION, 0), &answer, sizeof answer);
    if (code == 0) {
        *resolution = answer.resolution;
        *binsteps = answer.binsteps;
    }
    return code;
}

int MH_GetNumOfInputChannels(int devidx, int *nchannels) {
    return get(devidx, ASK(F_INPUT_CHANNELS, 0), nchannels, sizeof *nchannels);
}

int MH_SetSyncDiv(int devidx, int div) { return set(devidx, ASK(F_SYNC_DIV, div)); }

int MH_SetSyncEdgeTrg(int devidx, int level, int edge) {
    return set(devidx, ASK(F_SYNC_EDGE, level, edge));
}

int MH_SetSyncChannelOffset(int devidx, int value) {
    return set(devidx, ASK(F_SYNC_OFFSET, value));
}

int MH_SetSyncDeadTime(int devidx, int on, int deadtime) {
    return set(devidx, ASK(F_SYNC_DEAD_TIME, on, deadtime));
}

int MH_SetInputEdgeTrg(int devidx, int channel, int level, int edge) {
    return set(devidx, ASK(F_INPUT_EDGE, channel, level, edge));
}

int MH_SetInputChannelOffset(int devidx, int channel, int value) {
    return set(devidx, ASK(F_INPUT_OFFSET, channel, value));
}

int MH_SetInputDeadTime(int devidx, int channel, int on, int deadtime) {
    return set(devidx, ASK(F_INPUT_DEAD_TIME, channel, on, deadtime));
}

int MH_SetInputChannelEnable(int devidx, int channel, int enable) {
    return set(devidx, ASK(F_INPUT_ENABLE, channel, enable));
}

int MH_SetMeasControl(int devidx, int control, int startedge, int stopedge) {
    return set(devidx, ASK(F_MEAS_CONTROL, control, startedge, stopedge));
}

int MH_StartMeas(int devidx, int tacq) { return set(devidx, ASK(F_START, tacq)); }

int MH_StopMeas(int devidx) { return set(devidx, ASK(F_STOP, 0)); }

int MH_CTCStatus(int devidx, int *status) {
    return get(devidx, ASK(F_CTC, 0), status, sizeof *status);
}

int MH_GetFlags(int devidx, int *flags) {
    return get(devidx, ASK(F_FLAGS, 0), flags, sizeof *flags);
}

int MH_GetElapsedMeasTime(int devidx, double *elapsed) {
    return get(devidx, ASK(F_ELAPSED, 0), elapsed, sizeof *elapsed);
}

int MH_GetStartTime(int devidx, unsigned int *dw2, unsigned int *dw1, unsigned int *dw0) {
    uint32_t answer[3];
    if (!dw2 || !dw1 || !dw0) return E_ARGUMENT;
    int code = get(devidx, ASK(F_START_TIME, 0), answer, sizeof answer);
    if (code == 0) {
        *dw2 = answer[0];
        *dw1 = answer[1];
        *dw0 = answer[2];
    }
    return code;
}

/* buffer: room for TTREADMAX records. */
int MH_ReadFiFo(int devidx, unsigned int *buffer, int *nactual) {
    size_t got = 0;
    if (!buffer || !nactual) return E_ARGUMENT;
    int code = call(devidx, ASK(F_READ_FIFO, 0), buffer, 4 * (size_t)TTREADMAX, &got);
    *nactual = code == 0 ? (int)(got / 4) : 0;
    return code;
}

int MH_GetSyncRate(int devidx, int *rate) {
    return get(devidx, ASK(F_SYNC_RATE, 0), rate, sizeof *rate);
}

int MH_GetCountRate(int devidx, int channel, int *rate) {
    return get(devidx, ASK(F_COUNT_RATE, channel), rate, sizeof *rate);
}

/* rates: one entry per input channel. */
int MH_GetAllCountRates(int devidx, int *syncrate, int *rates) {
    int32_t answer[1 + 64];
    size_t got = 0;
    if (!syncrate || !rates) return E_ARGUMENT;
    int code = call(devidx, ASK(F_ALL_RATES, 0), answer, sizeof answer, &got);
    if (code == 0 && got < 4) return E_COMMAND_FAIL;
    if (code == 0) {
        *syncrate = answer[0];
        memcpy(rates, answer + 1, got - 4);
    }
    return code;
}

int MH_GetWarnings(int devidx, int *warnings) {
    return get(devidx, ASK(F_WARNINGS, 0), warnings, sizeof *warnings);
}

int MH_GetWarningsText(int devidx, char *text, int warnings) {
    return get_text(devidx, ASK(F_WARNINGS_TEXT, warnings), text, TEXT_MAX);
}

/* White Rabbit: this unit has no such interface; each call answers with an error number. */
static int white_rabbit(int devidx) { return set(devidx, ASK(F_WHITE_RABBIT, 0)); }

int MH_WRabbitGetMAC(int devidx, unsigned char *mac) {
    (void)mac;
    return white_rabbit(devidx);
}

int MH_WRabbitSetMAC(int devidx, unsigned char *mac) {
    (void)mac;
    return white_rabbit(devidx);
}

int MH_WRabbitGetInitScript(int devidx, char *script) {
    (void)script;
    return white_rabbit(devidx);
}

int MH_WRabbitSetInitScript(int devidx, char *script) {
    (void)script;
    return white_rabbit(devidx);
}

int MH_WRabbitGetSFPData(int devidx, char *names, int *dtxs, int *drxs, int *alphas) {
    (void)names, (void)dtxs, (void)drxs, (void)alphas;
    return white_rabbit(devidx);
}

int MH_WRabbitSetSFPData(int devidx, char *names, int *dtxs, int *drxs, int *alphas) {
    (void)names, (void)dtxs, (void)drxs, (void)alphas;
    return white_rabbit(devidx);
}

int MH_WRabbitInitLink(int devidx, int on) {
    (void)on;
    return white_rabbit(devidx);
}

int MH_WRabbitSetMode(int devidx, int bootfromscript, int reinit, int mode) {
    (void)bootfromscript, (void)reinit, (void)mode;
    return white_rabbit(devidx);
}

int MH_WRabbitSetTime(int devidx, unsigned int hi, unsigned int lo) {
    (void)hi, (void)lo;
    return white_rabbit(devidx);
}

int MH_WRabbitGetTime(int devidx, unsigned int *hi, unsigned int *lo, unsigned int *subsec16ns) {
    (void)hi, (void)lo, (void)subsec16ns;
    return white_rabbit(devidx);
}

int MH_WRabbitGetStatus(int devidx, int *status) {
    (void)status;
    return white_rabbit(devidx);
}

int MH_WRabbitGetTermOutput(int devidx, char *text, int *nchar) {
    (void)text, (void)nchar;
    return white_rabbit(devidx);
}
