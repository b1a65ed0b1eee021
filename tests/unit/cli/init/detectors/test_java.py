"""Tests what is found in Maven and Gradle projects."""

from __future__ import annotations

from pathlib import Path

from hermit_cli.init.detectors.java import detect_gradle, detect_maven
from tests.unit.cli.init.projects import asked, make, steps

POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
  <properties><maven.compiler.release>21</maven.compiler.release></properties>
  <repositories>
    <repository><url>https://maven.example.org/releases</url></repository>
    <repository><url>https://${host}/x</url></repository>
  </repositories>
  <distributionManagement><repository><url>https://publish.example.org/x</url></repository></distributionManagement>
</project>"""
WRAPPER = "distributionUrl=https\\://dist.example.org/d/tool-1-bin.zip\n"


def test_maven_builds_with_network_and_says_why(tmp_path: Path) -> None:
    part = detect_maven(make(tmp_path, {"pom.xml": POM}))
    assert steps(part) == ["+build: mvn --batch-mode verify"]
    assert part is not None
    assert "plugins" in part.steps[0].why
    assert part.notes == ("it wants Java 21, and Debian 12 has 17",)
    assert asked(part) == ["https://maven.example.org/releases pom.xml"]


def test_mavens_wrapper_names_where_maven_comes_from(tmp_path: Path) -> None:
    files = {"pom.xml": "<project><modules/></project>", "!mvnw": "", ".mvn/wrapper/maven-wrapper.properties": WRAPPER}
    part = detect_maven(make(tmp_path, files))
    assert steps(part) == ["+build: ./mvnw --batch-mode verify"]
    assert asked(part) == ["https://dist.example.org/d .mvn/wrapper/maven-wrapper.properties"]
    assert part is not None
    assert part.artifacts == ("**/target/*.jar",)


def test_a_broken_pom_is_a_project_that_is_told(tmp_path: Path) -> None:
    tree = make(tmp_path, {"pom.xml": "<project>"})
    assert steps(detect_maven(tree)) == ["+build: mvn --batch-mode verify"]
    assert tree.troubles[0].startswith("pom.xml: not XML")


def test_gradle_builds_with_its_wrapper(tmp_path: Path) -> None:
    files = {
        "build.gradle.kts": 'repositories { maven { url = uri("https://maven.example.org/x") }\n'
        'maven("https://b.example.org") }\n'
        "java { toolchain { languageVersion.set(JavaLanguageVersion.of(21)) } }",
        "settings.gradle.kts": 'include("app")\n',
        "!gradlew": "",
        "gradle/wrapper/gradle-wrapper.properties": WRAPPER,
    }
    part = detect_gradle(make(tmp_path, files))
    assert steps(part) == ["+build: ./gradlew --no-daemon build"]
    assert asked(part) == [
        "https://maven.example.org/x the build file",
        "https://b.example.org the build file",
        "https://dist.example.org/d gradle/wrapper/gradle-wrapper.properties",
    ]
    assert part is not None
    assert part.artifacts == ("**/build/libs/*.jar",)
    assert part.notes == ("it wants Java 21, and Debian 12 has 17",)


def test_gradle_without_its_wrapper_is_told(tmp_path: Path) -> None:
    part = detect_gradle(make(tmp_path, {"build.gradle": ""}))
    assert steps(part) == ["+build: gradle --no-daemon build"]
    assert part is not None
    assert "no gradlew" in part.notes[0]


def test_other_folders_are_none(tmp_path: Path) -> None:
    tree = make(tmp_path, {"!gradlew": "", "!mvnw": ""})
    assert detect_maven(tree) is None
    assert detect_gradle(tree) is None
