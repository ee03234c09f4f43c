#!/usr/bin/env python3
"""The broker beside RabbitMQ: what goes through in a second, what it costs, how late messages are, and what they weigh.

    broker.py target/release/weir
    broker.py target/release/weir --only flow,latency --rounds 1 --messages 100000

Messages are persistent and 128 bytes long. Weir runs with an append-only file that is forced to disk every second; what is
confirmed is on disk first. RabbitMQ runs as its package sets it up, with durable queues of its default type, classic, which
confirms what it has written but not forced to disk; its quorum queues do force it, and so stand beside Weir's confirmations too. `rabbitmq.sh` brings
it here. The load is `benches/broker_load`, built by this script: one process, a thread for each direction of each
connection, clients of both protocols that do no more than they must.

Rounds are interleaved: for each scenario every broker has its turn with a fresh server and fresh data, then all again.
Figures are medians of rounds, and the ratio is that of a round, median again. Brokers may use all processors, as may the
load; processor time is that of the broker's process with all its threads.
"""

import argparse
import os
import statistics
from measured_server import Failed, Foreign, Server, build_load, figures_of, print_table, run, run_script

RUN_SECONDS_MAX = 900
SCRIPT = "rabbitmq.sh"
SIZE = 128
PERSISTED = ["--appendonly", "yes", "--appendfsync", "everysec"]
WEIR, RABBIT, QUORUM = "Weir", "RabbitMQ", "RabbitMQ, quorum"

# What is sent through, for one that takes 35,000 a second; more for Weir, so that it takes as long about.
MORE_FOR_WEIR = 5


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weir", help="the server's program, with options of its own if need be")
    parser.add_argument("--only", default="flow,confirm,fanout,topic,latency,delay,memory,queues", help="which scenarios")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--messages", type=int, default=200_000, help=f"for RabbitMQ; Weir has {MORE_FOR_WEIR} times as many")
    parser.add_argument("--bindings", type=int, default=100_000)
    parser.add_argument("--delayed", type=int, default=1_000_000, help="messages with a delay, for Weir; RabbitMQ has a tenth")
    parser.add_argument("--queues", type=int, default=1_000_000, help="for Weir; RabbitMQ has a two-hundredth")
    parser.add_argument("--without-rabbitmq", action="store_true", help="Weir alone")
    options = parser.parse_args()
    load = build_load("weir-broker-load", "broker_load")
    if not options.without_rabbitmq:
        version = run_script(SCRIPT, "get")
        if version.returncode != 0:
            raise Failed(version.stderr.strip())
        print(f"beside {version.stdout.strip()}")
    bench = Bench(load, options)
    for name in options.only.split(","):
        scenario = SCENARIOS.get(name)
        if scenario is None:
            raise Failed(f"there is no scenario '{name}', only {', '.join(SCENARIOS)}")
        scenario(bench, options)


class Bench:
    """Runs scenarios."""

    def __init__(self, load, options):
        self.load = load
        self.weir = options.weir
        self.rounds = options.rounds
        self.is_alone = options.without_rabbitmq

    def rounds_of(self, runs):
        """`runs`: a list of (column, scenario, options). Figures of all rounds: a dictionary of lists for each column."""
        figures = {column: {} for column, _, _ in runs if self.has(column)}
        for _ in range(self.rounds):
            for column, scenario, words in runs:
                if self.has(column):
                    for name, value in self.once(column, scenario, words).items():
                        figures[column].setdefault(name, []).append(value)
        return figures

    def has(self, column):
        return column.startswith(WEIR) or not self.is_alone

    def once(self, column, scenario, words):
        is_weir = column.startswith(WEIR)
        with Server(WEIR, self.weir, options=PERSISTED) if is_weir else Foreign(RABBIT, SCRIPT) as server:
            command = [self.load, scenario, "weir" if is_weir else "rabbitmq", str(server.port)]
            command += [f"{name.replace('_', '-')}={value}" for name, value in words.items()]
            rss, spent, children = server.rss_bytes(), server.processor_ns(), os.times()
            figures = figures_of(command, RUN_SECONDS_MAX)
            spent = server.processor_ns() - spent
            after = os.times()
            things = words.get("messages" if scenario != "queues" else "queues")
            figures["processor-us"] = spent / 1000 / things
            load = after.children_user + after.children_system - children.children_user - children.children_system
            figures["load-us"] = load * 1e6 / things
            figures["bytes"] = (server.rss_bytes() - rss) / things
            if is_weir and scenario == "fill":
                with server.connect() as connection:
                    figures["usage"] = connection.call("MEMORY", "USAGE", "fill", "SAMPLES", "0") / things
            return figures


def median(values):
    return statistics.median(values)


def ratio(figures, name, first, second):
    """Of `first` to `second`, round by round."""
    if first not in figures or second not in figures:
        return ""
    pairs = zip(figures[first][name], figures[second][name])
    return f"{median(own / max(other, 1e-9) for own, other in pairs):.2f}"


def show_rates(title, figures, goals):
    """Rates and processor time of columns, and the first one's ratio to each of RabbitMQ's."""
    rows = []
    others = [column for column in figures if not column.startswith(WEIR)]
    for column, values in figures.items():
        ratios = [ratio(figures, "rate", column, other) if column.startswith(WEIR) else "" for other in others]
        goal = goals.get(column)
        met = "" if goal is None else f"{goal:,}: {'met' if median(values['rate']) >= goal else 'missed'}"
        row = [column, f"{median(values['rate']):,.0f}", f"{median(values['processor-us']):.2f}"]
        rows.append([*row, f"{median(values['load-us']):.2f}", *ratios, met])
    print_table(title, ["", "a second", "broker, us", "load, us", *(f"to {other}" for other in others), "goal"], rows)


def flow(bench, options):
    """One queue, one publisher, one consumer; nothing confirmed but by replies."""
    few, many = {"messages": options.messages}, {"messages": options.messages * MORE_FOR_WEIR}
    weir = {**many, "outstanding": 10_000}
    runs = [(f"{WEIR}, push", "flow", weir), (f"{WEIR}, get", "flow", {**weir, "consume": "get"}), (RABBIT, "flow", few)]
    title = "One queue, one publisher, one consumer: messages published, delivered and acknowledged"
    show_rates(title, bench.rounds_of(runs), {f"{WEIR}, push": 300_000, f"{WEIR}, get": 300_000})


def confirm(bench, options):
    """The same, every message confirmed and at most 1,000 of them not yet."""
    few = {"messages": options.messages, "confirm": "disk", "outstanding": 1000}
    many = {**few, "messages": options.messages * MORE_FOR_WEIR}
    runs = [(WEIR, "flow", many), (RABBIT, "flow", few), (QUORUM, "flow", {**few, "queue": "quorum"})]
    show_rates("The same with confirmations, 1,000 outstanding", bench.rounds_of(runs), {WEIR: 100_000})


def fanout(bench, options):
    """One publisher, ten queues, one consumer of all of them. A message is one delivery here."""
    few = {"messages": options.messages // 10, "queues": 10}
    runs = [(WEIR, "fanout", {**few, "messages": few["messages"] * MORE_FOR_WEIR, "outstanding": 10_000}), (RABBIT, "fanout", few)]
    show_rates("Fan-out to 10 queues: deliveries (processor time for each message published)", bench.rounds_of(runs), {})


def topic(bench, options):
    """Routing by a topic exchange with many bindings, into a hundred queues."""
    few = {"messages": options.messages, "bindings": options.bindings, "outstanding": 10_000}
    many = {**few, "messages": options.messages * MORE_FOR_WEIR}
    figures = bench.rounds_of([(WEIR, "topic", many), (RABBIT, "topic", {**few, "confirm": "disk"})])
    title = f"Topic exchange with {options.bindings:,} bindings: messages routed (processor time with that of making the bindings)"
    show_rates(title, figures, {WEIR: 200_000})
    rows = [[column, f"{median(values['bindings-a-second']):,.0f}"] for column, values in figures.items()]
    print_table("", ["", "bindings made a second"], rows)


def latency(bench, options):
    """One message at a time: from sending it to having it."""
    words = {"messages": max(options.messages // 10, 1000), "ack_every": 1}
    figures = bench.rounds_of([(WEIR, "latency", words), (RABBIT, "latency", words)])
    rows = []
    for column, values in figures.items():
        p99 = median(values["p99-us"])
        goal = f"p99 300: {'met' if p99 <= 300 else 'missed'}" if column == WEIR else ""
        rows.append([column, *(f"{median(values[name]):,.1f}" for name in ("p50-us", "p99-us", "p99.9-us")), goal])
    print_table("One message at a time, pushed: microseconds from sending to having it", ["", "p50", "p99", "p99.9", "goal"], rows)


def delay(bench, options):
    """Messages that fall due one after the other; of RabbitMQ, by its own queues, all with the same delay."""
    weir = {"messages": options.delayed, "delay_ms": options.delayed // 100 + 2000, "span_ms": options.delayed // 50, "outstanding": 10_000}
    rabbit = {"messages": options.delayed // 10, "delay_ms": 5000, "pace": 10_000}
    figures = bench.rounds_of([(WEIR, "delay", weir), (RABBIT, "delay", rabbit)])
    rows = []
    for column, values in figures.items():
        p99 = median(values["late-p99-us"])
        rate = f"{median(values['rate']):,.0f}" if column == WEIR else "at a pace"
        goal = f"200,000; p99 5: {'met' if median(values['rate']) >= 200_000 and p99 <= 5000 else 'missed'}" if column == WEIR else ""
        late = [f"{median(values[name]) / 1000:,.2f}" for name in ("late-p50-us", "late-p99-us", "late-max-us")]
        rows.append([column, rate, f"{median(values['early']):.0f}", *late, goal])
    title = f"Delayed messages, {options.delayed:,}: put in a second, and how late they come, in milliseconds"
    print_table(title, ["", "a second", "early", "p50", "p99", "latest", "goal"], rows)


def memory(bench, options):
    """Bytes of memory for each message that waits, besides its body."""
    ready = {"messages": options.delayed, "delay_ms": 0, "outstanding": 10_000}
    delayed = {**ready, "delay_ms": 3_600_000, "span_ms": 3_600_000}
    runs = [(f"{WEIR}, ready", "fill", ready), (f"{WEIR}, delayed", "fill", delayed), (f"{RABBIT}, ready", "fill", ready)]
    rows = []
    for column, values in bench.rounds_of(runs).items():
        usage = f"{median(values['usage']) - SIZE:,.0f}" if "usage" in values else ""
        goal = ""
        if column == f"{WEIR}, delayed":
            goal = f"200: {'met' if median(values['usage']) - SIZE <= 200 else 'missed'}"
        rows.append([column, f"{median(values['rate']):,.0f}", f"{median(values['bytes']) - SIZE:,.0f}", usage, goal])
    title = f"{options.delayed:,} messages that wait: bytes each besides the body"
    print_table(title, ["", "a second", "by the process", "by MEMORY USAGE", "goal"], rows)


def queues(bench, options):
    """Queues without messages."""
    runs = [(WEIR, "queues", {"queues": options.queues}), (RABBIT, "queues", {"queues": max(options.queues // 200, 1)})]
    rows = []
    for column, values in bench.rounds_of(runs).items():
        rows.append([column, f"{median(values['rate']):,.0f}", f"{median(values['bytes']):,.0f}"])
    print_table("Queues: declared a second, bytes each", ["", "a second", "bytes"], rows)


SCENARIOS = {each.__name__: each for each in (flow, confirm, fanout, topic, latency, delay, memory, queues)}


run(main)
