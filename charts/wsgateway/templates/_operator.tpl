{{/* The variables by which the operator is configured: `operator --help` says what each means. */}}
{{- define "wsgateway.operatorEnv" -}}
{{- $operator := .Values.operator -}}
- name: WSGATEWAY_GATEWAY_IMAGE
  value: {{ include "wsgateway.image" (dict "image" .Values.gateway.image "context" .) | quote }}
{{- with (include "wsgateway.watched" . | fromJson).names }}
- name: WSGATEWAY_WATCH_NAMESPACES
  value: {{ join "," . | quote }}
{{- end }}
{{- with $operator.class }}
- name: WSGATEWAY_CLASS
  value: {{ . | quote }}
{{- end }}
- name: WSGATEWAY_ROLLOUTS_AT_ONCE
  value: {{ $operator.rolloutsAtOnce | default 3 | quote }}
{{- range $variable, $value := dict
  "CONCURRENCY" $operator.reconcile.concurrency
  "DELETION_PATIENCE_SECONDS" $operator.timeouts.deletionSeconds
  "DISCOVERY_SECONDS" $operator.reconcile.discoverySeconds
  "NUMBERS_SECONDS" $operator.reconcile.statusSeconds
  "POLL_SECONDS" $operator.reconcile.pollSeconds
  "RESYNC_SECONDS" $operator.reconcile.resyncSeconds
  "ROLLOUT_PATIENCE_SECONDS" $operator.timeouts.rolloutSeconds }}
- name: WSGATEWAY_{{ $variable }}
  value: {{ $value | toString | quote }}
{{- end }}
{{- with include "wsgateway.defaults" . }}
- name: WSGATEWAY_DEFAULTS
  value: {{ . | quote }}
{{- end }}
{{- if include "wsgateway.metricsApi" . }}
{{- $api := include "wsgateway.metricsApiName" . }}
- name: WSGATEWAY_METRICS_API
  value: "true"
- name: WSGATEWAY_METRICS_API_ADDRESS
  value: {{ printf "[::]:%v" .Values.metricsApi.port | quote }}
- name: WSGATEWAY_METRICS_API_SERVICE
  value: {{ $api }}
- name: WSGATEWAY_METRICS_API_SECRET
  value: {{ include "wsgateway.metricsApiSecret" . }}
{{- if not (include "wsgateway.ownCertificate" .) }}
- name: WSGATEWAY_METRICS_API_OWN_CERTIFICATE
  value: "false"
{{- end }}
{{- if .Values.rbac.create }}
- name: WSGATEWAY_METRICS_API_OWNER
  value: {{ $api }}
{{- end }}
{{- end }}
- name: WSGATEWAY_LEADER_ELECT
  value: {{ $operator.leaderElection.enabled | quote }}
{{- with $operator.leaderElection }}
{{- if .enabled }}
- name: WSGATEWAY_LEASE_NAME
  value: {{ include "wsgateway.operatorName" $ }}
- name: WSGATEWAY_LEASE_SECONDS
  value: {{ .leaseSeconds | quote }}
- name: WSGATEWAY_RENEW_SECONDS
  value: {{ .renewSeconds | quote }}
- name: WSGATEWAY_RETRY_SECONDS
  value: {{ .retrySeconds | quote }}
{{- end }}
{{- end }}
{{- if .Values.networkPolicies.enabled }}
- name: WSGATEWAY_NETWORK_POLICIES
  value: "true"
{{- with .Values.networkPolicies.monitoringNamespaces }}
- name: WSGATEWAY_MONITORING_NAMESPACES
  value: {{ include "wsgateway.pairs" . | quote }}
{{- end }}
{{- end }}
- name: WSGATEWAY_NAMESPACE
  valueFrom: { fieldRef: { apiVersion: v1, fieldPath: metadata.namespace } }
- name: WSGATEWAY_POD
  valueFrom: { fieldRef: { apiVersion: v1, fieldPath: metadata.name } }
{{- with $operator.clusterName }}
- name: WSGATEWAY_CLUSTER
  value: {{ . | quote }}
{{- end }}
- name: WSGATEWAY_LOG_FORMAT
  value: {{ $operator.log.format }}
- name: RUST_LOG
  value: {{ $operator.log.level | quote }}
{{- with (include "wsgateway.tracingEnv" .) }}
{{ . | trim }}
{{- end }}
{{- end -}}

{{/* Where the operators prefer to run: in other zones than each other, which are no constraint of wsgateway.spread, because the
scheduler leaves nodes without the label of one constraint out of all of them. */}}
{{- define "wsgateway.affinity" -}}
{{- $operator := .Values.operator -}}
{{- $affinity := deepCopy $operator.affinity -}}
{{- $auto := and (not (kindIs "slice" $operator.topologySpreadConstraints)) (gt (int $operator.replicas) 1) -}}
{{- if and $auto (not (hasKey $affinity "podAntiAffinity")) -}}
{{- $selector := dict "matchLabels" (include "wsgateway.selectorLabels" . | fromYaml) -}}
{{- $term := dict "topologyKey" "topology.kubernetes.io/zone" "labelSelector" $selector -}}
{{- $preferred := list (dict "weight" 100 "podAffinityTerm" $term) -}}
{{- $_ := set $affinity "podAntiAffinity" (dict "preferredDuringSchedulingIgnoredDuringExecution" $preferred) -}}
{{- end -}}
{{- with $affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Over which nodes the operators are spread. */}}
{{- define "wsgateway.spread" -}}
{{- $given := .Values.operator.topologySpreadConstraints -}}
{{- $constraints := list -}}
{{- if kindIs "slice" $given -}}
{{- $constraints = $given -}}
{{- else if gt (int .Values.operator.replicas) 1 -}}
{{- $constraints = list (dict "topologyKey" "kubernetes.io/hostname" "maxSkew" 1 "whenUnsatisfiable" "ScheduleAnyway") -}}
{{- end -}}
{{- $selector := dict "labelSelector" (dict "matchLabels" (include "wsgateway.selectorLabels" . | fromYaml)) -}}
{{- $complete := list -}}
{{- range $constraints -}}
{{- $complete = append $complete (merge dict . $selector) -}}
{{- end -}}
{{- with $complete }}
topologySpreadConstraints:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
