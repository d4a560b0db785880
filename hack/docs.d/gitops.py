"""docs/gitops.md on objects of the API server: Argo CD's health script, Flux' expressions, and that nothing differs once the
operator has worked."""

import json
import re
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


def flux() -> dict[str, str]:
    """Flux' expressions, about `object` as an admission policy has it."""
    for fence in all_pages()[PAGE].fences:
        if fence.text.startswith("healthCheckExprs:"):
            entry = yaml.safe_load(fence.text)["healthCheckExprs"][0]
            return {name: re.sub(r"\b(status|metadata)\.(conditions|generation)", r"object.\1.\2", entry[name]) for name in ("current", "failed")}
    raise LookupError(f"{PAGE} has no healthCheckExprs")


def policy(expressions: dict[str, str]) -> list[dict]:
    """Refuses every write to WsGateways, and says which expressions hold: the API server evaluates them."""
    name = {"name": "docs-test"}
    group = {"apiVersion": "admissionregistration.k8s.io/v1"}
    rule = {"apiGroups": ["wsgateway.dev"], "apiVersions": ["*"], "operations": ["UPDATE"], "resources": ["wsgateways"]}
    says = " + ".join(f"(({text}) ? ' {key} holds;' : '')" for key, text in expressions.items())
    # Of the administrator alone: the operator goes on writing.
    mine = "request.userInfo.username != 'admin'"
    validation = {"expression": mine, "messageExpression": f"'evaluated:' + {says}"}
    return [
        {**group, "kind": "ValidatingAdmissionPolicy", "metadata": name,
         "spec": {"matchConstraints": {"resourceRules": [rule]}, "failurePolicy": "Fail", "validations": [validation]}},
        {**group, "kind": "ValidatingAdmissionPolicyBinding", "metadata": name,
         "spec": {"policyName": "docs-test", "validationActions": ["Deny"]}},
    ]


def expressions_on(name: str) -> set[str]:
    """Which of Flux' expressions hold for a WsGateway."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        command = ["kubectl", "annotate", "wsgw", name, "docs-test=x", "--overwrite", "--dry-run=server"]
        said = subprocess.run(command, capture_output=True, text=True, check=False).stderr
        if "evaluated:" in said:
            return set(re.findall(r"(current|failed) holds", said))
        time.sleep(0.2)
    raise RuntimeError(f"the API server does not evaluate the expressions of {PAGE}: {said}")


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
    policies = "".join(f"---\n{yaml.safe_dump(one)}" for one in policy(flux()))
    served = settles("odin", condition("Ready", "True", "AsSpecified"))
    report.check(served is not None, f"{PAGE}: odin is not as specified: {got('odin').get('status')}")
    if not served:
        return
    states(report, source, served)
    kubectl("apply", "-f", "-", stdin=policies)
    for name, wanted in (("odin", {"current"}), ("broken", {"failed"})):
        found = expressions_on(name)
        report.check(found == wanted, f"{PAGE}: Flux' expressions that hold for {name}: {found}, not {wanted}")
    kubectl("delete", "-f", "-", stdin=policies)
    kubectl("delete", "wsgw", "broken", "--timeout=60s")
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


def differences(report: Report, helm: str) -> None:
    """What Argo CD would find: the chart, and a WsGateway as it was applied, against what is there."""
    kubectl("apply", "-f", str(ROOT / "manifests/samples/minimal.yaml"))
    settles("minimal", condition("Progressing", "False")) or settles("minimal", condition("Ready", "False"))
    command = [helm, "template", "wsgateway", "charts/wsgateway", "--namespace", "wsgateway-system", "--no-hooks"]
    chart = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    sample = (ROOT / "manifests/samples/minimal.yaml").read_text()
    differs(report, "the chart", chart)
    differs(report, "a WsGateway", sample)
    kubectl("delete", "wsgw", "minimal", "--timeout=60s")
    server_side = ["--server-side", "--field-manager=argocd-controller"]
    kubectl("apply", *server_side, "-f", "-", stdin=sample)
    settles("minimal", condition("Ready", "False"))
    differs(report, "a WsGateway applied server-side", sample, *server_side)
    kubectl("delete", "wsgw", "minimal", "--timeout=60s")


def differs(report: Report, what: str, text: str, *how: str) -> None:
    done = subprocess.run(["kubectl", "diff", *how, "-f", "-"], input=text, capture_output=True, text=True, check=False)
    report.check(done.returncode == 0, f"{PAGE}: {what} differs from what is in the cluster: {done.stdout}{done.stderr}")
