/* Effects of bright light on a diode.
 *
 * Blinding (Lydersen et al., Nature Photonics 4, 686 (2010)): photocurrent through the bias circuit
 * lowers the voltage on the diode below breakdown. It then is a linear photodiode: single photons
 * and dark counts are gone, and a pulse clicks if and only if its current crosses the comparator,
 * never below one energy and always above another. Pulses do the same as continuous light while
 * the circuit remembers them (Lydersen et al., Opt. Express 18, 27938 (2010)); here one first-order
 * low pass of time constant bias_tau stands for the bias circuit, and the efficiency falls linearly
 * with the filtered power: shapes, not data of one device. In Geiger mode a pulse of n photons
 * starts an avalanche with probability 1 - (1 - eta)^n. A brighter pulse clicks earlier, by a
 * constant per tenfold energy (arXiv:2603.07538 saw more than 2 ns over 50 dB). */
#include "detector.h"

#include <stdlib.h>
#include <string.h>

static int by_click(const void *a, const void *b) {
    const int64_t x = ((const sim_pulse *)a)->click_ps, y = ((const sim_pulse *)b)->click_ps;
    return (x > y) - (x < y);
}

int64_t sim_detector_pulses(sim_detector *d, const int64_t *at_ps, const double *photons,
                            int64_t n) {
    if (n <= 0) return 0;
    const size_t room = d->pulses.n + (size_t)n;
    if (room > d->pulses.capacity) {
        sim_pulse *grown = realloc(d->pulses.at, room * sizeof *grown);
        if (!grown) return -1;
        d->pulses.at = grown;
        d->pulses.capacity = room;
    }
    for (int64_t i = 0; i < n; i++) {
        if (!(photons[i] > 0.0)) continue;
        const double early = photons[i] > 1.0 ? d->p.walk_ps * log10(photons[i]) : 0.0;
        const double j = sim_bounded(sim_detector_jitter(&d->p, &d->rng) - early);
        const int64_t light = at_ps[i] + d->p.delay_ps;
        d->pulses.at[d->pulses.n++] = (sim_pulse){light + llrint(j), light, photons[i]};
    }
    qsort(d->pulses.at, d->pulses.n, sizeof *d->pulses.at, by_click);
    return 0;
}

/* The share of the efficiency that is left at t: 0 in linear mode. */
double sim_detector_bias(sim_detector *d, int64_t t) {
    double power = d->p.bright_hz;
    if (d->excess_hz > 0.0) {
        const double since = (double)(t - d->excess_ps);
        if (since > 0.0 && d->p.bias_tau_ps > 0.0) {
            d->excess_hz *= exp(-since / d->p.bias_tau_ps);
            d->excess_ps = t;
            if (d->excess_hz < 1e-6 * d->p.blinding_hz) d->excess_hz = 0.0;
        }
        power += d->excess_hz;
    }
    return power >= d->p.blinding_hz ? 0.0 : 1.0 - power / d->p.blinding_hz;
}

/* 1 when this pulse clicks. Its light lowers the bias afterwards, whether it clicked or not. */
int sim_detector_pulse_clicks(sim_detector *d, const sim_pulse *pulse) {
    const int64_t t = pulse->click_ps;
    const double bias = d->p.blinding_hz > 0.0 ? sim_detector_bias(d, t) : 1.0;
    double chance;
    if (bias <= 0.0) {
        const double span = d->p.always_photons - d->p.never_photons;
        const double over = pulse->photons - d->p.never_photons;
        chance = over <= 0.0 ? 0.0 : span > 0.0 ? over / span : 1.0;
    } else {
        double efficiency = d->p.efficiency * bias;
        if (d->p.recovery_ps > 0.0)
            efficiency *= -expm1(-(double)(t - d->alive_ps) / d->p.recovery_ps);
        chance = efficiency < 1.0 ? -expm1(pulse->photons * log1p(-efficiency)) : 1.0;
    }
    if (d->p.blinding_hz > 0.0 && d->p.bias_tau_ps > 0.0) {
        d->excess_hz += pulse->photons / d->p.bias_tau_ps * 1e12;
        d->excess_ps = t;
    }
    if (t < d->alive_ps) {
        d->truth[3]++;
        return 0;
    }
    return chance >= 1.0 || (chance > 0.0 && sim_uniform(&d->rng) < chance);
}
