#!/usr/bin/python3
"""Writes the table of powers of ten that src/base/num.c computes with.

For k in [-348, 347]: the upper 128 bits of 10^k, rounded down, with the highest bit set. Python's integers are exact,
so the table is made from the definition instead of being copied from anywhere.
"""
import sys

FIRST, LAST = -348, 347


def upper_128_bits(k):
    if k >= 0:
        power = 10 ** k
        shift = power.bit_length() - 128
        return power >> shift if shift >= 0 else power << -shift
    power = 10 ** -k
    shift = power.bit_length() + 127
    quotient = (1 << shift) // power
    return quotient >> (quotient.bit_length() - 128)


def main():
    with open(sys.argv[1], "w") as out:
        out.write("/* Made by tools/make_powers.py. */\n")
        out.write(f"enum {{ POWER_FIRST = {FIRST}, POWER_LAST = {LAST} }};\n")
        out.write("static const struct {\n    uint64_t high, low;\n} powers_of_ten[] = {\n")
        for k in range(FIRST, LAST + 1):
            v = upper_128_bits(k)
            assert v >> 127 == 1
            out.write(f"    {{0x{v >> 64:016x}u, 0x{v & (1 << 64) - 1:016x}u}}, /* 1e{k} */\n")
        out.write("};\n")


main()
