"""A plot is well-formed, keeps proportions, and says every word that it was given."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import plot

_SVG = "{http://www.w3.org/2000/svg}"
_PANEL = plot.Panel("small & <fast>", "more is better", [("Hermit", 30.0, "30 /s"), ("nginx", 60.0, "60 /s")], aim=45.0)


def drawn(panels: list[plot.Panel]) -> ET.Element:
    return ET.fromstring(plot.panels("All of it", panels))  # noqa: S314  it is our own


def widths(picture: ET.Element) -> list[float]:
    return [float(bar.attrib["width"]) for bar in picture.iter(f"{_SVG}rect")]


def test_all_words_are_there_as_they_were_given() -> None:
    told = [text.text for text in drawn([_PANEL]).iter(f"{_SVG}text")]
    assert told == ["All of it", "small & <fast>", "more is better", "Hermit", "30 /s", "nginx", "60 /s", "aim"]


def test_bars_are_as_long_as_their_values_and_the_aim_stands_where_it_belongs() -> None:
    picture = drawn([_PANEL])
    short, long = widths(picture)
    assert short * 2 == long
    (bar, _), (line,) = picture.iter(f"{_SVG}rect"), picture.iter(f"{_SVG}path")
    at = float(line.attrib["d"][1:].split()[0])
    assert at - float(bar.attrib["x"]) == long * 45 / 60


def test_an_aim_beyond_all_bars_is_inside_the_picture() -> None:
    far = plot.Panel("far", "", [("Hermit", 1.0, "1")], aim=100.0)
    picture = drawn([far, far])
    right = float(picture.attrib["viewBox"].split()[2])
    assert all(float(line.attrib["d"][1:].split()[0]) < right for line in picture.iter(f"{_SVG}path"))


def test_a_value_of_nothing_is_still_seen() -> None:
    assert all(
        width > 0 for width in widths(drawn([plot.Panel("none", "", [("Hermit", 0.0, "0"), ("nginx", 1, "1")])]))
    )


def test_panels_do_not_lie_on_each_other() -> None:
    picture = drawn([_PANEL] * 5)
    places = [(bar.attrib["x"], bar.attrib["y"]) for bar in picture.iter(f"{_SVG}rect")]
    assert len(set(places)) == len(places) == 10
    assert max(float(y) for _, y in places) < float(picture.attrib["viewBox"].split()[3])
