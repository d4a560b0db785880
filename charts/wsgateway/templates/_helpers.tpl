{{/* The prefix of every name; 50 characters leave room for the suffixes. */}}
{{- define "wsgateway.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "wsgateway.operatorName" -}}
{{ include "wsgateway.fullname" . }}-operator
{{- end -}}

{{- define "wsgateway.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (include "wsgateway.operatorName" .) -}}
{{- end -}}

{{/* What selects the operator's pods. Must not change between versions: a Deployment's selector is immutable. */}}
{{- define "wsgateway.selectorLabels" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "wsgateway.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "wsgateway.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: wsgateway
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{/*
Metadata of an object: the chart's labels win over what is given, which wins over the common ones.
In: dict "context" "name", and "namespace" "labels" "annotations".
*/}}
{{- define "wsgateway.metadata" -}}
name: {{ .name }}
{{- with .namespace }}
namespace: {{ . }}
{{- end }}
labels:
  {{- include "wsgateway.allLabels" . | nindent 2 }}
{{- with merge dict (.annotations | default dict) (.context.Values.commonAnnotations | default dict) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "wsgateway.allLabels" -}}
{{- $own := include "wsgateway.labels" .context | fromYaml -}}
{{- merge $own (.labels | default dict) (.context.Values.commonLabels | default dict) | toYaml -}}
{{- end -}}

{{/*
An image by digest, else by tag, else by the chart's appVersion; global.imageRegistry takes the place of its registry.
In: dict "image" "context".
*/}}
{{- define "wsgateway.image" -}}
{{- $name := .image.repository -}}
{{- with dig "imageRegistry" "" (.context.Values.global | default dict) -}}
{{- $first := splitList "/" $name | first -}}
{{- if and (contains "/" $name) (or (contains "." $first) (contains ":" $first) (eq $first "localhost")) -}}
{{- $name = trimPrefix (printf "%s/" $first) $name -}}
{{- end -}}
{{- $name = printf "%s/%s" (trimSuffix "/" .) $name -}}
{{- end -}}
{{- if .image.digest -}}
{{- printf "%s@%s" $name .image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (.image.tag | default .context.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* Secrets for pulling images, if there are any. */}}
{{- define "wsgateway.pullSecrets" -}}
{{- $names := concat (dig "imagePullSecrets" list (.Values.global | default dict)) (.Values.operator.imagePullSecrets | default list) | uniq -}}
{{- with $names }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* Of the pods that run once: the same nodes and restrictions as the operator's, and the operator's image. */}}
{{- define "wsgateway.jobPod" -}}
restartPolicy: Never
enableServiceLinks: false
{{- include "wsgateway.pullSecrets" . }}
{{- with .Values.operator.podSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.operator.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.operator.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "wsgateway.jobContainer" -}}
image: {{ include "wsgateway.image" (dict "image" .Values.operator.image "context" .) | quote }}
imagePullPolicy: {{ .Values.operator.image.pullPolicy }}
resources:
  requests: { cpu: 10m, memory: 32Mi }
  limits: { memory: 128Mi }
{{- with .Values.operator.securityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/*
The namespaces to look at, as JSON: {"names": [...]}, empty for all. watchNamespace is what the list was called when it
was one name.
*/}}
{{- define "wsgateway.watched" -}}
{{- $names := .Values.watchNamespaces | default list -}}
{{- with .Values.watchNamespace -}}
{{- if $names -}}
{{- fail "watchNamespace is the old name of watchNamespaces: write all namespaces into watchNamespaces, and leave watchNamespace out" -}}
{{- end -}}
{{- $names = list . -}}
{{- end -}}
{{- dict "names" $names | toJson -}}
{{- end -}}

{{/* -n NAMESPACE for the examples in the notes. */}}
{{- define "wsgateway.inNamespace" -}}
{{- with (include "wsgateway.watched" . | fromJson).names -}}-n {{ first . }} {{ end -}}
{{- end -}}

{{/* KEY=VALUE,KEY=VALUE of a map. */}}
{{- define "wsgateway.pairs" -}}
{{- $pairs := list -}}
{{- range $key, $value := . -}}
{{- $pairs = append $pairs (printf "%s=%s" $key $value) -}}
{{- end -}}
{{- join "," $pairs -}}
{{- end -}}

{{/* Labels and annotations of what exists only while a release is uninstalled. In: dict "weight" "context". */}}
{{- define "wsgateway.uninstallMeta" -}}
{{- $values := .context.Values -}}
{{- $labels := include "wsgateway.uninstallLabels" .context | fromYaml -}}
{{- $_ := set $labels "helm.sh/chart" (printf "%s-%s" .context.Chart.Name .context.Chart.Version | replace "+" "_") -}}
{{- $_ := set $labels "app.kubernetes.io/part-of" "wsgateway" -}}
labels:
  {{- merge $labels ($values.commonLabels | default dict) | toYaml | nindent 2 }}
annotations:
  helm.sh/hook: pre-delete
  helm.sh/hook-weight: {{ .weight | quote }}
  # One that failed stays, with its log.
  helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
  {{- with $values.commonAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{- define "wsgateway.uninstallLabels" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: uninstall
{{- end -}}

{{/* Not empty if the operators serve metrics to autoscalers. */}}
{{- define "wsgateway.metricsApi" -}}
{{- $enabled := dig "enabled" "auto" (.Values.metricsApi | default dict) | toString -}}
{{- if or (eq $enabled "true") (and (eq $enabled "auto") (empty (include "wsgateway.watched" . | fromJson).names)) -}}
true
{{- end -}}
{{- end -}}

{{- define "wsgateway.metricsApiName" -}}
{{ include "wsgateway.operatorName" . }}-metrics-api
{{- end -}}

{{/* The Secret with the certificate of the metrics for autoscalers. */}}
{{- define "wsgateway.metricsApiSecret" -}}
{{- $name := include "wsgateway.metricsApiName" . -}}
{{- $given := dig "certificateSecret" "" (.Values.metricsApi | default dict) -}}
{{- $manager := dig "certManager" "enabled" false (.Values.metricsApi | default dict) -}}
{{- if and $given $manager -}}
{{- fail "metricsApi.certificateSecret and metricsApi.certManager.enabled exclude each other: who keeps the certificate?" -}}
{{- end -}}
{{- if $given -}}{{ $given }}{{- else if $manager -}}{{ $name }}-tls{{- else -}}{{ $name }}{{- end -}}
{{- end -}}

{{/* Not empty if the operator makes that certificate. */}}
{{- define "wsgateway.ownCertificate" -}}
{{- $api := .Values.metricsApi | default dict -}}
{{- if not (or (dig "certificateSecret" "" $api) (dig "certManager" "enabled" false $api)) -}}true{{- end -}}
{{- end -}}

{{/* What WsGateways have that leave it out, without what is empty, as JSON; empty if there is nothing. An empty list of
topologySpread is a choice. */}}
{{- define "wsgateway.defaults" -}}
{{- $defaults := dict -}}
{{- range $part, $fields := .Values.defaults | default dict -}}
{{- range $field, $value := $fields | default dict -}}
{{- if and (eq $part "expose") (kindIs "map" $value) -}}
{{- $value = pick $value "annotations" -}}
{{- if not $value.annotations }}{{ $value = dict }}{{ end -}}
{{- end -}}
{{- if or $value (and (eq $field "topologySpread") (kindIs "slice" $value)) -}}
{{- $_ := set $defaults $part (merge (dict $field $value) (get $defaults $part | default dict)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- with $defaults }}{{ toJson . }}{{ end -}}
{{- end -}}

{{/* Metadata of what exists only during `helm test`. In: dict "context" "name" "weight". */}}
{{- define "wsgateway.hookMetadata" -}}
{{- $labels := include "wsgateway.labels" .context | fromYaml -}}
{{- $labels = merge (dict "app.kubernetes.io/component" "test") $labels (.context.Values.commonLabels | default dict) -}}
{{- $hook := dict "helm.sh/hook" "test" "helm.sh/hook-weight" .weight -}}
{{- $_ := set $hook "helm.sh/hook-delete-policy" "before-hook-creation,hook-succeeded" -}}
name: {{ .name }}
namespace: {{ .context.Release.Namespace }}
labels:
  {{- toYaml $labels | nindent 2 }}
annotations:
  {{- merge $hook (.context.Values.commonAnnotations | default dict) | toYaml | nindent 2 }}
{{- end -}}
