/* Pair source, two arms, passive analysers, Eve.
 *
 * Continuous-wave SPDC: pairs leave as a Poisson process; thermal bunching (g2(tau) = 1 +
 * exp(-2 |tau| / tau_c)) is a companion pair with probability r tau_c / 2 within the coherence
 * time. Outcomes: both marginals are 1/2 for a maximally entangled state with symmetric noise, so
 * Alice's letter is a fair coin and Bob's equals hers with probability (1 + <ab>) / 2, where <ab>
 * is the correlation of the rotated state for the two bases (polarization.py). An intercepted pair
 * has Eve's outcome in between.
 *
 * All draws of a pair are functions of (component's key, number of the pair), so a change of one
 * component does not change the draws of the others; a lost photon still has its outcome. */
#include "detector.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    uint64_t loss, analyser;
    sim_rng background;
    double next_background; /* ps from the start of the slice */
} arm_streams;

/* Light is made in batches, each step of it in a loop of its own: most of the time of pair after
 * pair went into mispredicted branches and generators kept in memory. */
enum { BATCH = 256, BACKGROUND = 64, QUEUE = BACKGROUND + BATCH + 1 };

typedef struct {
    double order[BATCH];      /* ps from the start: background before it comes first */
    int64_t emitted_ps[BATCH];
    int n;
} pair_batch;

/* Photons on their way to one diode, in order; the light of a pair names its place in the batch.
 * Background is queued only while a whole batch still fits behind it. */
typedef struct {
    int64_t at_ps[QUEUE];
    uint16_t pair[QUEUE];
    int n;
} photon_queue;

/* Probabilities against half a hash (sim_below), computed once. */
typedef struct {
    uint64_t transmission[2], hv_fraction[2], intercept;
    uint64_t equal[2][2], alice_eve[2][2], eve_bob[2][2]; /* that two outcomes are the same */
} thresholds;

struct sim_source {
    sim_rng emission;
    uint64_t spectrum, eve, pairs;
    arm_streams arm[2];
    sim_source_params p;
    thresholds below;
    uint64_t truth[5];
    pair_batch batch;
    photon_queue queue[8];
    uint8_t detected[BATCH + 1]; /* bit per side; the last place is background's */
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

static void equal_below(uint64_t below[2][2], const double correlation[2][2]) {
    for (int i = 0; i < 2; i++)
        for (int k = 0; k < 2; k++) below[i][k] = sim_below(0.5 * (1.0 + correlation[i][k]));
}

void sim_source_set(sim_source *s, const sim_source_params *p) {
    s->p = *p;
    for (int side = 0; side < 2; side++) {
        s->below.transmission[side] = sim_below(p->arm[side].transmission);
        s->below.hv_fraction[side] = sim_below(p->arm[side].hv_fraction);
    }
    s->below.intercept = sim_below(p->intercept_fraction);
    equal_below(s->below.equal, p->correlation);
    equal_below(s->below.alice_eve, p->alice_eve);
    equal_below(s->below.eve_bob, p->eve_bob);
}

typedef struct {
    int basis; /* 0 HV, 1 DA */
    int bit;   /* 0: H or D, 1: V or A */
} outcome;

/* Hands the queue of one diode over. */
static int deliver(sim_source *s, int place, sim_detector *const *d) {
    photon_queue *q = &s->queue[place];
    const int n = q->n;
    q->n = 0;
    return sim_detector_photons(d[place], q->at_ps, q->pair, n, (uint8_t)(1 + place / 4),
                                s->detected);
}

static int deliver_all(sim_source *s, sim_detector *const *d) {
    for (int place = 0; place < 8; place++)
        if (deliver(s, place, d) < 0) return -1;
    return 0;
}

/* One photon into the queue of its diode, where there is room. `here` 0: none came. */
static void arrive(sim_source *s, int side, outcome mine, int64_t at_ps, int pair, int here) {
    photon_queue *q = &s->queue[4 * side + 2 * mine.basis + mine.bit];
    q->at_ps[q->n] = at_ps + s->p.arm[side].delay_ps; /* no branch: both cases are common */
    q->pair[q->n] = (uint16_t)pair;
    q->n += here;
}

static int intercepted(const sim_source *s, uint64_t index) {
    return sim_at(s->eve, 2 * index) >> 32 < s->below.intercept;
}

/* Both outcomes of a pair, whether or not they are detected. */
static inline void measure(const sim_source *s, uint64_t index, outcome *alice, outcome *bob) {
    const uint64_t mine = sim_at(s->arm[0].analyser, index);
    const uint64_t theirs = sim_at(s->arm[1].analyser, index);
    alice->basis = mine >> 32 >= s->below.hv_fraction[0];
    alice->bit = (int)(mine & 1);
    bob->basis = theirs >> 32 >= s->below.hv_fraction[1];
    if (s->below.intercept == 0 || !intercepted(s, index)) {
        bob->bit = alice->bit ^ ((uint32_t)theirs >= s->below.equal[alice->basis][bob->basis]);
        return;
    }
    const uint64_t hers = sim_at(s->eve, 2 * index + 1);
    const int eve_basis = (int)(hers >> 63);
    const int seen = alice->bit ^ ((uint32_t)hers >= s->below.alice_eve[alice->basis][eve_basis]);
    bob->bit = seen ^ ((uint32_t)theirs >= s->below.eve_bob[eve_basis][bob->basis]);
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
            const outcome o = {bits >> 32 >= s->below.hv_fraction[side], (int)(bits & 1)};
            const int place = 4 * side + 2 * o.basis + o.bit;
            if (s->queue[place].n >= BACKGROUND && deliver(s, place, d) < 0) return -1;
            arrive(s, side, o, start_ps + (int64_t)arm->next_background, BATCH, 1);
        }
    }
    return 0;
}

/* One pair's light, after the background that came before it. */
static int emit(sim_source *s, int pair, uint64_t index, int64_t start_ps, int through,
                sim_detector *const *d) {
    if (background(s, start_ps, s->batch.order[pair], d) < 0) return -1;
    int64_t late[2] = {0, 0};
    if (s->p.arm[0].dispersion_ps != 0.0 || s->p.arm[1].dispersion_ps != 0.0) {
        const double spectrum = sim_spectrum(sim_at(s->spectrum, index));
        for (int k = 0; k < 2; k++) late[k] = llrint(s->p.arm[k].dispersion_ps * spectrum);
    }
    outcome alice, bob;
    measure(s, index, &alice, &bob);
    const int64_t t = s->batch.emitted_ps[pair];
    arrive(s, 0, alice, t + late[0], pair, through & 1);
    arrive(s, 1, bob, t + late[1], pair, through >> 1);
    return 0;
}

/* All pairs of the batch: transmitted photons, their light, detections. */
static int emit_batch(sim_source *s, int64_t start_ps, sim_detector *const *d) {
    uint8_t through[BATCH];
    uint16_t lit[BATCH];
    const int n = s->batch.n;
    const uint64_t first = s->pairs;
    int left = 0, a = 0, b = 0;
    for (int i = 0; i < n; i++) {
        const uint64_t index = first + (uint64_t)i;
        const int one = sim_at(s->arm[0].loss, index) >> 32 < s->below.transmission[0];
        const int two = sim_at(s->arm[1].loss, index) >> 32 < s->below.transmission[1];
        through[i] = (uint8_t)(one | two << 1);
        a += one;
        b += two;
        lit[left] = (uint16_t)i;
        left += one | two;
    }
    if (s->below.intercept > 0)
        for (int i = 0; i < n; i++) s->truth[4] += (uint64_t)intercepted(s, first + (uint64_t)i);
    s->pairs += (uint64_t)n;
    s->batch.n = 0;
    s->truth[0] += (uint64_t)n;
    s->truth[2] += (uint64_t)(n - a);
    s->truth[3] += (uint64_t)(n - b);
    memset(s->detected, 0, sizeof s->detected);
    for (int k = 0; k < left; k++) {
        const int i = lit[k];
        if (emit(s, i, first + (uint64_t)i, start_ps, through[i], d) < 0) return -1;
    }
    if (deliver_all(s, d) < 0) return -1;
    for (int i = 0; i < n; i++) s->truth[1] += s->detected[i] == 3;
    return 0;
}

/* A pair emitted at `t` (ps from the start) whose background is that before `order`. */
static int add_pair(sim_source *s, double order, double t, int64_t start_ps,
                    sim_detector *const *d) {
    if (s->batch.n == BATCH && emit_batch(s, start_ps, d) < 0) return -1;
    s->batch.order[s->batch.n] = order;
    s->batch.emitted_ps[s->batch.n++] = start_ps + (int64_t)t;
    return 0;
}

int64_t sim_source_run(sim_source *s, int64_t start_ps, int64_t end_ps, sim_detector *const *d) {
    const uint64_t before = s->truth[0];
    const double span = (double)(end_ps - start_ps);
    const double mean_ps = s->p.pair_rate_hz > 0.0 ? 1e12 / s->p.pair_rate_hz : 1e300;
    for (int side = 0; side < 2; side++) s->arm[side].next_background = background_wait(s, side);
    for (double t = mean_ps * sim_exponential(&s->emission); t < span;
         t += mean_ps * sim_exponential(&s->emission)) {
        if (add_pair(s, t, t, start_ps, d) < 0) return -1;
        if (s->p.companion_probability <= 0.0 ||
            sim_uniform(&s->emission) >= s->p.companion_probability)
            continue;
        const double late = 0.5 * s->p.coherence_ps * sim_exponential(&s->emission);
        if (add_pair(s, t, t + late, start_ps, d) < 0) return -1;
    }
    if (emit_batch(s, start_ps, d) < 0) return -1;
    if (background(s, start_ps, span, d) < 0 || deliver_all(s, d) < 0) return -1;
    return (int64_t)(s->truth[0] - before);
}

void sim_source_truth(const sim_source *s, uint64_t out[5]) {
    memcpy(out, s->truth, sizeof s->truth);
}
