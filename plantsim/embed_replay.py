#!/usr/bin/python3
"""embed_replay.py - turns the recorded machine temperature (CSV of timestamp, degrees Fahrenheit) into a C table in Celsius.

usage: embed_replay.py INPUT.csv OUTPUT.h      Run by Meson, so that plantsim needs no file beside it.
"""
import csv
import sys


def main():
    source, target = sys.argv[1:3]
    with open(source, newline="", encoding="utf-8") as lines:
        celsius = [(float(row["value"]) - 32) / 1.8 for row in csv.DictReader(lines)]
    with open(target, "w", encoding="utf-8") as out:
        out.write("/* Made by embed_replay.py; one value each recorded 5 minutes, in degrees Celsius.\n"
                  " * Data: Numenta Anomaly Benchmark, MIT licence, see plantsim/data/. */\n"
                  f"static const float replay_celsius[{len(celsius)}] = {{\n")
        out.writelines(f"    {value:.5f}f,\n" for value in celsius)
        out.write("};\n")


if __name__ == "__main__":
    main()
