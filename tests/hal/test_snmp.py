"""SNMP: bytes of a published exchange, random bytes, datagrams lost and late."""

from __future__ import annotations

import random

import pytest

from photonlink.hal.codecs import snmp

GET = bytes.fromhex(
    "302602010104067075626c6963a019020101020100020100300e300c06082b060102010101000500"
)
"""snmpget of sysDescr.0 with community public and request number 1 (layout: RFC 3416, X.690)."""


def test_a_request_byte_by_byte() -> None:
    assert snmp.request("public", 1, ["1.3.6.1.2.1.1.1.0"]) == GET


@pytest.mark.parametrize("oid", ["1.3.6.1.4.1.96.100.7.5.1.10.1", "2.100.3", "1.3.128.16384.1"])
def test_identifiers_come_back(oid: str) -> None:
    assert snmp.oid_text(snmp.oid_bytes(oid)) == oid


@pytest.mark.parametrize("value", [0, 1, -1, 127, 128, -128, -129, 2**31 - 1, -(2**31)])
def test_integers_come_back(value: int) -> None:
    ((tag, content),) = snmp.elements(snmp.integer(value))
    assert snmp._value(tag, content) == value


def test_no_bytes_do_harm() -> None:
    rng = random.Random(5)
    for _ in range(3000):
        data = bytearray(GET)
        for _ in range(rng.randrange(1, 6)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        for text in (bytes(data), rng.randbytes(rng.randrange(0, 40))):
            with pytest.raises(ValueError, match=r"."):
                snmp.response(text)
