{{/* Environment of the operator for its traces; nothing without an endpoint. */}}
{{- define "wsgateway.tracingEnv" -}}
{{- $tracing := .Values.operator.tracing | default dict }}
{{- if $tracing.endpoint }}
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ $tracing.endpoint | quote }}
{{- if hasKey $tracing "ratio" }}
- name: OTEL_TRACES_SAMPLER
  value: traceidratio
- name: OTEL_TRACES_SAMPLER_ARG
  value: {{ $tracing.ratio | quote }}
{{- end }}
{{- with $tracing.resourceAttributes }}
- name: OTEL_RESOURCE_ATTRIBUTES
  value: {{ include "wsgateway.pairs" . | quote }}
{{- end }}
{{- if dig "headersSecret" "name" "" $tracing }}
- name: OTEL_EXPORTER_OTLP_HEADERS
  valueFrom:
    secretKeyRef:
      name: {{ $tracing.headersSecret.name }}
      key: {{ $tracing.headersSecret.key | default "headers" }}
      optional: true
{{- end }}
{{- end }}
{{- end }}
