{{/*
What the operator may do, and nothing else. Children go by garbage collection, so only what a changed spec makes
superfluous is deleted by the operator itself.
*/}}
{{- define "wsgateway.operatorRules" -}}
# What it reconciles: watches the specs, sets and clears its finalizer.
- apiGroups: [wsgateway.dev]
  resources: [wsgateways]
  verbs: [list, watch, patch]
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
  resources: [configmaps, serviceaccounts]
  verbs: [get, list, watch, create, patch]
# The Service for metrics takes another name, and the old one goes, when a WsGateway of that name is created.
- apiGroups: [""]
  resources: [services]
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
# Watched once the cluster knows the kind.
- apiGroups: [monitoring.coreos.com]
  resources: [servicemonitors]
  verbs: [get, list, watch, create, patch, delete]
# Whose state it reports.
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
# The Secrets that WsGateways name in spec.nats, one by one, for its own connection to NATS: it can neither list nor
# watch them.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get]
# What it tells.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}
