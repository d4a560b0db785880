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

{{/* An image by digest, else by tag, else by the chart's appVersion. In: dict "image" "context". */}}
{{- define "wsgateway.image" -}}
{{- if .image.digest -}}
{{- printf "%s@%s" .image.repository .image.digest -}}
{{- else -}}
{{- printf "%s:%s" .image.repository (.image.tag | default .context.Chart.AppVersion) -}}
{{- end -}}
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
labels:
  helm.sh/chart: {{ printf "%s-%s" .context.Chart.Name .context.Chart.Version | replace "+" "_" }}
  {{- include "wsgateway.uninstallLabels" .context | nindent 2 }}
  app.kubernetes.io/part-of: wsgateway
annotations:
  helm.sh/hook: pre-delete
  helm.sh/hook-weight: {{ .weight | quote }}
  # One that failed stays, with its log.
  helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
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
