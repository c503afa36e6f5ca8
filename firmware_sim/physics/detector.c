/* One single-photon avalanche diode: candidates → jitter → order → dead time and afterpulses.
 *
 * Dead time is non-paralysable: observed rate r / (1 + r tau). Afterpulsing: each click fills traps
 * of up to four kinds; the number that release after the dead time is Poisson with mean
 * sum_i A_i exp(-tau_dead / tau_i), and each then waits exponentially (an exact thinning: what is
 * released during the dead time cannot click). A released trap that finds the diode alive is a
 * click like any other and fills traps again.
 *
 * Bright light (bright.c) takes the bias away: its power, low-pass filtered with bias_tau, lowers the
 * efficiency linearly down to none at blinding_hz, where the diode is in linear mode. */
#include "detector.h"

#include <stdlib.h>
#include <string.h>

enum { SIM_TRAPS_PER_CLICK_MAX = 8, SIM_TRAPS_MAX = 1 << 16 };

/* With one afterpulse per click a diode would never be quiet again, and a slice would never end. */
static const double SIM_TRAPS_MEAN_MAX = 0.9;

int sim_times_reserve(sim_times *v, size_t n) {
    if (n <= v->capacity) return 0;
    size_t capacity = v->capacity ? v->capacity : 256;
    while (capacity < n) capacity *= 2;
    int64_t *grown = realloc(v->at, capacity * sizeof *grown);
    if (!grown) return -1;
    v->at = grown;
    v->capacity = capacity;
    return 0;
}

sim_detector *sim_detector_new(uint64_t seed) {
    sim_detector *d = calloc(1, sizeof *d);
    if (d) sim_rng_seed(&d->rng, seed);
    return d;
}

void sim_detector_free(sim_detector *d) {
    if (!d) return;
    free(d->photons.at);
    free(d->darks.at);
    free(d->clicks.at);
    free(d->traps.at);
    free(d->pulses.at);
    free(d);
}

void sim_detector_set(sim_detector *d, const sim_detector_params *p) {
    d->p = *p;
    d->trap_total = 0.0;
    for (int i = 0; i < 4; i++) {
        if (p->trap_amplitude[i] > 0.0 && p->trap_tau_ps[i] > 0.0)
            d->trap_total += p->trap_amplitude[i] * exp(-p->dead_ps / p->trap_tau_ps[i]);
        d->trap_share[i] = d->trap_total;
    }
    if (d->trap_total > SIM_TRAPS_MEAN_MAX) {
        for (int i = 0; i < 4; i++) d->trap_share[i] *= SIM_TRAPS_MEAN_MAX / d->trap_total;
        d->trap_total = SIM_TRAPS_MEAN_MAX;
    }
    d->trap_none = exp(-d->trap_total);
}

int sim_detector_photons(sim_detector *d, const int64_t *at_ps, const uint16_t *pair, int n,
                         uint8_t mark, uint8_t *seen) {
    if (sim_times_reserve(&d->photons, d->photons.n + (size_t)n) < 0) return -1;
    sim_rng rng = d->rng; /* in registers, and free of aliases */
    const sim_detector_params p = d->p;
    int64_t *detected = d->photons.at + d->photons.n;
    int kept = 0;
    for (int i = 0; i < n; i++) {
        if (sim_uniform(&rng) >= p.efficiency) continue;
        const double j = sim_bounded(sim_detector_jitter(&p, &rng));
        detected[kept++] = at_ps[i] + p.delay_ps + llrint(j);
        seen[pair[i]] |= mark;
    }
    d->rng = rng;
    d->photons.n += (size_t)kept;
    d->truth[0] += (uint64_t)kept;
    return 0;
}

/* Poisson process over [from, to) */
static int add_darks(sim_detector *d, int64_t from, int64_t to) {
    d->darks.n = 0;
    if (d->p.dark_hz <= 0.0) return 0;
    const double mean_ps = 1e12 / d->p.dark_hz, span = (double)(to - from);
    for (double t = mean_ps * sim_exponential(&d->rng); t < span;
         t += mean_ps * sim_exponential(&d->rng))
        if (sim_times_push(&d->darks, from + (int64_t)t) < 0) return -1;
    return 0;
}

/* Insertion sort: candidates are out of order by jitter only. */
static void sort_nearly(int64_t *at, size_t n) {
    for (size_t i = 1; i < n; i++) {
        const int64_t t = at[i];
        size_t k = i;
        for (; k > 0 && at[k - 1] > t; k--) at[k] = at[k - 1];
        at[k] = t;
    }
}

static int heap_push(sim_times *h, int64_t t) {
    if (h->n >= SIM_TRAPS_MAX) return 0;
    if (sim_times_push(h, t) < 0) return -1;
    size_t i = h->n - 1;
    for (; i > 0 && h->at[(i - 1) / 2] > t; i = (i - 1) / 2) h->at[i] = h->at[(i - 1) / 2];
    h->at[i] = t;
    return 0;
}

static void heap_pop(sim_times *h) {
    const int64_t last = h->at[--h->n];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= h->n) break;
        if (child + 1 < h->n && h->at[child + 1] < h->at[child]) child++;
        if (h->at[child] >= last) break;
        h->at[i] = h->at[child];
        i = child;
    }
    if (h->n) h->at[i] = last;
}

static int fill_traps(sim_detector *d, int64_t click) {
    double product = sim_uniform(&d->rng); /* Knuth's Poisson; the mean is a few per cent */
    for (int n = 0; product > d->trap_none && n < SIM_TRAPS_PER_CLICK_MAX; n++) {
        const double u = sim_uniform(&d->rng) * d->trap_total;
        int kind = 0;
        while (kind < 3 && u >= d->trap_share[kind]) kind++;
        const double wait = d->p.dead_ps + d->p.trap_tau_ps[kind] * sim_exponential(&d->rng);
        if (heap_push(&d->traps, click + (int64_t)wait) < 0) return -1;
        product *= sim_uniform(&d->rng);
    }
    return 0;
}

/* Whether an avalanche starts at t: the bias must be back after the last click, and not be held
 * down by bright light. Draws only where the outcome is open. */
static int avalanche(sim_detector *d, int64_t t) {
    double chance = 1.0;
    if (d->p.recovery_ps > 0.0 && t < d->alive_ps + (int64_t)(12.0 * d->p.recovery_ps))
        chance = -expm1(-(double)(t - d->alive_ps) / d->p.recovery_ps);
    if (sim_detector_is_lit(d)) chance *= sim_detector_bias(d, t);
    if (chance >= 1.0 || (chance > 0.0 && sim_uniform(&d->rng) < chance)) return 1;
    d->truth[6]++;
    return 0;
}

enum { PHOTON, DARK, TRAP, PULSE, NONE };

static int click(sim_detector *d, int64_t t, int kind) {
    if (kind == TRAP) d->truth[2]++;
    if (kind == PULSE) d->truth[5]++;
    if (sim_times_push(&d->clicks, t) < 0) return -1;
    d->truth[4]++;
    d->alive_ps = t + (int64_t)d->p.dead_ps;
    return d->trap_total > 0.0 ? fill_traps(d, t) : 0;
}

int64_t sim_detector_run(sim_detector *d, int64_t horizon_ps) {
    if (add_darks(d, d->horizon_ps, horizon_ps) < 0) return -1;
    sort_nearly(d->photons.at, d->photons.n);
    d->clicks.n = 0;
    const int gated = d->p.recovery_ps > 0.0 || d->pulses.n > 0 || sim_detector_is_lit(d);
    size_t i = 0, k = 0, b = 0;
    for (;;) {
        int64_t t = horizon_ps;
        int kind = NONE;
        if (i < d->photons.n && d->photons.at[i] < t) t = d->photons.at[i], kind = PHOTON;
        if (k < d->darks.n && d->darks.at[k] < t) t = d->darks.at[k], kind = DARK;
        if (d->traps.n && d->traps.at[0] < t) t = d->traps.at[0], kind = TRAP;
        if (b < d->pulses.n && d->pulses.at[b].click_ps < t)
            t = d->pulses.at[b].click_ps, kind = PULSE;
        if (kind == NONE) break;
        if (kind == PHOTON) i++;
        else if (kind == DARK) k++, d->truth[1]++;
        else if (kind == TRAP) heap_pop(&d->traps);
        const sim_pulse *pulse = kind == PULSE ? &d->pulses.at[b++] : NULL;
        const int clicks = pulse ? sim_detector_pulse_clicks(d, pulse) : t >= d->alive_ps;
        if (!clicks) {
            d->truth[3] += !pulse;
            continue;
        }
        if (gated && !pulse && !avalanche(d, t)) continue;
        if (click(d, t, kind) < 0) return -1;
    }
    d->photons.n -= i;
    if (i) memmove(d->photons.at, d->photons.at + i, d->photons.n * sizeof *d->photons.at);
    d->pulses.n -= b;
    if (b) memmove(d->pulses.at, d->pulses.at + b, d->pulses.n * sizeof *d->pulses.at);
    d->horizon_ps = horizon_ps;
    return (int64_t)d->clicks.n;
}

const int64_t *sim_detector_clicks(const sim_detector *d) { return d->clicks.at; }

void sim_detector_skip(sim_detector *d, int64_t horizon_ps) {
    d->photons.n = d->traps.n = d->clicks.n = d->pulses.n = 0;
    d->horizon_ps = horizon_ps;
}

void sim_detector_truth(const sim_detector *d, uint64_t out[7]) {
    memcpy(out, d->truth, sizeof d->truth);
}
