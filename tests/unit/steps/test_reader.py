"""The spec's reader: every key and what it means, and every mistake with its line and words, all at once."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path, PurePosixPath

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from hermit_proxy.errors import ExitCode, InputError
from hermit_steps.reader import MAX_PATTERNS, MAX_STEPS, read_spec
from hermit_steps.spec import Apt, Pack, Run, Spec, Step, Unpack, Wanted

PATH = Path(".hermit/build.yaml")
HEAD = "image: debian-12\nsteps:\n"  # so the first step stands in line 3
RUN = HEAD + "- run: make\n"  # and what follows in line 4

WHOLE = """\
image: .hermit/image.yaml
environment: {CC: clang-14, EMPTY: ""}
steps:
  - apt: [python3-venv, g++]
    timeout: 10m
  - run: python3 -m venv v && v/bin/pip install -r requirements.txt
    network: proxy
  - name: Run the tests
    run: |
      v/bin/pytest
      true
    shell: bash
    user: root
    timeout: 30m
    directory: sub/dir
    environment: {PYTEST_ADDOPTS: -q}
  - pack: {from: dist, to: out/dist.tar.xz}
  - unpack: {file: out/dist.tar.xz, to: again}
artifacts: ["dist/*", "out/**/*.xz"]
limits: {memory: 4 GiB, processes: 100, disk: 10 GB, output: 1 MB, time: 1h, artifacts: 1 GiB}
"""


def read(text: str) -> Spec:
    return read_spec(text.encode(), PATH)


def mistakes(text: str) -> list[str]:
    with pytest.raises(InputError) as raised:
        read(text)
    assert raised.value.exit_code is ExitCode.USAGE
    return [str(mistake).removeprefix(f"{PATH}:") for mistake in raised.value.mistakes]


def test_every_key_is_read() -> None:
    assert read(WHOLE) == Spec(
        ".hermit/image.yaml",
        (
            Step("step-1", Apt(("python3-venv", "g++")), "proxy", "root", seconds=600),
            Step("step-2", Run("python3 -m venv v && v/bin/pip install -r requirements.txt"), "proxy"),
            Step(
                "Run the tests",
                Run("v/bin/pytest\ntrue\n", "bash"),
                "none",
                "root",
                PurePosixPath("sub/dir"),
                {"PYTEST_ADDOPTS": "-q"},
                1800,
            ),
            Step("step-4", Pack(PurePosixPath("dist"), PurePosixPath("out/dist.tar.xz")), "none"),
            Step("step-5", Unpack(PurePosixPath("out/dist.tar.xz"), PurePosixPath("again")), "none"),
        ),
        ("dist/*", "out/**/*.xz"),
        {"CC": "clang-14", "EMPTY": ""},
        Wanted(4 << 30, 100, 10 * 10**9, 10**6, 3600, 1 << 30),
    )


def test_a_step_has_no_network_and_is_no_roots_unless_it_says_so() -> None:
    assert read(RUN).steps == (Step("step-1", Run("make"), "none", "build"),)


def test_values_stay_the_text_that_stands_there() -> None:
    spec = read("image: debian-12\nenvironment: {A: yes, B: 010, C: 2020-01-01, D: null-ish}\nsteps: [{run: yes}]\n")
    assert spec.environment == {"A": "yes", "B": "010", "C": "2020-01-01", "D": "null-ish"}
    assert spec.steps[0].action == Run("yes")


# (file, line, words): each row is all that is told of the file.
_MISTAKES = [
    ("", 1, "expected a spec as a mapping (`key: value`), found nothing"),
    ("- run: make\n", 1, "expected a spec as a mapping (`key: value`), found a list"),
    ("image: debian-12\n", 1, "a spec needs the key `steps`"),
    ("steps: [{run: make}]\n", 1, "a spec needs the key `image`"),
    (RUN + "artefacts: [x]\n", 4, "unknown key 'artefacts' in a spec; did you mean `artifacts`?"),
    (RUN + "steps: []\n", 4, "the key 'steps' stands here a second time (first: line 2)"),
    (RUN + "\tx: y\n", 4, "a tab; indent by spaces (inside double quotes write \\t)"),
    ("image: debian12\nsteps: [{run: x}]\n", 1,
     "there is no image 'debian12'; did you mean `debian-12`?; a recipe is named by its path, which ends in .yaml"),
    ("image: [a]\nsteps: [{run: x}]\n", 1, "expected image as a text, found a list"),
    ("image: ../image.yaml\nsteps: [{run: x}]\n", 1, "image '../image.yaml': `..` leads out of the project's folder"),
    ("image: /image.yaml\nsteps: [{run: x}]\n", 1,
     "image '/image.yaml': it is absolute; paths are relative to the project's folder"),
    ("image: a/b\nsteps: [{run: x}]\n", 1, "image 'a/b': a recipe's name ends in .yaml"),
    ("image: debian-12\nsteps: []\n", 2, "expected at least one step"),
    ("image: debian-12\nsteps: make\n", 2, "expected steps as a list, found 'make'"),
    (HEAD + "- make\n", 3, "expected a step as a mapping (`key: value`), found 'make'"),
    (HEAD + "- name: x\n", 3, "a step needs one of apt, run, pack, unpack"),
    (HEAD + "- {}\n", 3, "a step needs one of apt, run, pack, unpack"),
    (HEAD + "- rnu: make\n", 3, "unknown key 'rnu' in a step; did you mean `run`?"),
    (HEAD + "- run: make\n  apt: [vim]\n", 3,
     "a step does one thing, and here are run and apt; write a step for each"),
    (HEAD + "- name: x\n  container: {file: Dockerfile, tag: app}\n", 4,
     "container steps come with a later version; until then write what the Dockerfile does as `apt` and `run` steps"),
    (HEAD + "- apt: vim\n", 3, "expected apt as a list, found 'vim'"),
    (HEAD + "- apt: []\n", 3, "expected at least one package"),
    (HEAD + "- apt:\n  - vim\n  - -y\n", 5,
     "package '-y': expected `name`, `name:arch`, `name=version` or `name/suite`, in Debian's letters"),
    (HEAD + "- apt: [vim-]\n", 3, "package 'vim-': apt-get would remove a package that is written with `-` at its end"),
    (HEAD + "- apt: [vim]\n  network: none\n", 4,
     "an `apt` step always has the proxy for its network; leave `network` out"),
    (HEAD + "- apt: [vim]\n  user: root\n", 4, "an `apt` step is always root's; leave `user` out"),
    (HEAD + "- apt: [vim]\n  shell: sh\n", 4, "`shell` means nothing in a step with `apt`"),
    (HEAD + "- run: [make, make test]\n", 3, "expected run as a text, found a list; write its lines below `run: |`"),
    (HEAD + "- run:\n", 3, "expected run as a text, found nothing"),
    (HEAD + '- run: " "\n', 3, "run ' ': there is no command in it"),
    (HEAD + '- run: "a\\0"\n', 3, "run 'a\\x00': it has a NUL character"),
    (HEAD + f"- run: {'x' * 100_001}\n", 3,
     f"run '{'x' * 59}…': it is longer than 100,000 bytes; put it into a file of the project"),
    (RUN + "  shell: zsh\n", 4, "expected shell as one of sh, bash; found 'zsh'; did you mean `sh`?"),
    (RUN + "  network: yes\n", 4, "expected network as one of none, proxy; found 'yes'"),
    (RUN + "  user: Root\n", 4, "expected user as one of build, root; found 'Root'; did you mean `root`?"),
    (RUN + "  directory: ../x\n", 4, "directory '../x': `..` leads out of the project's folder"),
    (RUN + "  directory: /x\n", 4, "directory '/x': it is absolute; paths are relative to the project's folder"),
    (RUN + "  timeout: 90\n", 4, "expected timeout as a time (90s, 30m, 12h, 3d or 2w); found '90'"),
    (RUN + "  timeout: 0s\n", 4, "expected timeout as more than nothing"),
    (RUN + '  name: "7"\n', 4, "name '7': a number means a step by its place; a name needs more than digits"),
    (RUN + '  name: "a\\nb"\n', 4, "name 'a\\nb': a name is one line of at most 80 characters"),
    (RUN + "  name: x\n- run: make\n  name: x\n", 5, "the name 'x' is that of the step in line 3 as well"),
    (RUN + "  name: step-2\n- run: make\n", 5, "the name 'step-2' is that of the step in line 3 as well"),
    ("image: debian-12\nsteps: [{run: a, name: x}, {run: b, name: x}]\n", 2,
     "the name 'x' is that of the step in line 2 as well"),
    (RUN + "  environment: [A=b]\n", 4, "expected environment as a mapping (`key: value`), found a list"),
    (RUN + "  environment:\n    A:\n", 5, "expected 'A' as a text, found nothing; an empty one is `\"\"`"),
    (RUN + "  environment: {A: [b]}\n", 4, "expected 'A' as a text, found a list; an empty one is `\"\"`"),
    (RUN + "  environment: {A-B: c}\n", 4,
     "'A-B': a variable's name is of letters, digits and `_`, and begins with no digit"),
    (RUN + '  environment: {A: "\\0"}\n', 4, "'A': it has a NUL character"),
    (RUN + "  environment: {https_proxy: x}\n", 4,
     "`https_proxy` is set by Hermit, the same in every build; a script may still set it for itself"),
    (RUN + "environment: {JAVA_TOOL_OPTIONS: -Xmx1g}\n", 4,
     "`JAVA_TOOL_OPTIONS` is set by Hermit, the same in every build; use JDK_JAVA_OPTIONS, MAVEN_OPTS or GRADLE_OPTS"),
    (HEAD + "- pack: dist\n", 3, "expected pack as a mapping (`key: value`), found 'dist'"),
    (HEAD + "- pack: {from: dist}\n", 3, "pack needs the key `to`"),
    (HEAD + "- pack: {to: dist.tar}\n", 3, "pack needs the key `from`"),
    (HEAD + "- pack: {from: dist, to: a.zip}\n", 3,
     "pack.to 'a.zip': the name of an archive ends in .tar, .tar.gz, .tgz, .tar.xz, .tar.zst"),
    (HEAD + "- pack:\n    from: .\n    to: a.tar\n", 5,
     "pack.to lies in pack.from (.): the archive would hold itself"),
    (HEAD + "- pack: {from: /, to: a.tar}\n", 3,
     "pack.from '/': it is absolute; paths are relative to the project's folder"),
    (HEAD + "- pack: {from: a, to: a.tar}\n  network: proxy\n", 4,
     "a `pack` step never has a network; leave `network` out"),
    (HEAD + "- unpack: {file: a.tar}\n", 3, "unpack needs the key `to`"),
    (HEAD + "- unpack: {file: a.deb, to: b}\n", 3,
     "unpack.file 'a.deb': the name of an archive ends in .tar, .tar.gz, .tgz, .tar.xz, .tar.zst"),
    (HEAD + "- unpack: {file: a.tar, to: ../b}\n", 3, "unpack.to '../b': `..` leads out of the project's folder"),
    (HEAD + "- unpack: {file: a.tar, to: b}\n  network: none\n", 4,
     "an `unpack` step never has a network; leave `network` out"),
    (HEAD + "- unpack: {file: a.tar, to: b}\n  environment: {A: b}\n", 4,
     "`environment` means nothing in a step with `unpack`"),
    (RUN + "artifacts: dist\n", 4, "expected artifacts as a list, found 'dist'"),
    (RUN + "artifacts:\n- dist/*\n- ../x\n", 6,
     "pattern '../x': '..' between slashes leads nowhere; write plain names"),
    (RUN + "limits: {memory: 4 gigs}\n", 4, "expected memory as a size (4096, 10 MB or 2 GiB); found '4 gigs'"),
    (RUN + "limits: {disk: 0}\n", 4, "expected disk as more than nothing"),
    (RUN + "limits: {processes: 0}\n", 4, "expected processes as a whole number of at least 1; found '0'"),
    (RUN + "limits: {timeout: 1h}\n", 4, "unknown key 'timeout' in limits; did you mean `time`?"),
    (RUN + f"artifacts: [{'x, ' * MAX_PATTERNS}y]\n", 4, "more than 100 patterns"),
    (HEAD + "- run: make\n" * (MAX_STEPS + 1), 203, "more than 200 steps"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line", "told"), _MISTAKES, ids=[f"{row[2][:50]}" for row in _MISTAKES])
def test_a_mistake_is_told_with_its_line_and_what_was_expected(text: str, line: int, told: str) -> None:
    assert mistakes(text) == [f"{line}: {told}"]


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file() -> None:
    text = "limits: {memory: x}\nimage: x\nsteps:\n- run: ''\n  timeout: 1\n- apt: [-y]\nimgae: x\n"
    assert [told.partition(":")[0] for told in mistakes(text)] == ["1", "2", "4", "5", "6", "7"]


def test_bytes_that_are_no_text_are_told_with_their_line() -> None:
    with pytest.raises(InputError, match=r"build.yaml:2: not UTF-8"):
        read_spec(b"image: debian-12\nsteps: \xff\n", PATH)


_WORDS = [
    "image", "steps", "artifacts", "limits", "environment", "apt", "run", "pack", "unpack", "container", "network",
    "proxy", "none", "user", "root", "name", "timeout", "30m", "directory", "shell", "bash", "debian-12", "a.tar",
    "from", "to", "file", "memory", "4 GiB", "..", "/", "-y", "vim", "**", "", "A", "http_proxy", "\0", "\u2028", "1",
]  # fmt: skip
_TREES = st.recursive(
    st.sampled_from(_WORDS) | st.none() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(_WORDS) | st.text(max_size=3), inner),
    max_leaves=20,
)


@given(_TREES)
@example({"image": "debian-12", "steps": [{"run": "x", "environment": {"": "a"}}]})
def test_any_yaml_is_a_spec_or_a_list_of_mistakes(tree: object) -> None:
    with suppress(InputError):
        assert read_spec(yaml.safe_dump(tree, allow_unicode=True).encode(), PATH).steps


@given(st.binary(max_size=60))
def test_any_bytes_are_a_spec_or_a_list_of_mistakes(data: bytes) -> None:
    with pytest.raises(InputError):
        read_spec(data, PATH)
