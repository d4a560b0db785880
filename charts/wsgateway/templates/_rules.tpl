{{/*
What the operator may do, and nothing else. Children go by garbage collection, so only what a changed spec makes
superfluous is deleted by the operator itself.
*/}}
{{- define "wsgateway.operatorRules" -}}
# What it reconciles: watches the specs, sets and clears its finalizer, and asks whether the owner that a stream's mark
# names still exists (get).
- apiGroups: [wsgateway.dev]
  resources: [wsgateways]
  verbs: [get, list, watch, patch]
# What it reports.
- apiGroups: [wsgateway.dev]
  resources: [wsgateways/status]
  verbs: [patch]
# Owner references with blockOwnerDeletion, where the cluster enforces OwnerReferencesPermissionEnforcement.
- apiGroups: [wsgateway.dev]
  resources: [wsgateways/finalizers]
  verbs: [update]
# What it builds: server-side apply (create, patch), repair of drift (list, watch), and whether somebody else has an
# object by that name (get).
- apiGroups: [""]
  resources: [serviceaccounts]
  verbs: [get, list, watch, create, patch]
# ConfigMaps: one for each version of what needs a new process; old ones are deleted. Services: that for metrics takes another
# name, and the old one goes, when a WsGateway of that name is created.
- apiGroups: [""]
  resources: [configmaps, services]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies, ingresses]
  verbs: [get, list, watch, create, patch, delete]
# Watched once the cluster knows the kinds.
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [monitoring.coreos.com]
  resources: [servicemonitors]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [keda.sh]
  resources: [scaledobjects]
  verbs: [get, list, watch, create, patch, delete]
# Whose state it reports, and which it annotates, so that their kubelet brings a changed ConfigMap at once.
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch, patch]
# Whether one still needs an old ConfigMap; and those of an older pod template, which a rollout takes from their Deployment,
# scales down at its own pace and deletes.
- apiGroups: [apps]
  resources: [replicasets]
  verbs: [list, patch, delete]
# The Secrets that WsGateways name, one by one: for its own connection to NATS, and to see whether they have the label
# wsgateway.dev/allow. It can neither list nor watch them.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get]
# What it tells.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}
