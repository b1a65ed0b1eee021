"""Proves what Maven and other JVM programs need of a replay: rows 19 to 21."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.wire.conftest import MakeHermit
from tests.support import registries
from tests.support.clients import need
from tests.support.hermit import Hermit, explain
from tests.support.mavenrepo import child_pom, publish_snapshot
from tests.support.origin import Origin
from tests.support.registries import rules_for
from tests.support.rows import row

HOST = "maven.example.org"
VALIDATE = "mvn -B -ntp -U -Dmaven.repo.local=$PWD/m2 validate"
# An imported bill of materials and an extension: a POM and a jar, without any plugin.
POM = """<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<dependencyManagement><dependencies><dependency><groupId>org.junit</groupId><artifactId>junit-bom</artifactId>
<version>5.10.0</version><type>pom</type><scope>import</scope></dependency></dependencies></dependencyManagement>
<groupId>org.example</groupId><artifactId>p</artifactId><version>1</version><packaging>pom</packaging>
<build><extensions><extension><groupId>org.hamcrest</groupId><artifactId>hamcrest-core</artifactId>
<version>1.3</version></extension></extensions></build></project>"""


def _own_settings(user: Hermit) -> dict[str, str]:
    return {"JAVA_TOOL_OPTIONS": "", "MAVEN_OPTS": "", "HOME": str(user.folder)}


@pytest.mark.registry
@row(19, 21, client="maven")
def test_a_build_with_artifacts_of_the_real_repository_replays(make_hermit: MakeHermit, tmp_path: Path) -> None:
    need("mvn")
    registry = registries.maven_registry()
    user = make_hermit(allow=registry.allow, rules=registry.rules)
    (tmp_path / "pom.xml").write_text(POM)
    build = f"cp {tmp_path}/pom.xml .; {VALIDATE}; find m2 -name '*.jar' | xargs sha256sum"
    recorded = user.record(build)
    urls = {entry.url for entry in user.entries()}
    jar = next(url for url in urls if url.endswith(".jar"))
    assert f"{jar}.sha1" in urls, "the checksum beside the file belongs to the recording"
    replayed = user.hermetic(build)
    assert recorded.out.splitlines()[-1].split()[0] == replayed.out.splitlines()[-1].split()[0]
    assert set(replayed.urls()) == set(recorded.urls())


@row(21, client="maven")
def test_a_snapshot_stays_the_one_that_was_recorded_until_it_is_refreshed_as_a_set(
    tls: Origin, make_hermit: MakeHermit, tmp_path: Path
) -> None:
    need("mvn")
    (tmp_path / "pom.xml").write_text(child_pom(tls.url(HOST, "/maven")))
    user = make_hermit(names=[HOST])
    build = f"cp {tmp_path}/pom.xml .; {VALIDATE} | grep -o 'child of build .' | head -1"
    publish_snapshot(tls, 1)
    assert user.record(build).out == "child of build 1\n"
    publish_snapshot(tls, 2)
    assert user.record(build).out == "child of build 1\n", "new metadata beside old files would not fit"
    assert user.hermetic(build).out == "child of build 1\n"
    user.allow_only(rules_for([tls.authority(HOST)], "REFRESH"))
    assert user.record(build).out == "child of build 2\n"
    assert user.hermetic(build).out == "child of build 2\n"


FETCH = """
public class Fetch {
    public static void main(String[] urls) throws Exception {
        for (String url : urls)
            System.out.println(new String(new java.net.URL(url).openStream().readAllBytes()).trim());
        var client = java.net.http.HttpClient.newBuilder().proxy(java.net.ProxySelector.getDefault()).build();
        for (String url : urls) {
            var request = java.net.http.HttpRequest.newBuilder(java.net.URI.create(url)).build();
            var answer = client.send(request, java.net.http.HttpResponse.BodyHandlers.ofString());
            System.out.println(answer.statusCode() + " " + answer.version() + " " + answer.body().trim());
        }
    }
}
"""


@row(15, 20, client="java")
def test_both_clients_of_a_jvm_get_through_without_proxy_credentials(
    tls: Origin, plain: Origin, make_hermit: MakeHermit, tmp_path: Path
) -> None:
    need("java", "javac")
    for origin in (tls, plain):
        origin.route("/a.txt", origin.scheme)
    (tmp_path / "Fetch.java").write_text(FETCH)
    user = make_hermit(names=[HOST])
    fetch = f"env | grep -i _proxy=; java {tmp_path}/Fetch.java {tls.url(HOST, '/a.txt')} {plain.url(HOST, '/a.txt')}"
    for run in (user.record(fetch), user.hermetic(fetch)):
        variables = [line for line in run.out.splitlines() if "_proxy=" in line.lower()]
        assert variables, explain(run)
        assert not [line for line in variables if "@" in line], "a JVM answers a challenge for CONNECT with a failure"
        assert run.out.splitlines()[len(variables) :] == ["https", "http", "200 HTTP_1_1 https", "200 HTTP_1_1 http"]
        assert 407 not in {event.status for event in run.events}
