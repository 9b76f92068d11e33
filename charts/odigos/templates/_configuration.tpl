{{/*
The product's configuration: config of the values, and under it what other values of the documentation mean. What config says counts;
where an alias says something else, x-contradictions lists its path, which the scheduler reports.
*/}}
{{- define "odigos.configuration" -}}
{{- include "odigos.unsupported" . -}}
{{- $values := .Values -}}
{{- $aliases := dict -}}
{{- range $key := list "ignoredNamespaces" "ignoredContainers" "ignoreOdigosNamespace" "collectorGateway" "collectorNode" "rollout" "autoRollback" "sampling" "metricsSources" "userInstrumentationEnvs" "instrumentation" -}}
{{- if hasKey $values $key -}}{{- $_ := set $aliases $key (index $values $key) -}}{{- end -}}
{{- end -}}
{{- if hasKey $values "ResourceSizePreset" -}}{{- $_ := set $aliases "resourceSizePreset" .Values.ResourceSizePreset -}}{{- end -}}
{{- if hasKey $values "resourceDetectors" -}}
{{- $node := dict -}}
{{- if $values.collectorNode -}}{{- $node = fromYaml (toYaml .Values.collectorNode) -}}{{- end -}}
{{- include "odigos.underlay" (dict "config" $node "alias" (dict "resourceDetectors" .Values.resourceDetectors)) -}}
{{- $_ := set $aliases "collectorNode" $node -}}
{{- end -}}
{{- if hasKey $values "instrumentor" -}}
{{- range $key := list "mountMethod" "agentEnvVarsInjectionMethod" -}}
{{- if hasKey $values.instrumentor $key -}}{{- $_ := set $aliases $key (index $values.instrumentor $key) -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- range $value, $key := dict "openshift" "openshiftEnabled" "karpenter" "karpenterEnabled" "allowConcurrentAgents" "allowConcurrentAgents" -}}
{{- if hasKey $values $value -}}
{{- $given := index $values $value -}}
{{- if kindIs "map" $given -}}
{{- if hasKey $given "enabled" -}}{{- $_ := set $aliases $key $given.enabled -}}{{- end -}}
{{- else -}}
{{- $_ := set $aliases $key $given -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $config := fromYaml (toYaml .Values.config) -}}
{{- $contradictions := include "odigos.contradictions" (dict "path" "" "config" $config "alias" $aliases) -}}
{{- include "odigos.underlay" (dict "config" $config "alias" (fromYaml (toYaml $aliases))) -}}
{{- include "odigos.rejected" $config -}}
{{- include "odigos.incomplete" (dict "config" $config "values" $values) -}}
{{- toYaml $config -}}
{{- if $contradictions }}
x-contradictions:
{{- $contradictions }}
{{- end -}}
{{- end -}}

{{/* Puts what only an alias says into config. Helm's own merge would take false, 0 and an empty text of config for nothing. */}}
{{- define "odigos.underlay" -}}
{{- $at := . -}}
{{- range $key, $value := .alias -}}
{{- if hasKey $at.config $key -}}
{{- $other := index $at.config $key -}}
{{- if and (kindIs "map" $value) (kindIs "map" $other) -}}
{{- include "odigos.underlay" (dict "config" $other "alias" $value) -}}
{{- end -}}
{{- else -}}
{{- $_ := set $at.config $key $value -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Paths at which an alias says something else than config, as items of a list. */}}
{{- define "odigos.contradictions" -}}
{{- $at := . -}}
{{- range $key, $value := .alias -}}
{{- if hasKey $at.config $key -}}
{{- $other := index $at.config $key -}}
{{- if and (kindIs "map" $value) (kindIs "map" $other) -}}
{{- include "odigos.contradictions" (dict "path" (printf "%s%s." $at.path $key) "config" $other "alias" $value) -}}
{{- else if ne (toYaml $value) (toYaml $other) }}
- {{ printf "%s%s" $at.path $key }}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Settings that the control plane rejects as well, in its words (crates/plan/src/configuration/sampling.rs). */}}
{{- define "odigos.rejected" -}}
{{- if hasKey . "sampling" -}}
{{- if kindIs "map" .sampling -}}
{{- if hasKey .sampling "headSampling" -}}
{{- if .sampling.headSampling -}}
{{- if eq (printf "%v" .sampling.headSampling) "onRestart" -}}
{{- fail "sampling.headSampling: no agent of this release takes sampling rules, so the setting has no effect: ratio samplers of agents keep other traces than gateways, and agents know neither routes nor errors when a trace begins. Gateways apply all rules; remove the setting" -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Settings that take effect only with another value of this chart (crates/plan/src/configuration/relations.rs). */}}
{{- define "odigos.incomplete" -}}
{{- $gateway := .config.collectorGateway | default dict -}}
{{- if and (kindIs "map" $gateway) (not .values.clusterMetrics) -}}
{{- if eq (printf "%v" ($gateway.clusterMetricsEnabled | default false)) "true" -}}
{{- fail "config.collectorGateway.clusterMetricsEnabled: gateways may not read the cluster's objects: set clusterMetrics: true of the chart, which brings the permissions" -}}
{{- end -}}
{{- end -}}
{{- if not .values.agent.containerRuntime.enabled -}}
{{- if .config.customContainerRuntimeSocketPath -}}
{{- fail "config.customContainerRuntimeSocketPath: it has no effect: the chart mounts the socket of the container runtime into agents of nodes, and only with agent.containerRuntime.enabled: true" -}}
{{- end -}}
{{- if ne .values.agent.containerRuntime.socket "/run/containerd/containerd.sock" -}}
{{- fail "agent.containerRuntime.socket: it has no effect: the chart mounts the socket of the container runtime into agents of nodes, and only with agent.containerRuntime.enabled: true" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The socket of the container runtime that agents of nodes ask, empty where they ask none. */}}
{{- define "odigos.runtimeSocket" -}}
{{- if and .Values.agent.detection .Values.agent.containerRuntime.enabled (ne .Values.agent.mode "pod") -}}
{{- .Values.config.customContainerRuntimeSocketPath | default .Values.agent.containerRuntime.socket -}}
{{- end -}}
{{- end -}}

{{/* Documented values that this chart does not have: what to use instead. */}}
{{- define "odigos.unsupported" -}}
{{- $values := .Values -}}
{{- $instead := dict
  "nodeSelector" "use controllers.nodeSelector, agent.nodeSelector and config.collectorGateway.nodeSelector"
  "tolerations" "use controllers.tolerations and agent.tolerations"
  "topologySpreadConstraints" "pods are spread by an anti-affinity of the chart"
  "imagePrefix" "use image.prefix"
  "imagePullSecrets" "use image.pullSecrets, and config.imagePullSecrets for collectors"
  "pdb" "use controllers.podDisruptionBudget"
  "logLevel" "use controllers.log, agent.log and config.componentLogLevels.collector"
  "clusterName" "no component names the cluster; add a Processor that sets k8s.cluster.name"
  "signals" "Destinations say which signals are collected"
  "odiglet" "use agent.resources, agent.nodeSelector, agent.tolerations, agent.priorityClassName and agent.log"
  "autoscaler" "use controllers.resources, controllers.nodeSelector, controllers.tolerations and controllers.log"
  "scheduler" "use controllers.resources, controllers.nodeSelector, controllers.tolerations and controllers.log"
  "ui" "this chart brings no UI"
  "oidc" "this chart brings no UI"
  "centralProxy" "this release reports to no central backend"
  "telemetry" "this product sends no usage data"
  "ownTelemetry" "this release deploys no metrics store; own metrics reach Destinations that set metricsSettings.odigosOwnMetricsEnabled"
  "profiling" "this release collects no profiles"
  "traceCorrelations" "no stock collector computes service I/O correlations"
  "onPremToken" "there is no enterprise tier"
  "externalOnpremTokenSecret" "there is no enterprise tier"
  "externalOnpremPullSecret" "there is no enterprise tier"
  "gke" "this chart needs nothing for GKE"
  "psp" "PodSecurityPolicies no longer exist in Kubernetes"
-}}
{{- range $key, $message := $instead -}}
{{- if hasKey $values $key -}}{{- fail (printf "%s is not a value of this chart: %s" $key $message) -}}{{- end -}}
{{- end -}}
{{- if hasKey $values "instrumentor" -}}
{{- range $key, $_ := $values.instrumentor -}}
{{- if not (has $key (list "mountMethod" "agentEnvVarsInjectionMethod")) -}}
{{- fail (printf "instrumentor.%s is not a value of this chart: use controllers.resources, controllers.nodeSelector, controllers.tolerations and controllers.log" $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
