/* Random streams of the bench: one xoshiro256++ (Blackman & Vigna, 2019) per component, seeded
 * through splitmix64. Not for secrets: emulated randomness is meant to be repeatable. */
#ifndef PHOTONLINK_SIM_RNG_H
#define PHOTONLINK_SIM_RNG_H
#include <math.h>
#include <stdint.h>

typedef struct {
    uint64_t s[4];
    double spare; /* second normal of a pair; NAN: none */
} sim_rng;

static inline uint64_t sim_splitmix(uint64_t *state) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static inline void sim_rng_seed(sim_rng *r, uint64_t seed) {
    for (int i = 0; i < 4; i++) r->s[i] = sim_splitmix(&seed);
    r->spare = NAN;
}

static inline uint64_t sim_rotl(uint64_t x, int k) { return (x << k) | (x >> (64 - k)); }

static inline uint64_t sim_next(sim_rng *r) {
    uint64_t *s = r->s;
    const uint64_t result = sim_rotl(s[0] + s[3], 23) + s[0], t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = sim_rotl(s[3], 45);
    return result;
}

/* [0, 1), 53 bits */
static inline double sim_uniform(sim_rng *r) { return (double)(sim_next(r) >> 11) * 0x1p-53; }

/* (0, 1]: never a zero under a logarithm */
static inline double sim_uniform_positive(sim_rng *r) {
    return (double)((sim_next(r) >> 11) + 1) * 0x1p-53;
}

/* mean 1 */
static inline double sim_exponential(sim_rng *r) { return -log(sim_uniform_positive(r)); }

/* mean 0, s.d. 1: Marsaglia's polar method, two at a time */
static inline double sim_normal(sim_rng *r) {
    const double spare = r->spare;
    if (!isnan(spare)) {
        r->spare = NAN;
        return spare;
    }
    for (;;) {
        const double x = 2.0 * sim_uniform(r) - 1.0, y = 2.0 * sim_uniform(r) - 1.0;
        const double q = x * x + y * y;
        if (q >= 1.0 || q == 0.0) continue;
        const double scale = sqrt(-2.0 * log(q) / q);
        r->spare = y * scale;
        return x * scale;
    }
}

/* A pure function of (key, counter): the counter-th output of splitmix64 started at key. So the
 * draws of pair number n do not depend on the draws of earlier pairs. */
static inline uint64_t sim_at(uint64_t key, uint64_t counter) {
    uint64_t state = key + counter * 0x9e3779b97f4a7c15u;
    return sim_splitmix(&state);
}

/* Half a hash, as an integer, is below this with the given probability. */
static inline uint64_t sim_below(double probability) {
    if (!(probability > 0.0)) return 0;
    return probability >= 1.0 ? (uint64_t)1 << 32 : (uint64_t)ceil(probability * 0x1p32);
}

/* A photon's place in the pairs' spectrum, s.d. 1: the sum of four uniforms, bell-shaped and bounded
 * (3.5 s.d.) as a filtered spectrum is, without a logarithm per pair. */
static inline double sim_spectrum(uint64_t bits) {
    const uint64_t sum = (bits & 0xffff) + (bits >> 16 & 0xffff) + (bits >> 32 & 0xffff) +
                         (bits >> 48);
    return ((double)sum * 0x1p-16 - 2.0) * 1.7320508075688772;
}
#endif
