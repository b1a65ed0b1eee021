"""The figures of a replay are medians beside their aims, and say no better than was measured."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import figures
import pytest
from client import Answers
from load import Load
from rounds import Round, parsed


def answers(rate: float, p99: float = 0.002) -> Answers:
    return Answers(seconds=1.0, requests=int(rate), size=10**6, client=0.4, p50=0.001, p99=p99, worst=0.1, resumed=0)


def one(rate: float, start: float | None = None) -> Round:
    fast = answers(rate)
    curl, large = Load(1.0, int(rate), 10**6, 0.4), Load(1.0, 4, 10**9, 0.5)
    return Round(
        start, fast, fast, curl, fast, rate / 1e4, 0.2, rate / 2, fast, fast, fast, large, 0.5, 80.0, 70.0, rate / 1e5
    )


ROUNDS = {"hermit": [one(1500, 0.2), one(100, 0.4), one(3000, 0.3)], "nginx": [one(2000)], "mitmproxy": [one(100, 1.0)]}
HUGE = figures.Huge({"hermit": Load(2.0, 1, 2 << 30, 0.5), "nginx": Load(1.0, 1, 2 << 30, 0.5)}, resident=95.0)


def row(what: str) -> list[str]:
    (line,) = (line for line in figures.table(ROUNDS, HUGE).splitlines() if line.startswith(f"| {what} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_figure_is_the_median_of_the_rounds_that_have_one() -> None:
    assert figures.START.medians(ROUNDS) == {"hermit": 0.3, "mitmproxy": 1.0}
    assert figures.AGAIN.medians(ROUNDS) == {"hermit": 1500, "nginx": 2000, "mitmproxy": 100}


@pytest.mark.parametrize(
    ("aim", "reached"),
    [
        (figures.Aim(15, "mitmproxy", at_least=True), True),
        (figures.Aim(15.1, "mitmproxy", at_least=True), False),
        (figures.Aim(0.75, "nginx"), True),
        (figures.Aim(0.74, "nginx"), False),
        (figures.Aim(1500), True),
        (figures.Aim(1499), False),
    ],
)
def test_an_aim_is_a_bound_on_the_figure_or_on_its_ratio(aim: figures.Aim, reached: bool) -> None:
    assert aim.reached({"hermit": 1500, "nginx": 2000, "mitmproxy": 100}) is reached


def test_a_row_has_the_figures_the_ratios_and_whether_the_aim_is_reached() -> None:
    rates = ["1,500 /s", "2,000 /s", "100 /s", "0.75", "15.00"]
    assert row(figures.AGAIN.what)[1:] == [*rates, "at least 15 of mitmproxy", "yes"]
    assert row(figures.START.what)[1:] == ["0.30 s", "", "1.00 s", "", "0.30", "at most 0.25 s", "no"]
    assert row("most memory with one body of 2,048 MiB")[1::5] == ["95 MB", "at most 90 MB"]


def test_every_row_has_as_many_cells_as_the_head() -> None:
    for table in (figures.table(ROUNDS, HUGE), figures.clients(ROUNDS)):
        assert len({line.count("|") for line in table.splitlines()}) == 1


def test_the_processor_time_is_that_of_a_thousand_requests() -> None:
    assert figures.PROCESSOR.medians({**ROUNDS, "hermit": [replace(one(2000), processor=0.5)]})["hermit"] == 0.25


def test_of_each_contender_the_turns_are_told_in_which_others_took_least() -> None:
    noise = {"hermit": [0.0, 0.2, 0.1, 0.9, 0.3], "nginx": [0.9, 0.0], "mitmproxy": [0.1]}
    rounds = {
        name: [replace(one(number), others=share) for number, share in enumerate(shares, 1)]
        for name, shares in noise.items()
    }
    told = {name: [each.closed.requests for each in kind] for name, kind in figures.quieter(rounds).items()}
    assert told == {"hermit": [1, 2, 3], "nginx": [2], "mitmproxy": [1]}


def test_what_others_took_is_told_with_the_worst() -> None:
    told = "hermit 2% (at worst 3%), nginx 2% (at worst 2%), mitmproxy 0% (at worst 0%)"
    assert figures.others(ROUNDS) == told


def test_a_round_is_read_back_as_it_was_written() -> None:
    assert parsed(json.loads(json.dumps(asdict(one(100, 0.2))))) == one(100, 0.2)


def test_the_picture_has_a_panel_for_every_aim() -> None:
    aimed = [figure.what for figure in figures.FIGURES if figure.aim]
    picture = figures.picture(ROUNDS)
    assert [what for what in aimed if what not in picture] == ["the same, TLS session resumed"]
