{{/* Reference of a controller's image: the complete one where it is given. */}}
{{- define "odigos.image" -}}
{{- $complete := index .root.Values.images .name -}}
{{- if $complete -}}
{{- $complete -}}
{{- else -}}
{{- printf "%s/odigos-%s:%s" (trimSuffix "/" .root.Values.image.prefix) .name (default .root.Chart.AppVersion .root.Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{/* Reference of a collector's image: its own where one is given, else the one for both, else that of this release. */}}
{{- define "odigos.collectorImage" -}}
{{- $complete := default .root.Values.images.collector (index .root.Values.images .key) -}}
{{- if $complete -}}
{{- $complete -}}
{{- else -}}
{{- include "odigos.image" (dict "root" .root "name" .name) -}}
{{- end -}}
{{- end -}}

{{/* Labels of an object of a component. */}}
{{- define "odigos.labels" -}}
app.kubernetes.io/name: {{ .name }}
app.kubernetes.io/part-of: odigos
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end -}}

{{/* One controller: Deployment, ServiceAccount, and a budget that keeps one replica. */}}
{{- define "odigos.controller" -}}
{{- $full := printf "odigos-%s" .name -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ $full }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "odigos.labels" (dict "root" .root "name" $full) | nindent 4 }}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ $full }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "odigos.labels" (dict "root" .root "name" $full) | nindent 4 }}
spec:
  replicas: {{ .root.Values.controllers.replicas }}
  selector:
    matchLabels: {app.kubernetes.io/name: {{ $full }}}
  template:
    metadata:
      labels: {{- include "odigos.labels" (dict "root" .root "name" $full) | nindent 8 }}
    spec:
      serviceAccountName: {{ $full }}
      {{- with .root.Values.image.pullSecrets }}
      imagePullSecrets:
        {{- range . }}
        - name: {{ . }}
        {{- end }}
      {{- end }}
      {{- with .root.Values.controllers.priorityClassName }}
      priorityClassName: {{ . | quote }}
      {{- end }}
      securityContext:
        runAsNonRoot: true
        runAsUser: 65532
        runAsGroup: 65532
        seccompProfile: {type: RuntimeDefault}
      affinity:
        podAntiAffinity:
          preferredDuringSchedulingIgnoredDuringExecution:
            - weight: 100
              podAffinityTerm:
                topologyKey: kubernetes.io/hostname
                labelSelector:
                  matchLabels: {app.kubernetes.io/name: {{ $full }}}
      nodeSelector: {{- toYaml .root.Values.controllers.nodeSelector | nindent 8 }}
      {{- with .root.Values.controllers.tolerations }}
      tolerations: {{- toYaml . | nindent 8 }}
      {{- end }}
      containers:
        - name: {{ .name }}
          image: {{ include "odigos.image" . | quote }}
          imagePullPolicy: {{ .root.Values.image.pullPolicy }}
          args:
            - --namespace={{ .root.Release.Namespace }}
            - --log={{ .root.Values.controllers.log }}
            {{- range .args }}
            - {{ . }}
            {{- end }}
          env:
            - name: HOSTNAME
              valueFrom: {fieldRef: {fieldPath: metadata.name}}
          ports:
            - {name: admin, containerPort: 8080}
            {{- if eq .name "instrumentor" }}
            - {name: webhook, containerPort: 9443}
            {{- end }}
            {{- if and (eq .name "autoscaler") .root.Values.customMetrics.enabled }}
            - {name: custom-metrics, containerPort: 9443}
            {{- end }}
          livenessProbe: {httpGet: {path: /livez, port: admin}, periodSeconds: 10}
          readinessProbe: {httpGet: {path: /readyz, port: admin}, periodSeconds: 5}
          resources: {{- toYaml .root.Values.controllers.resources | nindent 12 }}
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities: {drop: [ALL]}
{{- if and .root.Values.controllers.podDisruptionBudget (gt (int .root.Values.controllers.replicas) 1) }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ $full }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "odigos.labels" (dict "root" .root "name" $full) | nindent 4 }}
spec:
  minAvailable: 1
  selector:
    matchLabels: {app.kubernetes.io/name: {{ $full }}}
{{- end }}
{{- end -}}
