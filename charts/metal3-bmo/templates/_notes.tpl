{{/* What to do after the installation; the umbrella chart prints it too. */}}
{{- define "metal3-bmo.notes" -}}
{{- $ns := .Release.Namespace -}}
baremetal-operator {{ .Chart.AppVersion }}
  Deployment   {{ $ns }}/baremetal-operator-controller-manager, {{ .Values.replicas }} replica(s)
  hosts        {{ if .Values.watchNamespaces }}of the namespaces {{ join ", " .Values.watchNamespaces }}{{ else }}of all namespaces{{ end }}
  Ironic       {{ include "metal3-bmo.ironicEndpoint" . }}{{ if and .Values.ironicSim.enabled (not .Values.ironic.endpoint) }}   SIMULATED: for evaluation only{{ end }}
  certificate  {{ include "metal3-bmo.tlsSource" . }}
{{- if and .Values.ironic.endpoint (not (include "metal3-bmo.ironicCredentials" .)) }}

  Ironic is asked without a password. If it answers 401: ironic.username and ironic.password, or ironic.existingSecret.
{{- end }}

Declare a host{{ if .Values.ironicSim.enabled }} (a simulated one: any address will do){{ end }}:

  kubectl create namespace {{ first (append .Values.watchNamespaces "metal3") }}
  kubectl apply -n {{ first (append .Values.watchNamespaces "metal3") }} -f - <<EOF
  apiVersion: v1
  kind: Secret
  metadata: {name: host-1-bmc}
  stringData: {username: root, password: calvin}
  ---
  apiVersion: metal3.io/v1alpha1
  kind: BareMetalHost
  metadata: {name: host-1}
  spec:
    online: true
    bootMACAddress: "00:5c:52:31:3a:9c"
    bmc:
      address: redfish-virtualmedia+https://bmc.example.com/redfish/v1/Systems/host-1
      credentialsName: host-1-bmc
  EOF
  kubectl get bmh -n {{ first (append .Values.watchNamespaces "metal3") }} --watch

Why does a host wait? The condition says what for, since when, until when and what to do:

  kubectl get bmh host-1 -n {{ first (append .Values.watchNamespaces "metal3") }} -o jsonpath='{.status.conditions[?(@.type=="Waiting")].message}{"\n"}'

Ask the HostService (docs/grpc.md: who may, and all calls):

  kubectl get {{ if eq (include "metal3-bmo.tlsSource" .) "self-signed" }}configmap baremetal-operator-host-service-ca -n {{ $ns }} -o jsonpath='{.data.ca\.crt}'{{ else }}secret {{ include "metal3-bmo.tlsSecret" . }} -n {{ $ns }} -o jsonpath='{.data.ca\.crt}' | base64 -d{{ end }} >ca.crt
  kubectl port-forward -n {{ $ns }} service/baremetal-operator-host-service 8443 &
  grpcurl -cacert ca.crt -authority baremetal-operator-host-service.{{ $ns }}.svc \
    -H "authorization: Bearer $(kubectl create token <ServiceAccount> -n <its namespace> --audience metal3-host-service)" \
    -d '{"namespace": "{{ first (append .Values.watchNamespaces "metal3") }}"}' localhost:8443 metal3.host.v1.HostService/ListHosts
{{- end }}
