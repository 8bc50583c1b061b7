{{- define "bulkhead.name" -}}
{{- printf "%s-bulkhead" .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- define "bulkhead.labels" -}}
app.kubernetes.io/name: bulkhead
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}
{{- define "bulkhead.selector" -}}
app.kubernetes.io/name: bulkhead
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}
{{- define "bulkhead.depth" -}}
{{- if .Values.keda.url -}}
{{- .Values.keda.url -}}
{{- else if .Values.api.enabled -}}
{{- printf "http://%s.%s.svc:%v/v1/queues/%s" (include "bulkhead.name" .) .Release.Namespace .Values.api.port .Values.keda.queue -}}
{{- else -}}
{{- fail "keda.enabled needs api.enabled, or keda.url: an address that answers with the queue's depth as JSON" -}}
{{- end -}}
{{- end -}}
{{- define "bulkhead.authentication" -}}
{{- if .Values.keda.tokenSecretName -}}
{{- include "bulkhead.name" . -}}
{{- else -}}
{{- .Values.keda.authentication -}}
{{- end -}}
{{- end -}}
