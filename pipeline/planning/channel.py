"""Channel models: transmitted light, and background light.

Losses in dB, lengths in km, powers in W, rates in photons per second.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

LIGHT_M_PER_S = 299_792_458.0
PLANCK_J_S = 6.626_070_15e-34
EARTH_RADIUS_M = 6_371_000.0
# dB/km of standard fibre (G.652); ultra-low-loss fibre reaches 0.16 to 0.17 in the C band
ATTENUATION_DB_PER_KM = {"C": 0.20, "O": 0.33}

# SatQuMA's published table, a 500 km pass through the zenith: seconds from zenith, loss in dB
# including the system's own
ZENITH_PASS_DB = (
    (0.0, 27.0), (40.0, 28.3), (80.0, 30.9), (120.0, 33.3), (160.0, 35.4), (200.0, 37.1),
    (240.0, 38.6), (320.0, 41.0),
)  # fmt: skip


def fibre_loss_db(length_km: float, db_per_km: float, connectors_db: float) -> float:
    return length_km * db_per_km + connectors_db


@dataclass(frozen=True, slots=True)
class Raman:
    """Spontaneous Raman light of data channels in the same fibre.

    launch_w: power of the data at its own end; rho_per_km_nm: fraction scattered per km of fibre
    and nm of filter; 1e-9 to 4e-9 from 1550 nm within the C band, two to three orders less from C
    to O (from memory, unverified). Forms of Eraerds et al. 2010 and Patel et al. 2012 (from
    memory), both wavelengths attenuated alike.
    """

    launch_w: float
    rho_per_km_nm: float
    filter_nm: float
    wavelength_nm: float

    def power_w(self, length_km: float, db_per_km: float, *, counter: bool) -> float:
        """At the receiver's input. Co-propagating: P rho dl L e^-aL; counter-propagating:
        P rho dl (1 - e^-2aL) / 2a, with a = 0.23 dB_per_km."""
        a = math.log(10) / 10 * db_per_km
        scattered = self.launch_w * self.rho_per_km_nm * self.filter_nm
        if not counter:
            return scattered * length_km * math.exp(-a * length_km)
        if a == 0.0:
            return scattered * length_km
        return scattered * -math.expm1(-2 * a * length_km) / (2 * a)

    def photons_per_s(self, length_km: float, db_per_km: float, *, counter: bool) -> float:
        photon_j = PLANCK_J_S * LIGHT_M_PER_S / (self.wavelength_nm * 1e-9)
        return self.power_w(length_km, db_per_km, counter=counter) / photon_j


def table_loss_db(seconds: float) -> float:
    """Loss at this time from zenith, between the rows of the table; beyond it: its last row."""
    at = abs(seconds)
    rows = ZENITH_PASS_DB
    for (t0, db0), (t1, db1) in itertools.pairwise(rows):
        if at <= t1:
            return db0 + (db1 - db0) * (at - t0) / (t1 - t0)
    return rows[-1][1]


@dataclass(frozen=True, slots=True)
class SatelliteGeometry:
    """A satellite seen at an elevation: slant range, diffraction, air, pointing.

    eta = [1 - exp(-2 a^2 / w^2)] eta_zenith^(1 / sin e) eta_pointing, w: beam radius at the
    receiver, a: telescope radius.
    """

    altitude_m: float
    divergence_rad: float  # half angle at 1/e^2 intensity
    telescope_radius_m: float
    zenith_transmission: float
    pointing_transmission: float

    def range_m(self, elevation_rad: float) -> float:
        """d = sqrt((R sin e)^2 + 2 R h + h^2) - R sin e."""
        r, h = EARTH_RADIUS_M, self.altitude_m
        up = r * math.sin(elevation_rad)
        return math.sqrt(up * up + 2 * r * h + h * h) - up

    def loss_db(self, elevation_rad: float) -> float:
        w = self.divergence_rad * self.range_m(elevation_rad)
        caught = -math.expm1(-2 * (self.telescope_radius_m / w) ** 2)
        air = self.zenith_transmission ** (1 / math.sin(elevation_rad))
        return -10 * math.log10(caught * air * self.pointing_transmission)

    def elevation_rad(self, seconds: float) -> float:
        """Elevation this long from zenith, on a circular orbit through it over a still Earth."""
        mu_earth = 3.986_004_418e14
        radius = EARTH_RADIUS_M + self.altitude_m
        angle = math.sqrt(mu_earth / radius**3) * abs(seconds)
        return math.atan2(math.cos(angle) - EARTH_RADIUS_M / radius, math.sin(angle))
