"""Looking at a cluster, leaving it, and installing in the other modes."""

import subprocess

import pytest

import cluster
from cluster import LABEL, MIGRATION, OLD, RELEASE, kubectl, run, server
from probing import watching


def test_audit(space, guard):
    """`audit` reports what runs as the webhook would judge it, and changes nothing."""
    space.kubectl("label", "namespace", space.name, "prefect-guard.io/enabled=false").ok()
    bad = server("bad", url="postgresql://a@b/c", replicas=0)
    cluster.until("the namespace to be left out", lambda: space.apply(bad).code == 0)
    version = space.get("deployment/bad")["metadata"]["resourceVersion"]
    said = run(cluster.PROGRAM, "audit", "--namespace", space.name)
    assert said.code == 1, said.out + said.err
    assert "PSG103" in said.out
    assert space.get("deployment/bad")["metadata"]["resourceVersion"] == version


def test_status(space, guard):
    """`status --wait` waits for a server that migrates, and then says that it has."""
    space.apply(server()).ok()
    asked = ("status", "--wait", f"--timeout={cluster.WAIT}s", "--namespace", space.name)
    said = run(cluster.PROGRAM, *asked, within=cluster.WAIT + 60).ok()
    assert "migrated" in said
    assert space.migrated()


def test_eject_and_uninstall(space, guard):
    """The three steps of docs/uninstall.md leave nothing behind, and servers run on without the initContainer."""
    space.apply(server()).ok()
    space.up(image=OLD)
    kubectl("delete", cluster.CONFIGURATIONS, "-l", LABEL).ok()
    run(cluster.PROGRAM, "eject", "--namespace", space.name, "--yes").ok()
    space.up()
    assert MIGRATION not in space.kubectl("get", "deployment/server", "-oyaml").ok()
    run("helm", "uninstall", RELEASE, "--namespace", RELEASE, "--wait").ok()
    kinds = "validatingwebhookconfigurations,mutatingwebhookconfigurations,clusterroles,clusterrolebindings"
    ours = "secrets,configmaps,roles,rolebindings,serviceaccounts,services,deployments,poddisruptionbudgets"
    for what in ((kinds,), (ours, "--namespace", RELEASE)):
        assert kubectl("get", "-oname", "-l", LABEL, *what).ok() == ""
    kubectl("delete", "namespace", RELEASE).ok()


def certificate(folder):
    """A CA and a certificate for the Service, as a company's own PKI would hand them out."""
    name = f"{RELEASE}.{RELEASE}.svc"
    openssl = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}"]
    more = ["-addext", f"subjectAltName=DNS:{name}", "-keyout", f"{folder}/key", "-out", f"{folder}/crt"]
    subprocess.run([*openssl, *more], check=True, capture_output=True, timeout=60)


@pytest.mark.parametrize("mode", ["secret", "cert-manager"])
def test_mode(space, mode, tmp_path):
    """The chart installed in another certificate mode: both webhooks answer."""
    cluster.uninstall()
    values = ["--set", f"tls.mode={mode}"]
    if mode == "secret":
        certificate(tmp_path)
        kubectl("create", "namespace", RELEASE).ok()
        pair = (f"--cert={tmp_path}/crt", f"--key={tmp_path}/key")
        kubectl("create", "secret", "tls", "own", "--namespace", RELEASE, *pair).ok()
        values += ["--set", "tls.secretName=own", "--set-file", f"tls.caBundle={tmp_path}/crt"]
    elif kubectl("get", "crd", "certificates.cert-manager.io").code:
        pytest.skip("cert-manager is not installed on this cluster")
    try:
        cluster.install(*values).ok()
        watching(space)
    finally:
        cluster.uninstall()
