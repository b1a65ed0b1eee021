"""The whole folder: mistakes of all files at once, and a running master that keeps what it had."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hermit_master.settings.configuration import Changes, changes, load_configuration, reload_configuration
from hermit_proxy.errors import InputError
from tests.support.operator import MASTER, REPOSITORY, Operator

OTHER = REPOSITORY.replace("org/project", "org/other")


def test_the_mistakes_of_all_files_are_told_at_once(operator: Operator) -> None:
    operator.write("url: nowhere\nbuild: 3\n")
    operator.repository("a", "forge: x\nurl: y\n")
    operator.repository("b", "- no mapping\n")
    operator.repository("c", "{not yaml\n")
    operator.repository("good")
    (operator.repositories / "d.yml").write_text(REPOSITORY)
    with pytest.raises(InputError) as caught:
        load_configuration(operator.file)
    assert {mistake.path.name for mistake in caught.value.mistakes} == {
        "hermit.yaml",
        "a.yaml",
        "b.yaml",
        "c.yaml",
        "d.yml",
    }


def test_what_is_no_repositorys_file_is_passed_over(operator: Operator) -> None:
    operator.repository("project")
    (operator.repositories / "README").write_text("ours")
    (operator.repositories / ".project.yaml.swp").write_text("an editor's")
    (operator.repositories / ".hidden.yaml").write_text("an editor's")
    assert list(load_configuration(operator.file).repositories) == ["project"]


def test_two_files_of_one_repository_are_a_mistake(operator: Operator) -> None:
    operator.repository("a")
    operator.repository("b", REPOSITORY.replace("org/project", "Org/Project"))
    with pytest.raises(InputError, match=r"b.yaml: forge.example.org/org/project is a repository already, by a.yaml"):
        load_configuration(operator.file)


def test_a_repository_may_come_change_and_go(operator: Operator) -> None:
    operator.repository("a")
    operator.repository("b", OTHER)
    old = load_configuration(operator.file)
    operator.repository("b", OTHER + "record: false\n")
    operator.repository("c", REPOSITORY.replace("org/project", "org/third"))
    (operator.repositories / "a.yaml").unlink()
    new = reload_configuration(old, operator.file)
    assert new.mistakes == ()
    assert sorted(new.configuration.repositories) == ["b", "c"]
    assert changes(old, new.configuration) == Changes(
        added=frozenset({"c"}),  # type: ignore[arg-type]  # the names are plain texts here
        changed=frozenset({"b"}),  # type: ignore[arg-type]  # as above
        removed=frozenset({"a"}),  # type: ignore[arg-type]  # as above
        settings=False,
    )
    assert changes(old, old) == Changes(frozenset(), frozenset(), frozenset(), settings=False)


def test_a_secret_that_was_renewed_is_a_change(operator: Operator) -> None:
    operator.repository("a")
    old = load_configuration(operator.file)
    operator.secret("hook", "another-secret-of-the-hook")
    new = reload_configuration(old, operator.file).configuration
    assert changes(old, new).changed == {"a"}


@pytest.mark.parametrize(
    "breaks",
    [
        lambda operator: operator.write("url: [\n"),
        lambda operator: operator.write(""),
        lambda operator: operator.file.unlink(),
        lambda operator: operator.repository("a", "forge: x\n"),
        lambda operator: operator.repository("new", "forge: x\n"),
        lambda operator: operator.repository("double"),
        lambda operator: (operator.folder / "hook").unlink(),
        lambda operator: (operator.folder / "hook").chmod(0o644),
        lambda operator: operator.repositories.rename(operator.folder / "elsewhere"),
    ],
)
def test_a_running_master_keeps_its_last_good_configuration(
    operator: Operator, breaks: Callable[[Operator], object]
) -> None:
    operator.repository("a")
    old = load_configuration(operator.file)
    kept = dataclasses.replace(old)
    breaks(operator)
    found = reload_configuration(old, operator.file)
    assert found.mistakes
    assert found.configuration is old
    assert found.configuration == kept


def mistakes_of(operator: Operator) -> str | None:
    try:
        load_configuration(operator.file)
    except InputError as error:
        return str(error)
    return None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200) | st.text("forgeurlbanchitkmp: []{}'\"\n-#./", max_size=80).map(str.encode))
def test_whatever_the_files_say_it_is_a_configuration_or_mistakes(operator: Operator, data: bytes) -> None:
    for path, before in ((operator.file, MASTER.encode()), (operator.repository("a"), REPOSITORY.encode())):
        for text in (data, before + data):
            path.write_bytes(text)
            told = mistakes_of(operator)
            assert told is None or told.replace("\n", "").isprintable()
            assert told != ""
        path.write_bytes(before)
