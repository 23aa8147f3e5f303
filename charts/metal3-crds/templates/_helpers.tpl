{{- define "metal3-crds.labels" -}}
app.kubernetes.io/name: metal3-crds
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: crds
app.kubernetes.io/part-of: metal3
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* Written by clusterctl when it installs; without it `clusterctl move` does not see the kind. */}}
{{- define "metal3-crds.clusterctl" -}}
clusterctl.cluster.x-k8s.io: ""
{{- end }}

{{- define "metal3-crds.tlsSource" -}}
{{- dig "tls" "source" "" (.Values.global | default dict) | default .Values.tls.source -}}
{{- end }}

{{/* A field of clientConfig; cert-manager and capm3 itself write it otherwise. */}}
{{- define "metal3-crds.caBundle" -}}
{{- if eq (include "metal3-crds.tlsSource" .) "secret" }}
{{- $pem := dig "tls" "caBundle" "" (.Values.global | default dict) | default .Values.tls.caBundle -}}
caBundle: {{ $pem | required "tls.caBundle: tls.source secret needs the PEM of the CA of the webhooks (umbrella chart: global.tls.caBundle)" | b64enc }}
{{- end }}
{{- end }}
