#!/usr/bin/env python3
"""Stands in for the network plugin that enforces NetworkPolicies: the cluster's own plugin (CNI's bridge) does not, and those that do
need IP sets, which not every kernel has.

Reads policies and pods every half second and writes a chain of iptables on each node: a pod that a policy selects takes the ports of
its policies, answers to what it asked, and whatever comes from its own node. Only what the chart uses is understood (ingress, by
ports and pods); anything else ends this with a message, so that nothing counts as enforced that is not.

usage: policies.py KUBECTL READY NODE...   (CLUSTER in the environment as in cluster.sh; KUBECTL: a command line; READY: a file that is written once everything is in force)
"""
import json, os, shlex, subprocess, sys, time

CHAIN = "ODG-POLICIES"


def matches(selector, labels):
    for key, value in selector.get("matchLabels", {}).items():
        if labels.get(key) != value:
            return False
    for one in selector.get("matchExpressions", []):
        if one["operator"] != "In":
            sys.exit(f"the operator {one['operator']} is not understood")
        if labels.get(one["key"]) not in one["values"]:
            return False
    return True


def sources(rule, name, namespace, pods):
    """Addresses that a rule lets in; None means all. CNI's bridge hides a pod behind its node where it reaches pods of another node."""
    if not rule.get("from"):
        return {None}
    found = set()
    for peer in rule["from"]:
        if set(peer) != {"podSelector"}:
            sys.exit(f"{name}: the peer {peer} is not understood")
        for pod in pods:
            status = pod.get("status", {})
            if status.get("podIP") and pod["metadata"]["namespace"] == namespace and matches(peer["podSelector"], pod["metadata"].get("labels", {})):
                found |= {status["podIP"], status["hostIP"]}
    return found


def ports(policy, pods):
    """Ports that a policy lets in, each with an address that it lets in, or None for all."""
    spec = policy["spec"]
    name = f"{policy['metadata']['namespace']}/{policy['metadata']['name']}"
    if spec.get("policyTypes") != ["Ingress"]:
        sys.exit(f"{name}: only policies for ingress are understood")
    found = set()
    for rule in spec.get("ingress", []):
        if not rule.get("ports"):
            sys.exit(f"{name}: only rules by ports are understood")
        for port in rule["ports"]:
            if port.get("protocol", "TCP") != "TCP" or not isinstance(port.get("port"), int) or "endPort" in port:
                sys.exit(f"{name}: the port {port} is not understood")
            found |= {(port["port"], address or "") for address in sources(rule, name, policy["metadata"]["namespace"], pods)}
    return found


def rules(policies, pods):
    """What iptables shall hold, by the name of the node."""
    by_node = {}
    for pod in pods:
        spec, status, meta = pod["spec"], pod.get("status", {}), pod["metadata"]
        if spec.get("hostNetwork") or not status.get("podIP") or status.get("phase") in ("Succeeded", "Failed"):
            continue
        selecting = [
            one for one in policies
            if one["metadata"]["namespace"] == meta["namespace"] and matches(one["spec"]["podSelector"], meta.get("labels", {}))
        ]
        if not selecting:
            continue
        allowed = sorted(set().union(*(ports(one, pods) for one in selecting)))
        lines = by_node.setdefault(spec["nodeName"], [])
        address = status["podIP"]
        for port, source in allowed:
            peer = f"-s {source} " if source else ""
            lines.append(f"-A {CHAIN} {peer}-d {address} -p tcp --dport {port} -j RETURN")
        lines.append(f"-A {CHAIN} -d {address} -j DROP")
    return by_node


def iptables(node, *arguments, text=None):
    command = ["nsenter", f"--net=/run/netns/{os.environ['CLUSTER']}-{node}", *arguments]
    return subprocess.run(command, input=text, text=True, capture_output=True, check=False)


def enforce(node, lines):
    answers = f"-A {CHAIN} -m conntrack --ctstate ESTABLISHED,RELATED -j RETURN"
    # A chain that is named anew is emptied; all of it is replaced at once.
    text = ["*filter", f":{CHAIN} - [0:0]", answers, *lines, "COMMIT", ""]
    done = iptables(node, "iptables-restore", "--noflush", text="\n".join(text))
    if done.returncode:
        sys.exit(f"{node}: {done.stderr}")
    # What crosses the bridge of a node must pass here as well; Services need that too, so it is so anyway.
    if iptables(node, "sysctl", "-n", "net.bridge.bridge-nf-call-iptables").stdout.strip() != "1":
        sys.exit(f"{node}: what crosses its bridge does not pass iptables")
    if iptables(node, "iptables", "-C", "FORWARD", "-j", CHAIN).returncode:
        done = iptables(node, "iptables", "-I", "FORWARD", "1", "-j", CHAIN)
        if done.returncode:
            sys.exit(f"{node}: {done.stderr}")


def main(kubectl, ready, nodes):
    before = {}
    while True:
        told = subprocess.run([*shlex.split(kubectl), "get", "networkpolicies,pods", "-A", "-o", "json"], text=True, capture_output=True)
        if told.returncode == 0:
            items = json.loads(told.stdout)["items"]
            wanted = rules([one for one in items if one["kind"] == "NetworkPolicy"], [one for one in items if one["kind"] == "Pod"])
            for node in nodes:
                lines = wanted.get(node, [])
                if before.get(node) != lines:
                    enforce(node, lines)
                    before[node] = lines
            with open(ready, "w") as file:
                file.write("\n".join(f"{node}: {len(lines)} rules" for node, lines in before.items()) + "\n")
        time.sleep(0.5)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
