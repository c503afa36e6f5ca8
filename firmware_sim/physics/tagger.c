/* A time tagger's front end: clicks of four detectors → one stream in this tagger's own clock →
 * dead time per input → quantised, rounded down. */
#include "detector.h"

#include <stdlib.h>
#include <string.h>

struct sim_tagger {
    sim_rng rng;
    sim_tagger_params p;
    int64_t last[256];  /* last accepted edge per input, own clock */
    int64_t final_ps;   /* the clock at the last horizon: what follows is never earlier */
};

sim_tagger *sim_tagger_new(uint64_t seed) {
    sim_tagger *t = calloc(1, sizeof *t);
    if (!t) return NULL;
    sim_rng_seed(&t->rng, seed);
    sim_tagger_restart(t);
    return t;
}

void sim_tagger_free(sim_tagger *t) { free(t); }

void sim_tagger_set(sim_tagger *t, const sim_tagger_params *p) { t->p = *p; }

void sim_tagger_restart(sim_tagger *t) {
    for (int i = 0; i < 256; i++) t->last[i] = INT64_MIN / 2;
    t->final_ps = 0;
}

/* Both without libm, which took most of the front end's time. */
static int64_t floor_ps(double x) {
    const int64_t whole = (int64_t)x;
    return whole - (x < (double)whole);
}

/* Rounded down to the LSB; a multiple of an LSB that is no whole number of ps (1/256 ns) is
 * itself rounded down to whole ps. exact_ps >= 0. */
static int64_t quantised(int64_t exact_ps, double resolution_ps) {
    const int64_t lsb = (int64_t)resolution_ps;
    if ((double)lsb == resolution_ps) return exact_ps - exact_ps % lsb;
    const int64_t ticks = (int64_t)((long double)exact_ps / resolution_ps);
    return (int64_t)((long double)ticks * resolution_ps);
}

/* Keeps the arrays sorted while one more tag, late by jitter only, is put in. */
static void insert(int64_t *time_ps, uint8_t *channel, int64_t n, int64_t at, uint8_t input) {
    int64_t k = n;
    for (; k > 0 && time_ps[k - 1] > at; k--) {
        time_ps[k] = time_ps[k - 1];
        channel[k] = channel[k - 1];
    }
    time_ps[k] = at;
    channel[k] = input;
}

int64_t sim_tagger_run(sim_tagger *t, sim_detector *const *d, int64_t origin_ps, int64_t own_ps,
                       double own_fraction, double rate, int64_t *time_ps, uint8_t *channel,
                       int64_t capacity) {
    size_t at[4] = {0, 0, 0, 0};
    int64_t n = 0;
    /* The clock's reading at the horizon. Jitter moves no tag across it, so that a stream reported
     * complete up to there remains complete. */
    const double span = (double)(d[0]->horizon_ps - origin_ps);
    const int64_t end_ps =
        own_ps + (d[0]->horizon_ps - origin_ps) + floor_ps(span * rate + own_fraction);
    while (n < capacity) {
        int next = -1;
        for (int i = 0; i < 4; i++)
            if (at[i] < d[i]->clicks.n &&
                (next < 0 || d[i]->clicks.at[at[i]] < d[next]->clicks.at[at[next]]))
                next = i;
        if (next < 0) break;
        const int64_t click = d[next]->clicks.at[at[next]++];
        const uint8_t input = t->p.input[next];
        if (input == 255 || click < t->p.start_ps) continue;
        /* Small numbers in double, large ones in int64: ps stay exact for years. */
        const double since = (double)(click - origin_ps);
        double small = since * rate + own_fraction;
        if (t->p.jitter_ps > 0.0) small += t->p.jitter_ps * sim_normal(&t->rng);
        int64_t exact = own_ps + (click - origin_ps) + floor_ps(small);
        if (exact < 0 || (double)(exact - t->last[input]) < t->p.dead_ps) continue;
        if (exact < t->final_ps - SIM_JITTER_MAX_PS) continue; /* a clock that jumped back */
        t->last[input] = exact;
        if (exact > end_ps) exact = end_ps;
        if (exact < t->final_ps) exact = t->final_ps;
        insert(time_ps, channel, n++, quantised(exact, t->p.resolution_ps), input);
    }
    if (end_ps > t->final_ps) t->final_ps = end_ps;
    return n;
}

int64_t sim_tagger_horizon(const sim_tagger *t) {
    return quantised(t->final_ps, t->p.resolution_ps);
}
