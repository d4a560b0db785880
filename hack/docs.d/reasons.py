"""docs/conditions.md against the code: each reason of conditions and events has a row, and each row is in the code.

Reasons are string literals of one capitalised word. So is much else: what is no reason is listed here, and must be in the code too,
so that a new literal is one or the other by somebody's decision.
"""

import re
from pathlib import Path

from pages import ROOT
from report import Report

PAGE = "docs/conditions.md"
SOURCES = ("operator/src", "crates/nats/src")
LITERAL = re.compile(r'"([A-Z][A-Za-z]*[a-z][A-Za-z]*)"')
ROW = re.compile(r"^\| ([A-Z][A-Za-z]+) \|", re.MULTILINE)

NO_REASON = {
    "kinds": """APIGroup APIResourceList APIService ClusterRole ConfigMap Deployment HorizontalPodAutoscaler HTTPRoute Ingress MetricValueList NetworkPolicy Node Pod
        PodDisruptionBudget Pods ReplicaSets ScaledObject Service ServiceAccount ServiceMonitor Status WsGateway WsGateways""",
    "conditions of ours": """Autoscaling Degraded ExposeReady GatewayReady KeysReady MonitoringReady Progressing Ready StreamReady""",
    "words of Kubernetes and KEDA": """AbleToScale AlwaysAllow AmbiguousSelector AverageValue BadRequest CreateContainerConfigError
        CreateContainerError Error ErrImageNeverPull ErrImagePull Failed Failure Fallback False ImageInspectError In
        InvalidImageName Max MethodNotAllowed None NotFound PartialTriggerError PathPrefix Percent PodScheduled Prefix
        RegistryUnavailable ReplicaFailure RollingUpdate RunContainerError RuntimeDefault ScalingActive ScalingDisabled ScalingLimited
        ScheduleAnyway ServiceUnavailable Succeeded TooManyReplicas True Unauthorized Unknown""",
    "words of NATS and TLS": """BadSignature NotValidForName UnknownIssuer Workqueue""",
    "others": """Attempts Dialer Gi Ki Mi NamespaceTerminating Reconcile Ti""",
}


def literals() -> set[str]:
    """Capitalised words in the code, without that of tests."""
    found: set[str] = set()
    for folder in SOURCES:
        for file in Path(ROOT, folder).rglob("*.rs"):
            if file.name.endswith("tests.rs") or "tests" in file.parts:
                continue
            code = file.read_text().split("#[cfg(test)]\nmod tests {")[0]
            lines = (line for line in code.splitlines() if not line.lstrip().startswith("//"))
            found.update(word for line in lines for word in LITERAL.findall(line))
    return found


def check(report: Report) -> None:
    text = (ROOT / PAGE).read_text()
    # The first table is of conditions.
    rows = set(ROW.findall(text.split("\n## ", 1)[1]))
    others = {word for words in NO_REASON.values() for word in words.split()}
    # Also the name of a condition, also a word of Kubernetes.
    both = {"Paused", "Forbidden", "Conflict"}
    code = literals()
    for word in sorted(code - others):
        report.check(word in rows, f"{PAGE}: no row for {word}, which is in the code (or it is no reason: hack/docs.d/reasons.py)")
    for word in sorted(rows):
        report.check(word in code, f"{PAGE}: {word} is not in the code")
        report.check(word not in others or word in both, f"{PAGE}: {word} has a row, and hack/docs.d/reasons.py says that it is no reason")
    for word in sorted(others):
        report.check(word in code, f"hack/docs.d/reasons.py: {word} is not in the code any more")
