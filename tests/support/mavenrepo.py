"""Publishes Maven artifacts with their metadata and checksums, and new snapshots of them."""

from __future__ import annotations

import hashlib

from tests.support.origin import Origin

_GROUP, _ARTIFACT, _VERSION = "org.example", "parent", "1.0-SNAPSHOT"
_BASE = f"/maven/org/example/{_ARTIFACT}/{_VERSION}"


def publish_snapshot(origin: Origin, build: int) -> None:
    """Publish build number `build` of a parent POM: a new timestamped file, new metadata, new checksums."""
    stamp = f"20260101.00000{build}"
    value = f"1.0-{stamp}-{build}"
    pom = f"""<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>{_GROUP}</groupId><artifactId>{_ARTIFACT}</artifactId><version>{_VERSION}</version>
<packaging>pom</packaging><properties><build.of.parent>{build}</build.of.parent></properties></project>"""
    metadata = f"""<metadata modelVersion="1.1.0">
<groupId>{_GROUP}</groupId><artifactId>{_ARTIFACT}</artifactId><version>{_VERSION}</version>
<versioning><snapshot><timestamp>{stamp}</timestamp><buildNumber>{build}</buildNumber></snapshot>
<lastUpdated>{stamp.replace(".", "")}</lastUpdated>
<snapshotVersions><snapshotVersion><extension>pom</extension>
<value>{value}</value><updated>{stamp.replace(".", "")}</updated>
</snapshotVersion></snapshotVersions></versioning></metadata>"""
    for name, data in ((f"{_ARTIFACT}-{value}.pom", pom), ("maven-metadata.xml", metadata)):
        origin.route(f"{_BASE}/{name}", data)
        origin.route(f"{_BASE}/{name}.sha1", hashlib.sha1(data.encode()).hexdigest())  # noqa: S324  what Maven asks


def child_pom(repository: str) -> str:
    """Give a project whose parent is the snapshot in a repository; it says which build of it was taken."""
    return f"""<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<parent><groupId>{_GROUP}</groupId><artifactId>{_ARTIFACT}</artifactId><version>{_VERSION}</version><relativePath/></parent>
<artifactId>child</artifactId><packaging>pom</packaging><name>child of build ${{build.of.parent}}</name>
<repositories><repository><id>tests</id><url>{repository}</url>
<snapshots><enabled>true</enabled><checksumPolicy>fail</checksumPolicy></snapshots></repository></repositories></project>"""
