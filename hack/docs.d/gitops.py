"""docs/gitops.md on objects of the API server: Argo CD's health script, and that nothing differs once the operator has worked."""

import json
import subprocess
import time
from collections.abc import Callable

import yaml
from lupa import lua51

from pages import ROOT, all_pages
from report import Report

PAGE = "docs/gitops.md"
KEY = "resource.customizations.health.wsgateway.dev_WsGateway"
SECONDS = 60


def script() -> str:
    for fence in all_pages()[PAGE].fences:
        if KEY in fence.text:
            return yaml.safe_load(fence.text)["data"][KEY]
    raise LookupError(f"{PAGE} has no {KEY}")


def health(source: str, gateway: dict) -> str:
    """What Argo CD would show."""
    lua = lua51.LuaRuntime(unpack_returned_tuples=True)
    lua.globals().obj = table(lua, gateway)
    return lua.execute(source).status


def table(lua: lua51.LuaRuntime, value: object) -> object:
    if isinstance(value, dict):
        return lua.table_from({key: table(lua, one) for key, one in value.items()})
    if isinstance(value, list):
        return lua.table_from([table(lua, one) for one in value])
    return value


def kubectl(*arguments: str, stdin: str | None = None) -> str:
    done = subprocess.run(["kubectl", *arguments], input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"kubectl {' '.join(arguments)}: {done.stderr or done.stdout}")
    return done.stdout


def got(name: str) -> dict:
    return json.loads(kubectl("get", "wsgw", name, "-o", "json"))


def settles(name: str, is_it: Callable[[dict], bool]) -> dict | None:
    """The object once it is as wanted, or None."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        gateway = got(name)
        if is_it(gateway):
            return gateway
        time.sleep(0.2)
    return None


def condition(kind: str, state: str, reason: str | None = None) -> Callable[[dict], bool]:
    def holds(gateway: dict) -> bool:
        generation = gateway["metadata"]["generation"]
        return any(
            one["type"] == kind and one["status"] == state and one["observedGeneration"] == generation and reason in (None, one["reason"])
            for one in gateway.get("status", {}).get("conditions", [])
        )

    return holds


def check(report: Report, helm: str) -> None:
    source = script()
    served = settles("odin", condition("Ready", "True", "AsSpecified"))
    report.check(served is not None, f"{PAGE}: odin is not as specified: {got('odin').get('status')}")
    if not served:
        return
    states(report, source, served)
    differences(report, helm)


def states(report: Report, source: str, served: dict) -> None:
    def shows(what: str, gateway: dict | None, wanted: str) -> None:
        found = health(source, gateway) if gateway else "no such object"
        report.check(found == wanted, f"{PAGE}: health of one that is {what}: {found}, not {wanted}")

    def changed(name: str, spec: dict) -> None:
        kubectl("patch", "wsgw", name, "--type=merge", "-p", json.dumps({"spec": spec}))

    shows("served", served, "Healthy")
    shows("new", {**served, "status": {}}, "Progressing")
    older = {**served, "metadata": {**served["metadata"], "generation": served["metadata"]["generation"] + 1}}
    shows("changed and not looked at", older, "Progressing")
    changed("odin", {"paused": True})
    shows("paused", settles("odin", condition("Paused", "True")), "Suspended")
    changed("odin", {"paused": False, "replicas": 0})
    shows("scaled to zero", settles("odin", condition("Ready", "False", "ScaledToZero")), "Suspended")
    changed("odin", {"replicas": 3})
    again = settles("odin", condition("Ready", "True", "AsSpecified"))
    shows("served again", again, "Healthy")
    broken = {
        "apiVersion": "wsgateway.dev/v1alpha1", "kind": "WsGateway", "metadata": {"name": "broken"},
        "spec": {**served["spec"], "stream": {"name": "BROKEN", "subjects": ["broken.>"]}},
    }
    broken["spec"].pop("channels", None)
    broken["spec"]["nats"] = {**broken["spec"]["nats"], "credentials": {"name": "nobody-has-this"}}
    kubectl("apply", "-f", "-", stdin=json.dumps(broken))
    shows("without its Secret", settles("broken", condition("Ready", "False", "SecretMissing")), "Degraded")
    changed("broken", {"nats": {"credentials": None}, "stream": {"subjects": ["a.*.b", "a.c.*"]}})
    shows("refused", settles("broken", condition("Ready", "False", "SpecInvalid")), "Degraded")
    kubectl("delete", "wsgw", "broken", "--timeout=60s")


def differences(report: Report, helm: str) -> None:
    """What Argo CD would find: the chart, and a WsGateway as it was applied, against what is there."""
    kubectl("apply", "-f", str(ROOT / "manifests/samples/minimal.yaml"))
    settles("minimal", condition("Progressing", "False")) or settles("minimal", condition("Ready", "False"))
    command = [helm, "template", "wsgateway", "charts/wsgateway", "--namespace", "wsgateway-system", "--no-hooks"]
    chart = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    sample = (ROOT / "manifests/samples/minimal.yaml").read_text()
    for what, text in (("the chart", chart), ("a WsGateway", sample)):
        done = subprocess.run(["kubectl", "diff", "-f", "-"], input=text, capture_output=True, text=True, check=False)
        report.check(done.returncode == 0, f"{PAGE}: {what} differs from what is in the cluster: {done.stdout}{done.stderr}")
    kubectl("delete", "wsgw", "minimal", "--timeout=60s")
