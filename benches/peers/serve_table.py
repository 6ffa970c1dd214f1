#!/usr/bin/env python3
"""Tables of what serve.sh measured, medians over its rounds. usage: serve_table.py serve.jsonl"""
import json
import statistics
import sys

WORKLOADS = ["w1", "w1m", "w2", "w3"]


def main():
    rounds = {}
    for line in open(sys.argv[1]):
        figure = json.loads(line)
        value = figure.get("us", figure.get("items_per_second"))
        rounds.setdefault((figure["form"], figure["peer"], figure["workload"]), []).append(value)
    medians = {key: statistics.median(values) for key, values in rounds.items()}
    for form, title in [("p50", "single request, p50, µs"), ("batch 256", "batch 256, items/s"), ("batch 4096", "batch 4096, items/s")]:
        print(f"\n| {title} | {' | '.join(WORKLOADS)} |\n| --- |{' --- |' * len(WORKLOADS)}")
        for peer in dict.fromkeys(peer for of_form, peer, _ in medians if of_form == form):
            values = [medians.get((form, peer, workload)) for workload in WORKLOADS]
            digits = "{:,.2f}" if form == "p50" else "{:,.0f}"
            print(f"| {peer} | {' | '.join(digits.format(value) if value else '-' for value in values)} |")


if __name__ == "__main__":
    main()
