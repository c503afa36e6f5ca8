/* Declarations of the bench's event engine, read both by the C compiler and by cffi: only
 * plain declarations here, no preprocessor. Times are int64 picoseconds of bench time unless said
 * otherwise. Detectors of a side are numbered H, V, D, A = 0, 1, 2, 3. */

/* ---- detectors ---------------------------------------------------------------------------- */
typedef struct sim_detector sim_detector;

typedef struct {
    double efficiency;      /* of a photon that reaches this diode */
    double dark_hz;         /* Poisson */
    double dead_ps;         /* non-paralysable hold-off after a click */
    double jitter_ps;       /* s.d. of the Gaussian */
    double tail_fraction;   /* clicks that also get an exponential tail (EMG) */
    double tail_ps;         /* its mean */
    double trap_amplitude[4]; /* expected releases per click of each kind of trap */
    double trap_tau_ps[4];    /* its lifetime */
    int64_t delay_ps;       /* cable from the diode to the tagger */
    double recovery_ps;     /* after the dead time the efficiency returns as 1 - exp(-t / this) */
    /* Bright light. Energies in photons at this diode, powers in photons per second. */
    double blinding_hz;     /* at this power the bias is gone: linear mode; 0: never */
    double bias_tau_ps;     /* time in which the bias forgets a pulse */
    double bright_hz;       /* continuous light that falls on it now */
    double never_photons;   /* in linear mode a pulse up to here never clicks */
    double always_photons;  /* and from here on always does */
    double walk_ps;         /* earlier per tenfold energy */
} sim_detector_params;

/* NULL without memory. */
sim_detector *sim_detector_new(uint64_t seed);
void sim_detector_free(sim_detector *d);
void sim_detector_set(sim_detector *d, const sim_detector_params *p);
/* Bright pulses of `photons` each at n times, in any order, not before the last horizon: merged
 * with what waits. 0, or -1 without memory. */
int64_t sim_detector_pulses(sim_detector *d, const int64_t *at_ps, const double *photons,
                            int64_t n);
/* Candidates before horizon_ps become clicks (efficiency was applied on arrival): dark counts
 * from the last horizon on, jitter, order, dead time, afterpulses. Returns the clicks of this
 * call, in order, valid until the next; -1 without memory. */
int64_t sim_detector_run(sim_detector *d, int64_t horizon_ps);
const int64_t *sim_detector_clicks(const sim_detector *d);
/* Drops everything before horizon_ps: the bench could not keep up. */
void sim_detector_skip(sim_detector *d, int64_t horizon_ps);
/* truth: photons detected, dark counts, afterpulses, lost to dead time, clicks, clicks of bright
 * pulses, lost because the bias was down or not yet back */
void sim_detector_truth(const sim_detector *d, uint64_t out[7]);

/* ---- source and arms ---------------------------------------------------------------------- */
typedef struct sim_source sim_source;

typedef struct {
    double transmission;     /* of the arm, without the detectors */
    double hv_fraction;      /* share of photons the passive splitter sends to the HV analyser */
    int64_t delay_ps;        /* fibre */
    double dispersion_ps;    /* delay per s.d. of the photon's spectrum; signs differ by arm */
    double background_hz;    /* unpolarised photons at the receiver's input */
} sim_arm_params;

typedef struct {
    double pair_rate_hz;
    double companion_probability; /* thermal bunching: chance that a pair brings another */
    double coherence_ps;
    sim_arm_params arm[2];
    /* <a b> when Alice measures in basis i and Bob in basis j (0 HV, 1 DA) */
    double correlation[2][2];
    /* intercept and resend in Bob's arm */
    double intercept_fraction;
    double alice_eve[2][2];
    double eve_bob[2][2];
} sim_source_params;

/* seeds: emission, spectrum, Eve, then loss, analyser and background of Alice and of Bob. */
sim_source *sim_source_new(const uint64_t seeds[9]);
void sim_source_free(sim_source *s);
void sim_source_set(sim_source *s, const sim_source_params *p);
/* Emits the pairs of [start_ps, end_ps) and hands the photons to eight detectors (Alice's four,
 * then Bob's). Returns the number of pairs, -1 without memory. */
int64_t sim_source_run(sim_source *s, int64_t start_ps, int64_t end_ps, sim_detector *const *d);
/* truth: pairs, pairs with both photons detected, photons lost in Alice's arm, in Bob's,
 * pairs intercepted */
void sim_source_truth(const sim_source *s, uint64_t out[5]);

/* ---- taggers ------------------------------------------------------------------------------ */
typedef struct sim_tagger sim_tagger;

typedef struct {
    double resolution_ps;
    double dead_ps;          /* per input */
    double jitter_ps;        /* s.d. */
    int64_t start_ps;        /* bench time before which nothing is recorded */
    uint8_t input[4];        /* input of detector H, V, D, A; 255: not connected or closed */
} sim_tagger_params;

sim_tagger *sim_tagger_new(uint64_t seed);
void sim_tagger_free(sim_tagger *t);
void sim_tagger_set(sim_tagger *t, const sim_tagger_params *p);
/* Forgets the order and the dead time of an earlier acquisition. */
void sim_tagger_restart(sim_tagger *t);
/* Writes the last clicks of four detectors as tags, in this tagger's clock, which at bench time
 * `origin_ps` shows own_ps + own_fraction and runs (1 + rate) times as fast. Tags before its own
 * zero are dropped. Room for `capacity` tags; returns how many were written, -1 without memory. */
int64_t sim_tagger_run(sim_tagger *t, sim_detector *const *d, int64_t origin_ps, int64_t own_ps,
                       double own_fraction, double rate, int64_t *time_ps, uint8_t *channel,
                       int64_t capacity);
/* Own time before which no later tag will be: the last horizon, rounded down as a tag is. */
int64_t sim_tagger_horizon(const sim_tagger *t);
