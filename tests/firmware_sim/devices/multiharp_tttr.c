/* tttr SECONDS_IN_MS: opens the first MultiHarp, measures in T2 mode and counts the events.
 *
 * The calls and their order are those of a program for the vendor's library; the prototypes follow
 * the names in its public header. Linked with -lmh150. */
#include <stdio.h>
#include <stdlib.h>

int MH_GetLibraryVersion(char *version);
int MH_GetErrorString(char *text, int code);
int MH_OpenDevice(int device, char *serial);
int MH_CloseDevice(int device);
int MH_Initialize(int device, int mode, int reference);
int MH_GetHardwareInfo(int device, char *model, char *part, char *version);
int MH_GetFeatures(int device, int *features);
int MH_GetBaseResolution(int device, double *resolution, int *steps);
int MH_GetNumOfInputChannels(int device, int *channels);
int MH_SetSyncDiv(int device, int divider);
int MH_SetSyncEdgeTrg(int device, int level, int edge);
int MH_SetSyncChannelOffset(int device, int offset);
int MH_SetInputEdgeTrg(int device, int channel, int level, int edge);
int MH_SetInputChannelOffset(int device, int channel, int offset);
int MH_SetInputChannelEnable(int device, int channel, int enable);
int MH_GetResolution(int device, double *resolution);
int MH_GetSyncRate(int device, int *rate);
int MH_GetCountRate(int device, int channel, int *rate);
int MH_GetWarnings(int device, int *warnings);
int MH_GetWarningsText(int device, char *text, int warnings);
int MH_StartMeas(int device, int milliseconds);
int MH_StopMeas(int device);
int MH_CTCStatus(int device, int *finished);
int MH_GetFlags(int device, int *flags);
int MH_ReadFiFo(int device, unsigned int *buffer, int *count);

enum { DEVICES = 8, MODE_T2 = 2, RECORDS = 1048576, FIFO_FULL = 2 };

static unsigned int buffer[RECORDS];

static void must(int code, const char *what) {
    char text[100] = "";
    if (code == 0) return;
    MH_GetErrorString(text, code);
    printf("failed: %s: %s (%d)\n", what, text, code);
    exit(1);
}

static int open_first(char *serial) {
    for (int device = 0; device < DEVICES; device++)
        if (MH_OpenDevice(device, serial) == 0) return device;
    printf("failed: no device\n");
    exit(1);
}

static int prepare(int device) {
    char model[32], part[16], version[16], warning[16384];
    int features, steps, channels, rate, warnings;
    double resolution;
    must(MH_Initialize(device, MODE_T2, 0), "Initialize");
    must(MH_GetHardwareInfo(device, model, part, version), "GetHardwareInfo");
    printf("model: %s\n", model);
    must(MH_GetFeatures(device, &features), "GetFeatures");
    must(MH_GetBaseResolution(device, &resolution, &steps), "GetBaseResolution");
    must(MH_GetNumOfInputChannels(device, &channels), "GetNumOfInputChannels");
    must(MH_SetSyncDiv(device, 1), "SetSyncDiv");
    must(MH_SetSyncEdgeTrg(device, -50, 0), "SetSyncEdgeTrg");
    must(MH_SetSyncChannelOffset(device, 0), "SetSyncChannelOffset");
    for (int i = 0; i < channels; i++) {
        must(MH_SetInputEdgeTrg(device, i, -50, 0), "SetInputEdgeTrg");
        must(MH_SetInputChannelOffset(device, i, 0), "SetInputChannelOffset");
        must(MH_SetInputChannelEnable(device, i, 1), "SetInputChannelEnable");
    }
    must(MH_GetResolution(device, &resolution), "GetResolution");
    printf("resolution: %.1f ps\n", resolution);
    must(MH_GetSyncRate(device, &rate), "GetSyncRate");
    for (int i = 0; i < channels; i++) must(MH_GetCountRate(device, i, &rate), "GetCountRate");
    must(MH_GetWarnings(device, &warnings), "GetWarnings");
    if (warnings) must(MH_GetWarningsText(device, warning, warnings), "GetWarningsText");
    return channels;
}

int main(int argc, char **argv) {
    char version[16], serial[16];
    long counts[64] = {0}, syncs = 0;
    int flags, finished = 0, count = 1;
    must(MH_GetLibraryVersion(version), "GetLibraryVersion");
    int device = open_first(serial);
    printf("library: %s\nserial: %s\n", version, serial);
    int channels = prepare(device);
    must(MH_StartMeas(device, argc > 1 ? atoi(argv[1]) : 100), "StartMeas");
    while (!finished || count) {
        must(MH_GetFlags(device, &flags), "GetFlags");
        if (flags & FIFO_FULL) must(-1, "the FIFO is full");
        must(MH_ReadFiFo(device, buffer, &count), "ReadFiFo");
        for (int i = 0; i < count; i++) {
            unsigned int special = buffer[i] >> 31, channel = buffer[i] >> 25 & 63;
            if (!special) counts[channel]++;
            else if (channel == 0) syncs++;
        }
        if (!count) must(MH_CTCStatus(device, &finished), "CTCStatus");
    }
    must(MH_StopMeas(device), "StopMeas");
    for (int i = 0; i < channels; i++) printf("input %d: %ld\n", i, counts[i]);
    printf("sync: %ld\n", syncs);
    must(MH_CloseDevice(device), "CloseDevice");
    return 0;
}
