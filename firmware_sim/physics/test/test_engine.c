/* The event engine under hostile parameters: order, dead time, bounds, no leak (run under ASan). */
#include "../detector.h"

#include <stdio.h>
#include <stdlib.h>

static int failures;

#define CHECK(what)                                                 \
    do {                                                            \
        if (!(what)) {                                              \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #what); \
            failures++;                                             \
        }                                                           \
    } while (0)

enum { SLICE = 1000000000 }; /* 1 ms */

static sim_source *source_with(const sim_source_params *p) {
    static const uint64_t seeds[9] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    sim_source *s = sim_source_new(seeds);
    if (!s) exit(2);
    sim_source_set(s, p);
    return s;
}

static void diodes(sim_detector *d[8], const sim_detector_params *p) {
    for (int i = 0; i < 8; i++) {
        d[i] = sim_detector_new(100 + (uint64_t)i);
        if (!d[i]) exit(2);
        sim_detector_set(d[i], p);
    }
}

static void release(sim_source *s, sim_detector *d[8]) {
    sim_source_free(s);
    for (int i = 0; i < 8; i++) sim_detector_free(d[i]);
}

static void test_order_and_dead_time_over_slices(void) {
    sim_source_params light = {.pair_rate_hz = 2e6, .companion_probability = 0.5, .coherence_ps = 1e4};
    for (int i = 0; i < 2; i++)
        light.arm[i] = (sim_arm_params){.transmission = 0.9, .hv_fraction = 0.3, .delay_ps = 250000000,
                                        .dispersion_ps = 5000.0, .background_hz = 1e5};
    const sim_detector_params diode = {.efficiency = 0.8, .dark_hz = 1e5, .dead_ps = 1e6,
                                       .jitter_ps = 2000.0, .tail_fraction = 0.5, .tail_ps = 2000.0,
                                       .trap_amplitude = {0.3, 0.3}, .trap_tau_ps = {1e6, 1e9}};
    sim_source *s = source_with(&light);
    sim_detector *d[8];
    diodes(d, &diode);
    int64_t last[8] = {0}, clicks = 0;
    for (int k = 0; k < 50; k++) {
        CHECK(sim_source_run(s, (int64_t)k * SLICE, (int64_t)(k + 1) * SLICE, d) > 0);
        for (int i = 0; i < 8; i++) {
            const int64_t n = sim_detector_run(d[i], (int64_t)(k + 1) * SLICE - SIM_JITTER_MAX_PS);
            const int64_t *at = sim_detector_clicks(d[i]);
            for (int64_t j = 0; j < n; j++) {
                CHECK(clicks == 0 || last[i] == 0 || at[j] - last[i] >= 1000000);
                CHECK(at[j] < (int64_t)(k + 1) * SLICE - SIM_JITTER_MAX_PS);
                last[i] = at[j];
                clicks++;
            }
        }
    }
    uint64_t truth[5];
    sim_source_truth(s, truth);
    CHECK(truth[0] > 100000 && truth[1] > 0 && truth[4] == 0);
    CHECK(clicks > 10000);
    release(s, d);
}

/* More background than the queues hold between two pairs: none is lost, order is kept. */
static void test_background_alone_fills_the_queues(void) {
    sim_source_params light = {.pair_rate_hz = 1e3};
    light.arm[1] = (sim_arm_params){.hv_fraction = 0.5, .background_hz = 1e9};
    const sim_detector_params diode = {.efficiency = 1.0, .dead_ps = 0.0};
    sim_source *s = source_with(&light);
    sim_detector *d[8];
    diodes(d, &diode);
    CHECK(sim_source_run(s, 0, SLICE, d) >= 0);
    int64_t seen = 0;
    for (int i = 0; i < 8; i++) {
        CHECK(sim_detector_run(d[i], SLICE) == (int64_t)d[i]->truth[0]);
        seen += (int64_t)d[i]->truth[0];
        CHECK((d[i]->truth[0] > 0) == (i >= 4));
    }
    CHECK(seen > 995000 && seen < 1005000); /* 1e6 +- 5 standard deviations */
    release(s, d);
}

static void test_runaway_afterpulsing_ends(void) {
    const sim_source_params dark = {0};
    const sim_detector_params diode = {.dark_hz = 1e6, .trap_amplitude = {10, 10, 10, 10},
                                       .trap_tau_ps = {1000, 1000, 1000, 1000}};
    sim_source *s = source_with(&dark);
    sim_detector *d[8];
    diodes(d, &diode);
    CHECK(sim_source_run(s, 0, SLICE, d) == 0);
    const int64_t n = sim_detector_run(d[0], SLICE);
    CHECK(n > 1000 && n < 100000);
    sim_detector_skip(d[0], 2 * SLICE);
    CHECK(sim_detector_run(d[0], 2 * SLICE) == 0);
    release(s, d);
}

static void test_tagger_writes_no_more_than_there_is_room(void) {
    const sim_source_params dark = {0};
    const sim_detector_params diode = {.dark_hz = 1e6};
    sim_source *s = source_with(&dark);
    sim_detector *d[8];
    diodes(d, &diode);
    for (int i = 0; i < 4; i++) CHECK(sim_detector_run(d[i], SLICE) > 100);
    sim_tagger *t = sim_tagger_new(5);
    if (!t) exit(2);
    const sim_tagger_params p = {.resolution_ps = 3.90625, .jitter_ps = 300.0, .input = {3, 255, 0, 7}};
    sim_tagger_set(t, &p);
    int64_t time_ps[100];
    uint8_t channel[100];
    const int64_t days = INT64_C(1000000000000000000); /* 11.6 days */
    CHECK(sim_tagger_run(t, d, 0, days, 0.5, 1e-5, time_ps, channel, 100) == 100);
    for (int i = 0; i < 100; i++) {
        CHECK(time_ps[i] >= days - 10000);
        CHECK(i == 0 || time_ps[i] >= time_ps[i - 1]);
        CHECK(channel[i] == 3 || channel[i] == 0 || channel[i] == 7);
    }
    sim_tagger_restart(t);
    CHECK(sim_tagger_run(t, d, 0, -days, 0.0, 0.0, time_ps, channel, 100) == 0);
    CHECK(sim_tagger_run(t, d, 0, 0, 0.0, 0.0, time_ps, channel, 0) == 0);
    sim_tagger_free(t);
    release(s, d);
}

static void test_nothing_from_nothing(void) {
    sim_detector_free(NULL);
    sim_source_free(NULL);
    sim_tagger_free(NULL);
    const sim_source_params dark = {0};
    const sim_detector_params dead = {0};
    sim_source *s = source_with(&dark);
    sim_detector *d[8];
    diodes(d, &dead);
    CHECK(sim_source_run(s, 0, SLICE, d) == 0);
    for (int i = 0; i < 8; i++) CHECK(sim_detector_run(d[i], SLICE) == 0);
    release(s, d);
}

int main(void) {
    test_order_and_dead_time_over_slices();
    test_background_alone_fills_the_queues();
    test_runaway_afterpulsing_ends();
    test_tagger_writes_no_more_than_there_is_room();
    test_nothing_from_nothing();
    return failures != 0;
}
