"""Shows that a Java program trusts the run's authority by the key store alone, written without Java."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from hermit_proxy.run.ca import JKS_PASSWORD, RunCA
from tests.support.replaying import HOST, Project, Replaying

_CLIENT = """
import java.io.InputStream;
import java.net.URL;
public class Client {
    public static void main(String[] urls) throws Exception {
        for (String url : urls) {
            try (InputStream in = new URL(url).openConnection().getInputStream()) {
                System.out.println(new String(in.readAllBytes()));
            }
        }
    }
}
"""


@pytest.fixture
def client(tmp_path: Path) -> Path:
    if shutil.which("java") is None or shutil.which("javac") is None:
        pytest.skip("java is not installed")
    source = tmp_path / "Client.java"
    source.write_text(_CLIENT)
    subprocess.run(["javac", "-nowarn", source], check=True, capture_output=True)
    return tmp_path


def test_java_reads_over_tls_with_the_key_store_and_not_without(client: Path, tmp_path: Path) -> None:
    project = Project(tmp_path / "project")
    project.add(f"https://{HOST}/a", b"first")
    project.add(f"https://{HOST}/b", b"second")
    with Replaying(project) as replaying:
        store = tmp_path / "trust.jks"
        key = RunCA.create().key_pem  # The run's own is gone; the certificate is what the store is made of.
        store.write_bytes(RunCA.load(replaying.ca.read_bytes(), key).jks())
        options = ["-Dhttps.proxyHost=127.0.0.1", f"-Dhttps.proxyPort={replaying.port}", "-cp", str(client)]
        trust = [f"-Djavax.net.ssl.trustStore={store}", f"-Djavax.net.ssl.trustStorePassword={JKS_PASSWORD}"]
        urls = [f"https://{HOST}/a", f"https://{HOST}/b"]
        done = subprocess.run(
            ["java", *options, *trust, "Client", *urls], check=False, capture_output=True, text=True, timeout=120
        )
        assert (done.stdout, done.returncode) == ("first\nsecond\n", 0), done.stderr
        without = subprocess.run(["java", *options, "Client", *urls], check=False, capture_output=True, timeout=120)
        assert b"unable to find valid certification path" in without.stderr
        line = replaying.wait_for_lines(3)[2]
        assert "does not trust" in (line.reason or "")
