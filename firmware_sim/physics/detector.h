/* Between the source, which hands photons in, and the taggers, which read clicks. */
#ifndef PHOTONLINK_SIM_DETECTOR_H
#define PHOTONLINK_SIM_DETECTOR_H
#include "kernels.h"
#include "rng.h"

typedef struct {
    int64_t *at;
    size_t n, capacity;
} sim_times;

/* The largest deviation jitter may have, either way: clicks are final this long after their light
 * (a bound on how far out of order candidates can be). */
enum { SIM_JITTER_MAX_PS = 20000 };

/* A bright pulse: when its click would come, and when its light does. */
typedef struct {
    int64_t click_ps, light_ps;
    double photons;
} sim_pulse;

typedef struct {
    sim_pulse *at;
    size_t n, capacity;
} sim_pulses;

struct sim_detector {
    sim_rng rng;
    sim_detector_params p;
    double trap_total;      /* expected releases after the dead time */
    double trap_share[4];   /* cumulative, of the kinds */
    double trap_none;       /* probability that none is released */
    sim_times photons;      /* detected, in flight or not yet final; nearly sorted */
    sim_times darks, clicks;
    sim_times traps;        /* heap of releases to come */
    sim_pulses pulses;      /* bright ones to come, in order */
    double excess_hz;       /* filtered power of pulses at excess_ps, which decays */
    int64_t excess_ps;
    int64_t horizon_ps, alive_ps;
    uint64_t truth[7];
};

int sim_times_reserve(sim_times *v, size_t n);
double sim_detector_bias(sim_detector *d, int64_t t);
int sim_detector_pulse_clicks(sim_detector *d, const sim_pulse *pulse);

/* Whether bright light can matter now: without it nothing of the bias is computed. */
static inline int sim_detector_is_lit(const sim_detector *d) {
    return d->p.blinding_hz > 0.0 && (d->p.bright_hz > 0.0 || d->excess_hz > 0.0);
}

static inline int sim_times_push(sim_times *v, int64_t t) {
    if (v->n == v->capacity && sim_times_reserve(v, v->n + 1) < 0) return -1;
    v->at[v->n++] = t;
    return 0;
}

static inline double sim_bounded(double j) {
    if (j > SIM_JITTER_MAX_PS) return SIM_JITTER_MAX_PS;
    return j < -SIM_JITTER_MAX_PS ? -SIM_JITTER_MAX_PS : j;
}

static inline double sim_detector_jitter(const sim_detector_params *p, sim_rng *rng) {
    double j = p->jitter_ps * sim_normal(rng);
    if (p->tail_fraction > 0.0 && sim_uniform(rng) < p->tail_fraction)
        j += p->tail_ps * sim_exponential(rng);
    return j;
}

/* n photons reach the diode, in the order of their emission. Those detected mark their pair's place
 * in `seen`. -1 without memory. */
int sim_detector_photons(sim_detector *d, const int64_t *at_ps, const uint16_t *pair, int n,
                         uint8_t mark, uint8_t *seen);
#endif
