{{/*
What the operator may do, and nothing else. Least privilege: one line of reason per rule.
*/}}
{{- define "wsgateway.operatorRules" -}}
# What it reconciles: watches the specs, sets and clears its finalizer.
- apiGroups: [wsgateway.dev]
  resources: [wsgateways]
  verbs: [get, list, watch, patch]
# What it reports.
- apiGroups: [wsgateway.dev]
  resources: [wsgateways/status]
  verbs: [get, patch]
# Owner references with blockOwnerDeletion, where the cluster enforces OwnerReferencesPermissionEnforcement.
- apiGroups: [wsgateway.dev]
  resources: [wsgateways/finalizers]
  verbs: [update]
# What it builds: server-side apply (create, patch), repair of drift (watch), removal of what is no longer wanted.
- apiGroups: [""]
  resources: [configmaps, services, serviceaccounts]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [monitoring.coreos.com]
  resources: [servicemonitors]
  verbs: [get, list, watch, create, patch, delete]
# Whose connections it adds up.
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list]
# What it tells: events, old and new interface.
- apiGroups: ["", events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}
