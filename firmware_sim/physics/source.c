/* Pair source, two arms, passive analysers, Eve.
 *
 * Continuous-wave SPDC: pairs leave as a Poisson process; thermal bunching (g2(tau) = 1 +
 * exp(-2 |tau| / tau_c)) is a companion pair with probability r tau_c / 2 within the coherence
 * time. Outcomes: both marginals are 1/2 for a maximally entangled state with symmetric noise, so
 * Alice's letter is a fair coin and Bob's equals hers with probability (1 + <ab>) / 2, where <ab>
 * is the correlation of the rotated state for the two bases (polarization.py). An intercepted pair
 * has Eve's outcome in between.
 *
 * What happens to a pair is a function of (component's key, number of the pair), so a change of one
 * component leaves every draw of the others alone; a lost photon still has its outcome. */
#include "detector.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    uint64_t loss, analyser;
    sim_rng background;
    double next_background; /* ps from the start of the slice */
} arm_streams;

struct sim_source {
    sim_rng emission;
    uint64_t spectrum, eve, pairs;
    arm_streams arm[2];
    sim_source_params p;
    uint64_t truth[5];
};

sim_source *sim_source_new(const uint64_t seeds[9]) {
    sim_source *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    sim_rng_seed(&s->emission, seeds[0]);
    s->spectrum = seeds[1];
    s->eve = seeds[2];
    for (int side = 0; side < 2; side++) {
        s->arm[side].loss = seeds[3 + 3 * side];
        s->arm[side].analyser = seeds[4 + 3 * side];
        sim_rng_seed(&s->arm[side].background, seeds[5 + 3 * side]);
    }
    return s;
}

void sim_source_free(sim_source *s) { free(s); }

void sim_source_set(sim_source *s, const sim_source_params *p) { s->p = *p; }

typedef struct {
    int basis; /* 0 HV, 1 DA */
    int bit;   /* 0: H or D, 1: V or A */
} outcome;

/* The bit that agrees with `bit` with probability (1 + correlation) / 2. */
static int correlated(int bit, double correlation, double uniform) {
    return bit ^ (uniform >= 0.5 * (1.0 + correlation));
}

static int arrive(const sim_source *s, int side, outcome mine, int64_t emitted, double spectrum,
                  sim_detector *const *d) {
    const sim_arm_params *a = &s->p.arm[side];
    const int64_t t = emitted + a->delay_ps + llrint(a->dispersion_ps * spectrum);
    return sim_detector_photon(d[4 * side + 2 * mine.basis + mine.bit], t);
}

static int intercepted(const sim_source *s, uint64_t index) {
    return s->p.intercept_fraction > 0.0 &&
           sim_upper(sim_at(s->eve, 2 * index)) < s->p.intercept_fraction;
}

/* Both outcomes of a pair, whether or not somebody is there to see them. */
static void measure(const sim_source *s, uint64_t index, outcome *alice, outcome *bob) {
    const uint64_t mine = sim_at(s->arm[0].analyser, index);
    const uint64_t theirs = sim_at(s->arm[1].analyser, index);
    alice->basis = sim_upper(mine) >= s->p.arm[0].hv_fraction;
    alice->bit = (int)(mine & 1);
    bob->basis = sim_upper(theirs) >= s->p.arm[1].hv_fraction;
    if (!intercepted(s, index)) {
        const double c = s->p.correlation[alice->basis][bob->basis];
        bob->bit = correlated(alice->bit, c, sim_lower(theirs));
        return;
    }
    const uint64_t hers = sim_at(s->eve, 2 * index + 1);
    outcome seen = {(int)(hers >> 63), 0};
    seen.bit = correlated(alice->bit, s->p.alice_eve[alice->basis][seen.basis], sim_lower(hers));
    bob->bit = correlated(seen.bit, s->p.eve_bob[seen.basis][bob->basis], sim_lower(theirs));
}

static int emit(sim_source *s, int64_t t, sim_detector *const *d) {
    const uint64_t index = s->pairs++;
    const int a = sim_upper(sim_at(s->arm[0].loss, index)) < s->p.arm[0].transmission;
    const int b = sim_upper(sim_at(s->arm[1].loss, index)) < s->p.arm[1].transmission;
    s->truth[0]++;
    s->truth[2] += !a;
    s->truth[3] += !b;
    s->truth[4] += (uint64_t)intercepted(s, index);
    if (!a && !b) return 0;
    double spectrum = 0.0;
    if (s->p.arm[0].dispersion_ps != 0.0 || s->p.arm[1].dispersion_ps != 0.0)
        spectrum = sim_spectrum(sim_at(s->spectrum, index));
    outcome alice, bob;
    measure(s, index, &alice, &bob);
    const int got_a = a ? arrive(s, 0, alice, t, spectrum, d) : 0;
    const int got_b = b ? arrive(s, 1, bob, t, spectrum, d) : 0;
    if (got_a < 0 || got_b < 0) return -1;
    s->truth[1] += (uint64_t)(got_a & got_b);
    return 0;
}

static double background_wait(sim_source *s, int side) {
    const double rate = s->p.arm[side].background_hz;
    return rate > 0.0 ? 1e12 / rate * sim_exponential(&s->arm[side].background) : 1e300;
}

/* Unpolarised light of each arm up to `until` (ps from the start), in order with the pairs. */
static int background(sim_source *s, int64_t start_ps, double until, sim_detector *const *d) {
    for (int side = 0; side < 2; side++) {
        arm_streams *arm = &s->arm[side];
        for (; arm->next_background < until; arm->next_background += background_wait(s, side)) {
            const uint64_t bits = sim_next(&arm->background);
            const outcome o = {sim_upper(bits) >= s->p.arm[side].hv_fraction, (int)(bits & 1)};
            if (arrive(s, side, o, start_ps + (int64_t)arm->next_background, 0.0, d) < 0)
                return -1;
        }
    }
    return 0;
}

int64_t sim_source_run(sim_source *s, int64_t start_ps, int64_t end_ps, sim_detector *const *d) {
    const uint64_t before = s->truth[0];
    const double span = (double)(end_ps - start_ps);
    const double mean_ps = s->p.pair_rate_hz > 0.0 ? 1e12 / s->p.pair_rate_hz : 1e300;
    for (int side = 0; side < 2; side++) s->arm[side].next_background = background_wait(s, side);
    for (double t = mean_ps * sim_exponential(&s->emission); t < span;
         t += mean_ps * sim_exponential(&s->emission)) {
        if (background(s, start_ps, t, d) < 0) return -1;
        if (emit(s, start_ps + (int64_t)t, d) < 0) return -1;
        if (s->p.companion_probability <= 0.0 ||
            sim_uniform(&s->emission) >= s->p.companion_probability)
            continue;
        const double late = 0.5 * s->p.coherence_ps * sim_exponential(&s->emission);
        if (emit(s, start_ps + (int64_t)(t + late), d) < 0) return -1;
    }
    if (background(s, start_ps, span, d) < 0) return -1;
    return (int64_t)(s->truth[0] - before);
}

void sim_source_truth(const sim_source *s, uint64_t out[5]) {
    memcpy(out, s->truth, sizeof s->truth);
}
