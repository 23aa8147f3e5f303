{{/* What to do after the installation; the umbrella chart prints it too. */}}
{{- define "metal3-capm3.notes" -}}
{{- $ns := .Release.Namespace -}}
Cluster API provider (capm3) {{ .Chart.AppVersion }}
  Deployment   {{ $ns }}/capm3-controller-manager, {{ .Values.replicas }} replica(s)
  clusters     {{ if .Values.watchNamespaces }}of the namespace {{ first .Values.watchNamespaces }}{{ else }}of all namespaces{{ end }}
  HostService  {{ include "metal3-capm3.hostService" . }}
  certificate  {{ include "metal3-capm3.tlsSource" . }}
{{- if and (.Capabilities.APIVersions.Has "apiregistration.k8s.io/v1") (not (.Capabilities.APIVersions.Has "cluster.x-k8s.io/v1beta2")) }}

  MISSING: Cluster API (cluster.x-k8s.io/v1beta2). capm3 does not become ready before it is there:
    clusterctl init --core cluster-api --bootstrap kubeadm --control-plane kubeadm
{{- end }}
{{- end }}
